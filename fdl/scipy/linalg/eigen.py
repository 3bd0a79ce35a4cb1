"""Orthogonal and spectral decompositions under SciPy's names."""

from __future__ import annotations

from typing import Any

import fdl.numpy.linalg as linalg
from fdl.numpy.linalg.operands import matrices, same_stack
from fdl.numpy.promote import asarray, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import factor, spectral
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops import schur as s
from fdl.tracer.ops.complex import complex as join
from fdl.tracer.ops.rules import shape_of
from fdl.tracer.ops.shape import pad, slice_axis
from fdl.tracer.ops.triangular import triangular_solve


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False, check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:  # fmt: skip
    """(u, s, vh) with a = u diag(s) vh, or s alone: `fdl.numpy.linalg.svd`."""
    return linalg.svd(a, full_matrices=full_matrices, compute_uv=compute_uv)


def qr(
    a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False, check_finite: bool = True
) -> Any:
    """(q, r) with a = q r; mode "full" (q is square), "economic" (q has min(m, n) columns) or "r" ((r,) alone).

    Raises: ShapeError for another mode, and for column pivoting, which fdl does not have.
    """
    if pivoting:
        raise ShapeError(f"qr: there is no column pivoting. Use svd to find the rank.{at(user_source())}")
    if mode not in ("full", "economic", "r"):
        raise ShapeError(f"qr: mode {mode!r}, expected 'full', 'economic' or 'r'.{at(user_source())}")
    (x,) = matrices("qr", a)
    q, r = factor.qr(x, full_matrices=mode != "economic")
    return (r,) if mode == "r" else (q, r)


def eigh(
    a: Any, b: Any = None, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False, overwrite_b: bool = False,
    type: int = 1, check_finite: bool = True,
) -> Any:  # fmt: skip
    """(w, v) of Hermitian `a`, a v = v diag(w), or of the pencil with a positive definite `b`, a v = b v diag(w) and vᴴ b v = 1.

    Args:
        lower: which triangle of `a` (and of `b`) is read.
        eigvals_only: return w alone.

    Raises: ShapeError for a `type` of the generalised problem other than 1.
    """
    if type != 1:
        raise ShapeError(f"eigh: type {type}, expected 1.{at(user_source())}")
    operands = matrices("eigh", a, *(() if b is None else (b,)), square=True)
    x, *rest = same_stack("eigh", *(v if lower else m.adjoint(v) for v in operands))
    if not rest:
        found = spectral.eigh(x, vectors=not eigvals_only)
        return found[0] if eigvals_only else tuple(found)
    # With b = L Lᴴ: L⁻¹ a L⁻ᴴ has the same eigenvalues, and v = L⁻ᴴ y.
    factored = factor.cholesky(rest[0])
    inner = triangular_solve(factored, m.hermitian(x))
    inner = triangular_solve(factored, inner, left_side=False, transpose_a=True, conjugate_a=True)
    found = spectral.eigh(inner, vectors=not eigvals_only)
    if eigvals_only:
        return found[0]
    return found[0], triangular_solve(factored, found[1], transpose_a=True, conjugate_a=True)


def eigh_tridiagonal(
    d: Any,
    e: Any,
    *,
    eigvals_only: bool = False,
    select: str = "a",
    select_range: tuple[int, int] | None = None,
    tol: Any = None,
) -> Any:
    """(w, v), or w alone, of the Hermitian tridiagonal matrix with diagonal `d` (..., n) and subdiagonal `e` (..., n - 1).

    Args:
        select: "a" for all, or "i" for the eigenvalues of the numbers in `select_range` (first, last).

    It is decomposed as any other Hermitian matrix. Raises: ShapeError for another `select`.
    """
    if select not in ("a", "i") or (select == "i" and select_range is None):
        raise ShapeError(
            f"eigh_tridiagonal: select {select!r} with select_range {select_range}, expected 'a', or 'i' with a range.{at(user_source())}"
        )
    diagonal, side = (asarray(x) for x in promote_operands("eigh_tridiagonal", d, e, broadcast=False, inexact=True))
    n = shape_of(diagonal)[-1]
    if shape_of(side) != (*shape_of(diagonal)[:-1], max(n - 1, 0)):
        raise ShapeError(
            f"eigh_tridiagonal: d has shape {shape_of(diagonal)}, e {shape_of(side)}: expected one element less in e.{at(user_source())}"
        )
    found = spectral.eigh(_tridiagonal(diagonal, side), vectors=not eigvals_only)
    if select == "i" and select_range is not None:
        first, last = select_range
        found = [slice_axis(x, len(shape_of(x)) - 1, first, last + 1) for x in found]
    return found[0] if eigvals_only else tuple(found)


def _tridiagonal(d: Any, side: Any) -> Any:
    """The lower triangle of a tridiagonal matrix."""
    n = shape_of(d)[-1]
    main = m.where(m.on_diagonal(m.as_rows(d, n)), m.as_rows(d, n))
    if n < 2:
        return main
    # Element (i + 1, i) is that of column i.
    config = (*((0, 0, 0) for _ in shape_of(side)[:-1]), (0, 1, 0))
    wide = m.as_rows(pad(side, e.scalar_like(0, side), config), n)
    return e.add(main, m.where(m.on_diagonal(wide, -1), wide))


def polar(a: Any, side: str = "right", *, method: str = "svd", eps: Any = None, max_iterations: Any = None) -> tuple[Any, Any]:
    """(u, p) with a = u p (`side` "right") or a = p u ("left"): u has orthonormal columns or rows, p is Hermitian and not negative.

    Raises: ShapeError for another side.
    """
    if side not in ("left", "right"):
        raise ShapeError(f"polar: side {side!r}, expected 'left' or 'right'.{at(user_source())}")
    (x,) = matrices("polar", a)
    w, size, vh = spectral.svd(x)
    scale = m.as_rows(size, shape_of(size)[-1])
    scale = join(scale, e.scalar_like(0, scale)) if dtypes.is_complex(type_of(x).dtype) else scale
    scale = m.where(m.on_diagonal(scale), scale)
    p = m.product(m.adjoint(vh), scale, vh) if side == "right" else m.product(w, scale, m.adjoint(w))
    return m.product(w, vh), p


def schur(a: Any, output: str = "real") -> tuple[Any, Any]:
    """(t, z) with a = z t zᴴ and zᴴz = 1: t is upper triangular, for "real" output of real `a` with 2 × 2 blocks on its diagonal.

    It has no derivative, and needs SciPy. Raises: ShapeError for another output.
    """
    if output not in ("real", "complex"):
        raise ShapeError(f"schur: output {output!r}, expected 'real' or 'complex'.{at(user_source())}")
    (x,) = matrices("schur", a, square=True)
    if output == "complex" and not dtypes.is_complex(type_of(x).dtype):
        x = join(x, e.scalar_like(0, x))
    t, z = s.schur(x)
    return t, z


def hessenberg(a: Any, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """h, or (h, q) when `calc_q`, with a = q h qᴴ and h zero below its first subdiagonal. It has no derivative, and needs SciPy."""
    h, q = s.hessenberg(*matrices("hessenberg", a, square=True))
    return (h, q) if calc_q else h
