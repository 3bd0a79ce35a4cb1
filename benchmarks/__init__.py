"""Side-by-side benchmarks against JAX, PyTorch and NumPy, and against the machine's limits: `make bench`.

A row is one `Case` (`record.py`), declared in a file of `cases/`: a name, the ratio that is aimed at, and for each library a
function that builds the computation from the library's *kit* (`kits/`).  To add a row, add a record to one of those files.

    record      what a case is                      worker    a library's process: builds, checks and times on command
    timing      samples, ratios, targets            driver    the parent: one process at a time, rounds in turn
    kits        each library's idioms               fresh     programs timed in processes of their own (imports, first calls)
    cases       the rows                            report, picture    the page and its picture
    growth      how costs grow with size: curves instead of rows, by the same workers (`make growth`)
    scaling     the rows on one thread, two, .. up to the cores (`make scaling`)
"""
