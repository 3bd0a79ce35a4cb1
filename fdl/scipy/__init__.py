"""SciPy's functions on fdl arrays, under `jax.scipy`'s names. Importing it does not import SciPy."""

from . import linalg as linalg
from . import special as special
from . import stats as stats
