"""Kits: one module for each library, with the idioms that the cases are written in.

A worker imports only its own.  The kits of fdl and JAX have the same names, so that most cases are written once for both;
PyTorch's trains modules; NumPy's only calls functions.  Each has at least

    versions()          what is measured
    set_threads(n)      after the import; most libraries read environment variables before it
    function(f, *args)  the `Bench` of a compiled function of arrays, the arguments in the library's own arrays
    np                  what is closest to NumPy's module
"""
