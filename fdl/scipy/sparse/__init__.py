"""Linear algebra with matrices of which only the products are known."""

from . import linalg as linalg
