"""The cases of the tests of `fdl.lax`: see `table`."""

from . import elementwise as elementwise
from . import linalg as linalg
from . import products as products
from . import shapes as shapes
from . import windows as windows
from .table import CASES as CASES
from .table import Case as Case
