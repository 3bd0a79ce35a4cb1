"""Random programs, and what must hold of each: `python -m tests.fuzz --count 1000 --seed 0`.

    choices → values → building → families (elementwise, arrays, matrices, control) → entries → programs → transforms
    stochastic, memory → checks → shrink, coverage → workers → __main__

Modules import from their left. `programs.generate` makes a program from choices, which come from Hypothesis or from a seed alone.
"""

import fdl  # noqa: F401 (it says where the primitives are)
from fdl.tracer.primitive import declare_all

# The same seed gives the same program, whichever modules are loaded.
declare_all()
