"""Passes over programs: each returns a new program of the same meaning."""
