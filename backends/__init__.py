"""Backends: the reference interpreter, the loop IR and its passes, and the LLVM and CUDA emitters."""

if __name__ != "fdl.backends":
    raise ImportError("this package is imported as `fdl.backends`, never as `backends`: a second copy would have its own registries")
