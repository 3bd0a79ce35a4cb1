"""The transforms on flat functions and programs, and the primitives that hold programs (jit, cond, while, scan)."""
