"""The CPU backend: loop IR to LLVM IR text, and LLVM IR text to native code."""
