"""Operations under the names of JAX's `lax`: what lies below `fdl.numpy`, for those who want to say all of it themselves.

Operands have one dtype and one rank; nothing is promoted, and no axis is put in.  A Python number takes the arrays' dtype.  Two things
differ from JAX: an index out of bounds of `gather` and `scatter` raises unless a `mode` is given, and every dtype works without a flag.
"""

from fdl.collectives import all_gather as all_gather
from fdl.collectives import all_to_all as all_to_all
from fdl.collectives import axis_index as axis_index
from fdl.collectives import axis_size as axis_size
from fdl.collectives import pmax as pmax
from fdl.collectives import pmean as pmean
from fdl.collectives import pmin as pmin
from fdl.collectives import ppermute as ppermute
from fdl.collectives import pshuffle as pshuffle
from fdl.collectives import psum as psum
from fdl.collectives import psum_scatter as psum_scatter
from fdl.control import associative_scan as associative_scan
from fdl.control import cond as cond
from fdl.control import fori_loop as fori_loop
from fdl.control import map as map
from fdl.control import scan as scan
from fdl.control import switch as switch
from fdl.control import while_loop as while_loop
from fdl.transforms import stop_gradient as stop_gradient
from fdl.transforms.implicit import custom_linear_solve as custom_linear_solve
from fdl.transforms.implicit import custom_root as custom_root

from . import linalg as linalg
from .choices import *  # noqa: F403
from .convolution import *  # noqa: F403
from .dots import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .flow import *  # noqa: F403
from .fourier import *  # noqa: F403
from .gathering import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shaping import *  # noqa: F403
from .slicing import *  # noqa: F403
from .sorting import *  # noqa: F403
from .special import *  # noqa: F403
from .windows import *  # noqa: F403
