"""How costs grow: one computation at many sizes, for fdl and, where it is installed, for JAX: `make growth`.

A *curve* (`curves.py`) is a computation of a size, the work that it does at that size, and the exponent that its time should grow with.
Each of its points is a `Case` of the benchmark suite, and is measured as one: a process for each library, one at a time, in rounds.

    fits      exponents, straight lines, cliffs: arithmetic on points      page       the tables
    curves    what is measured                                             picture    the curves, drawn
    run       one curve, from its smallest size on
"""
