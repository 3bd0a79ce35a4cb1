"""The primitives, one file per family; each primitive is declared once with all its rules."""
