"""Linear algebra under the names of JAX's `lax.linalg`: factorizations of stacks of matrices, and what is made of reflections.

`fdl.numpy.linalg` has what most programs want; here the results are those of LAPACK, packed as it packs them.
"""

from .factorizations import cholesky as cholesky
from .factorizations import eig as eig
from .factorizations import eigh as eigh
from .factorizations import lu as lu
from .factorizations import lu_pivots_to_permutation as lu_pivots_to_permutation
from .factorizations import qr as qr
from .factorizations import schur as schur
from .factorizations import svd as svd
from .factorizations import symmetric_product as symmetric_product
from .factorizations import triangular_solve as triangular_solve
from .reflections import hessenberg as hessenberg
from .reflections import householder_product as householder_product
from .reflections import ormqr as ormqr
from .reflections import tridiagonal as tridiagonal
from .updates import cholesky_update as cholesky_update
from .updates import tridiagonal_solve as tridiagonal_solve

__all__ = [
    "cholesky", "cholesky_update", "eig", "eigh", "hessenberg", "householder_product", "lu", "lu_pivots_to_permutation", "ormqr", "qr",
    "schur", "svd", "symmetric_product", "triangular_solve", "tridiagonal", "tridiagonal_solve",
]  # fmt: skip
