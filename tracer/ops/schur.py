"""Schur and Hessenberg forms, Sylvester equations, and the square root of a matrix.

These run SciPy on the host, in compiled code too.  Sylvester equations and square roots also work without SciPy, slowly.
Derivatives: a solution of a Sylvester equation moves by the solution of another one; N. J. Higham, "Functions of Matrices" (2008),
section 6.1, for the square root.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import FdlError, ShapeError
from ..ir import Type, type_of
from ..primitive import Named, Primitive, Undefined, Zero, lookup
from ..trace import bind
from .complex import complex as join
from .elementwise import add_tangents, neg, scalar_like
from .matrices import attempt, batched, check_field, check_square, check_stack, product, transposed, types_of


class MissingPackageError(FdlError, ImportError):
    """An operation needs an optional package that is not installed."""


def _scipy(name: str) -> ModuleType:
    found = _optional_scipy()
    if found is None:
        raise MissingPackageError(f"{name} needs SciPy, which is not installed. Install it with: pip install fdl[scipy]")
    return found


def _optional_scipy() -> ModuleType | None:
    try:
        import scipy.linalg
    except ImportError:
        return None
    return scipy.linalg


# --- schur and hessenberg -------------------------------------------------------------------------


def _two_squares(name: str, a: Type) -> tuple[Type, Type]:
    check_field(name, a)
    check_square(name, a)
    return a, a


def _each(f: Any, *xs: np.ndarray) -> tuple[np.ndarray, ...]:
    """`f` of one matrix of each operand after the other."""
    lead = xs[0].shape[:-2]
    results = [f(*(x[at] for x in xs)) for at in np.ndindex(*lead)]
    return tuple(np.array(r).reshape(*lead, *np.shape(r[0])) for r in zip(*results, strict=True))


def _by_scipy(name: str, f: Any, a: np.ndarray) -> tuple[np.ndarray, ...]:
    scipy_linalg = _scipy(name)
    if a.size == 0:
        return a.copy(), a.copy()
    return attempt(lambda x: _each(lambda m: f(scipy_linalg, m), x), types_of(lookup(name), a), a, finite=True)


schur_p = Primitive(
    "schur",
    abstract=lambda a: _two_squares("schur", a),
    reference=lambda a: _by_scipy("schur", lambda scipy, m: scipy.schur(m), a),
    batch=batched("schur"),
    lowering=Named("host"),
    multiple=True,
)


def schur(a: Any) -> list[Any]:
    """[t, z] of square matrices (..., n, n): a = z t zᴴ with zᴴz = 1; t upper triangular, for real `a` with 2 × 2 blocks on its diagonal.

    It has no derivative. Raises: MissingPackageError without SciPy.
    """
    outs: list[Any] = bind(schur_p, a)
    return outs


hessenberg_p = Primitive(
    "hessenberg",
    abstract=lambda a: _two_squares("hessenberg", a),
    reference=lambda a: _by_scipy("hessenberg", lambda scipy, m: scipy.hessenberg(m, calc_q=True), a),
    batch=batched("hessenberg"),
    lowering=Named("host"),
    multiple=True,
)


def hessenberg(a: Any) -> list[Any]:
    """[h, q] of square matrices (..., n, n): a = q h qᴴ with qᴴq = 1, and h zero below its first subdiagonal.

    It has no derivative. Raises: MissingPackageError without SciPy.
    """
    outs: list[Any] = bind(hessenberg_p, a)
    return outs


# --- sylvester ------------------------------------------------------------------------------------


def _sylvester_abstract(a: Type, b: Type, c: Type) -> Type:
    check_field("sylvester", a, b, c)
    m, n = check_square("sylvester", a), check_square("sylvester", b)
    check_stack("sylvester", a, b)
    check_stack("sylvester", a, c)
    if c.shape[-2:] != (m, n):
        raise ShapeError(f"sylvester: a has shape {a.shape}, b {b.shape}, c {c.shape}: expected c (..., {m}, {n}).")
    return Type(c.shape, c.dtype, a.weak and b.weak and c.weak)


def _sylvester_reference(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    scipy_linalg = _optional_scipy()

    def one(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray]:
        if scipy_linalg is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return (scipy_linalg.solve_sylvester(a, b, c),)
        m, n = c.shape  # (1 ⊗ a + bᵀ ⊗ 1) vec x = vec c
        system = np.kron(np.eye(n), a) + np.kron(b.T, np.eye(m))
        return (np.linalg.solve(system, c.T.reshape(-1)).reshape(n, m).T,)

    if c.size == 0:
        return c.copy()
    return attempt(lambda *xs: _each(one, *xs), types_of(sylvester_p, a, b, c), a, b, c, finite=True)[0]


def _sylvester_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    # a ẋ + ẋ b = ċ - ȧ x - x ḃ
    (a, b, c), (a_dot, b_dot, right) = primals, tangents
    x = sylvester(a, b, c)
    if not isinstance(a_dot, Zero):
        right = add_tangents(right, neg(product(a_dot, x)))
    if not isinstance(b_dot, Zero):
        right = add_tangents(right, neg(product(x, b_dot)))
    return x, sylvester(a, b, right)


def _sylvester_transpose(ct: Any, a: Any, b: Any, c: Any) -> tuple[None, None, Any]:
    assert isinstance(c, Undefined)
    return None, None, sylvester(transposed(a), transposed(b), ct)


sylvester_p = Primitive(
    "sylvester",
    abstract=_sylvester_abstract,
    reference=_sylvester_reference,
    jvp=_sylvester_jvp,
    transpose=_sylvester_transpose,
    batch=batched("sylvester"),
    lowering=Named("host"),
)


def sylvester(a: Any, b: Any, c: Any) -> Any:
    """The solution x of a x + x b = c, for square `a` (..., m, m) and `b` (..., n, n); c and x are (..., m, n).

    There is one solution unless `a` and -`b` share an eigenvalue; then the result is NaN or huge.
    """
    return bind(sylvester_p, a, b, c)


# --- sqrtm ----------------------------------------------------------------------------------------


def _sqrtm_abstract(a: Type) -> Type:
    check_field("sqrtm", a)
    check_square("sqrtm", a)
    return Type(a.shape, dtypes.complex_of(a.dtype), a.weak)


def _sqrtm_reference(a: np.ndarray) -> np.ndarray:
    scipy_linalg = _optional_scipy()

    def one(m: np.ndarray) -> tuple[np.ndarray]:
        if scipy_linalg is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return (scipy_linalg.sqrtm(m.astype(dtypes.complex_of(m.dtype))),)
        w, v = np.linalg.eig(m)
        return (np.linalg.solve(v.T, (v * np.sqrt(w.astype(complex))).T).T,)

    if a.size == 0:
        return a.astype(dtypes.complex_of(a.dtype))
    return attempt(lambda x: _each(one, x), types_of(sqrtm_p, a), a, finite=True)[0]


def _sqrtm_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    # x x = a: x ẋ + ẋ x = ȧ
    x = sqrtm(primals[0])
    t = tangents[0]
    t = t if dtypes.is_complex(type_of(t).dtype) else join(t, scalar_like(0, t))
    return x, sylvester(x, x, t)


sqrtm_p = Primitive(
    "sqrtm",
    abstract=_sqrtm_abstract,
    reference=_sqrtm_reference,
    jvp=_sqrtm_jvp,
    batch=batched("sqrtm"),
    lowering=Named("host"),
)


def sqrtm(a: Any) -> Any:
    """The principal square root of square matrices (..., n, n): complex, with eigenvalues of non-negative real part."""
    return bind(sqrtm_p, a)
