"""Linear algebra: the array API's extension, and the rest of NumPy's `linalg`.

A matrix is the last two axes of an array, and every function works on stacks of them.  Operands are float32, float64, complex64 or
complex128 (integers become float32).  A matrix without an answer (not positive definite, singular, not finite) gives NaN or infinity
instead of an exception, so that the others of its stack keep theirs.

Compiled code calls LAPACK by way of SciPy; without SciPy it calls NumPy.  Derivatives, and where there is none: `fdl.tracer.ops.factor`
and `fdl.tracer.ops.spectral`.
"""

from .decompositions import EighResult as EighResult
from .decompositions import EigResult as EigResult
from .decompositions import QRResult as QRResult
from .decompositions import SVDResult as SVDResult
from .decompositions import cholesky as cholesky
from .decompositions import eig as eig
from .decompositions import eigh as eigh
from .decompositions import eigvals as eigvals
from .decompositions import eigvalsh as eigvalsh
from .decompositions import qr as qr
from .decompositions import svd as svd
from .decompositions import svdvals as svdvals
from .determinants import SlogdetResult as SlogdetResult
from .determinants import det as det
from .determinants import slogdet as slogdet
from .norms import cond as cond
from .norms import matrix_norm as matrix_norm
from .norms import matrix_rank as matrix_rank
from .norms import norm as norm
from .norms import vector_norm as vector_norm
from .products import cross as cross
from .products import diagonal as diagonal
from .products import matmul as matmul
from .products import matrix_power as matrix_power
from .products import matrix_transpose as matrix_transpose
from .products import multi_dot as multi_dot
from .products import outer as outer
from .products import tensordot as tensordot
from .products import trace as trace
from .products import vecdot as vecdot
from .solving import inv as inv
from .solving import lstsq as lstsq
from .solving import pinv as pinv
from .solving import solve as solve
from .solving import tensorinv as tensorinv
from .solving import tensorsolve as tensorsolve

__all__ = [
    "EigResult", "EighResult", "QRResult", "SVDResult", "SlogdetResult", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh",
    "eigvals", "eigvalsh", "inv", "lstsq", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm",
    "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]  # fmt: skip
