"""Factorizations of matrices under NumPy's names: cholesky, qr, eigh, eig, svd."""

from __future__ import annotations

from typing import Any, NamedTuple

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import factor, spectral
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops.complex import complex as join
from fdl.tracer.ops.index import take_along
from fdl.tracer.ops.order import sort
from fdl.tracer.ops.shape import flip, iota

from .operands import matrices, symmetrized


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Any
    R: Any


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Any
    eigenvectors: Any


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Any
    S: Any
    Vh: Any


def cholesky(a: Any, *, upper: bool = False, symmetrize_input: bool = True) -> Any:
    """The triangular L with L Lᴴ = a (or U with Uᴴ U = a when `upper`), for Hermitian positive definite matrices (..., n, n).

    Args:
        symmetrize_input: factorize (a + aᴴ) / 2, so that the gradient is Hermitian too. Otherwise only one triangle of `a` is read, the
            one that the result has.

    A matrix that is not positive definite gives NaN.

    Example:
        >>> cholesky([[4.0, 2.0], [2.0, 5.0]]).tolist()
        [[2.0, 0.0], [1.0, 2.0]]
    """
    (a,) = matrices("cholesky", a, square=True)
    if symmetrize_input:
        a = symmetrized(a)
    elif upper:
        a = m.adjoint(a)
    factored = factor.cholesky(a)
    return m.adjoint(factored) if upper else factored


def qr(a: Any, mode: str = "reduced") -> Any:
    """(Q, R) with a = Q R, QᴴQ = 1 and R upper triangular, for matrices (..., m, n).

    Args:
        mode: "reduced" (Q is (..., m, k), R (..., k, n), with k = min(m, n)), "complete" (Q is square), or "r" (R alone).

    The derivative needs the first k columns of `a` to be independent.

    Raises: ShapeError for another mode.
    """
    if mode not in ("reduced", "complete", "r"):
        raise ShapeError(f"qr: mode {mode!r}, expected 'reduced', 'complete' or 'r'.{at(user_source())}")
    (a,) = matrices("qr", a)
    q, r = factor.qr(a, full_matrices=mode == "complete")
    return r if mode == "r" else QRResult(q, r)


def _hermitian(name: str, x: Any, uplo: str | None, symmetrize: bool) -> Any:
    (a,) = matrices(name, x, square=True)
    uplo = "L" if uplo is None else uplo.upper()
    if uplo not in ("L", "U"):
        raise ShapeError(f"{name}: UPLO {uplo!r}, expected 'L' or 'U'.{at(user_source())}")
    if symmetrize:
        return symmetrized(a)
    return m.adjoint(a) if uplo == "U" else a


def eigh(a: Any, UPLO: str | None = None, symmetrize_input: bool = True) -> EighResult:
    """(eigenvalues, eigenvectors) of Hermitian matrices (..., n, n): real ascending values (..., n), and orthonormal columns.

    Args:
        UPLO: which triangle is read, "L" (the default) or "U", when not `symmetrize_input`.
        symmetrize_input: decompose (x + xᴴ) / 2, so that the gradient is Hermitian too.

    Example:
        >>> w, v = eigh([[2.0, 1.0], [1.0, 2.0]])
        >>> w.round().tolist()
        [1.0, 3.0]
    """
    return EighResult(*spectral.eigh(_hermitian("eigh", a, UPLO, symmetrize_input)))


def eigvalsh(a: Any, UPLO: str | None = None, *, symmetrize_input: bool = True) -> Any:
    """The eigenvalues (..., n) of Hermitian matrices (..., n, n), real and ascending; the arguments are those of `eigh`."""
    return spectral.eigh(_hermitian("eigvalsh", a, UPLO, symmetrize_input), vectors=False)[0]


def eig(a: Any) -> EigResult:
    """(eigenvalues, eigenvectors) of square matrices (..., n, n): both complex, the vectors as columns of length 1.

    The largest element of each vector is real. On the CPU only.
    """
    return EigResult(*spectral.eig(*matrices("eig", a, square=True)))


def eigvals(a: Any) -> Any:
    """The eigenvalues (..., n) of square matrices (..., n, n), complex, in LAPACK's order."""
    (a,) = matrices("eigvals", a, square=True)
    return spectral.eig(a, vectors=False)[0]


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """(U, S, Vh) with a = U diag(S) Vh, for matrices (..., m, n): U and V have orthonormal columns, S (..., k) descends, k = min(m, n).

    Args:
        full_matrices: U (..., m, m) and Vh (..., n, n), instead of (..., m, k) and (..., k, n).
        compute_uv: False gives S alone.
        hermitian: `a` is Hermitian, which is quicker.
    """
    (a,) = matrices("svd", a, square=hermitian)
    if hermitian:
        return _svd_hermitian(symmetrized(a), compute_uv)
    found = spectral.svd(a, full_matrices, compute_uv)
    return SVDResult(*found) if compute_uv else found[0]


def _svd_hermitian(a: Any, compute_uv: bool) -> Any:
    # a = v diag(w) vᴴ: |w| are the singular values, and the signs go to one side.
    last = len(type_of(a).shape) - 1
    if not compute_uv:
        w = spectral.eigh(a, vectors=False)[0]
        return flip(_sorted(e.abs(w), last - 1)[0], (last - 1,))
    w, v = spectral.eigh(a)
    n = type_of(a).shape[-1]
    turned = e.mul(v, _like(m.as_rows(_signs(w), n), v))
    size, order = _sorted(e.abs(w), last - 1)
    rows = m.as_rows(order, n)
    u, vh = (flip(take_along(x, rows, last), (last,)) for x in (v, turned))
    return SVDResult(u, flip(size, (last - 1,)), m.adjoint(vh))


def _signs(w: Any) -> Any:
    """-1 for negative numbers, else 1."""
    return e.select(e.lt(w, e.scalar_like(0, w)), e.scalar_like(-1, w), e.scalar_like(1, w))


def _like(x: Any, other: Any) -> Any:
    return join(x, e.scalar_like(0, x)) if dtypes.is_complex(type_of(other).dtype) else x


def _sorted(x: Any, axis: int) -> list[Any]:
    """`x` in ascending order along `axis`, and the places that its elements had."""
    place = iota(type_of(x).shape, dtypes.int32, axis)
    return sort([x, place], axis)


def svdvals(x: Any, /) -> Any:
    """The singular values (..., min(m, n)) of matrices (..., m, n), descending."""
    return svd(x, full_matrices=False, compute_uv=False)
