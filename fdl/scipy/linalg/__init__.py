"""SciPy's `linalg` on fdl arrays: stacks of matrices, traceable, and differentiable where it says nothing else.

Arguments that only save SciPy's time (`overwrite_a`, `check_finite`, ...) are taken, and have no effect.
"""

from .eigen import eigh as eigh
from .eigen import eigh_tridiagonal as eigh_tridiagonal
from .eigen import hessenberg as hessenberg
from .eigen import polar as polar
from .eigen import qr as qr
from .eigen import schur as schur
from .eigen import svd as svd
from .factors import cho_factor as cho_factor
from .factors import cho_solve as cho_solve
from .factors import cholesky as cholesky
from .factors import det as det
from .factors import inv as inv
from .factors import lu as lu
from .factors import lu_factor as lu_factor
from .factors import lu_solve as lu_solve
from .factors import solve as solve
from .factors import solve_triangular as solve_triangular
from .functions import expm as expm
from .functions import expm_frechet as expm_frechet
from .functions import solve_sylvester as solve_sylvester
from .functions import sqrtm as sqrtm
from .matrices import block_diag as block_diag
from .matrices import circulant as circulant
from .matrices import companion as companion
from .matrices import convolution_matrix as convolution_matrix
from .matrices import dft as dft
from .matrices import fiedler as fiedler
from .matrices import hadamard as hadamard
from .matrices import hankel as hankel
from .matrices import helmert as helmert
from .matrices import hilbert as hilbert
from .matrices import invhilbert as invhilbert
from .matrices import invpascal as invpascal
from .matrices import leslie as leslie
from .matrices import pascal as pascal
from .matrices import toeplitz as toeplitz

__all__ = [
    "block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "companion", "convolution_matrix", "det", "dft", "eigh",
    "eigh_tridiagonal", "expm", "expm_frechet", "fiedler", "hadamard", "hankel", "helmert", "hessenberg", "hilbert", "inv", "invhilbert",
    "invpascal", "leslie", "lu", "lu_factor", "lu_solve", "pascal", "polar", "qr", "schur", "solve", "solve_sylvester", "solve_triangular",
    "sqrtm", "svd", "toeplitz",
]  # fmt: skip
