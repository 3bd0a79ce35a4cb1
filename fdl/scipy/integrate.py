"""Integrals of samples."""

from fdl.numpy import trapezoid as trapezoid

__all__ = ["trapezoid"]
