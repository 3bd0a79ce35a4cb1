"""Spectral decompositions: eigh, svd, eig.

Derivatives: M. Giles, "An extended collection of matrix derivative results" (2008); J. Townsend, "Differentiating the singular value
decomposition" (2016); Z.-Q. Wan and S.-X. Zhang, "Automatic differentiation for complex valued SVD" (2019) for the phase; C. Boeddeker
et al., "On the computation of complex-valued gradients with application to statistically optimum beamforming" (2017), section 4.7,
for eig.

Vectors are determined up to a phase (a sign), and those of one eigenvalue that repeats up to a rotation.  The derivatives are those of
vectors that turn as little as they can (eigh, svd: the phase of `v`), or whose phase is LAPACK's (eig), and pairs of equal eigenvalues (or
singular values) count for nothing in them.  What depends on neither phase nor rotation has its true derivative, except where it depends
on how the vectors of one repeated eigenvalue mix as that splits (a matrix function by way of its eigenvalues does).

A matrix that holds NaN or infinity, and one on which the iteration does not converge, gives NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..ir import Type, type_of
from ..primitive import Named, Primitive, Zero
from ..trace import bind
from .complex import complex as join
from .complex import conj_of, imag, real, real_of
from .elementwise import add, div, eq, mul, neg, scalar_like, select, sub
from .factor import lu, lu_solve
from .matrices import (
    adjoint,
    as_columns,
    as_rows,
    attempt,
    batched,
    beside,
    check_field,
    check_matrix,
    check_square,
    columns,
    diagonal,
    hermitian,
    on_diagonal,
    product,
    rows,
    types_of,
    where,
)
from .reduce import argmax, reduce_sum
from .rules import shape_of
from .shape import iota


def _inverse(x: Any) -> Any:
    """1 / x, and 0 where x is 0."""
    zero, one = scalar_like(0, x), scalar_like(1, x)
    nothing = eq(x, zero)
    return select(nothing, zero, div(one, select(nothing, one, x)))


def _like(x: Any, other: Any) -> Any:
    """A real array as one of the dtype of `other`."""
    return join(x, scalar_like(0, x)) if dtypes.is_complex(type_of(other).dtype) else x


def _differences(w: Any) -> Any:
    """w_j - w_i for each pair (i, j)."""
    n = shape_of(w)[-1]
    return sub(as_rows(w, n), as_columns(w, n))


# --- eigh -----------------------------------------------------------------------------------------


def _eigh_abstract(a: Type, *, vectors: bool) -> tuple[Type, ...]:
    check_field("eigh", a)
    check_square("eigh", a)
    w = Type(a.shape[:-1], dtypes.real_of(a.dtype), a.weak)
    return (w, a) if vectors else (w,)


def _eigh_reference(a: np.ndarray, *, vectors: bool) -> tuple[np.ndarray, ...]:
    def run(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.linalg.eigh(x)) if vectors else (np.linalg.eigvalsh(x),)

    # The other triangle is not read, and may hold anything.
    return attempt(run, types_of(eigh_p, a, vectors=vectors), np.tril(a), finite=True)


def _eigh_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, vectors: bool) -> tuple[list[Any], list[Any]]:
    # G = VᴴȦV: ẇ = diag G, V̇ = V (F ∘ G) with F_ij = 1 / (w_j - w_i).
    w, v = eigh(primals[0])
    g = product(adjoint(v), hermitian(tangents[0]), v)
    w_dot = real_of(diagonal(g))
    if not vectors:
        return [w], [w_dot]
    f = _like(_inverse(_differences(w)), g)
    return [w, v], [w_dot, product(v, mul(f, g))]


eigh_p = Primitive(
    "eigh",
    abstract=_eigh_abstract,
    reference=_eigh_reference,
    jvp=_eigh_jvp,
    batch=batched("eigh"),
    lowering=Named("lapack"),
    multiple=True,
)


def eigh(a: Any, vectors: bool = True) -> list[Any]:
    """[w, v] of Hermitian matrices (..., n, n), only the lower triangle of which is read: a v = v diag(w), vᴴv = 1, w ascending and real.

    [w] alone when not `vectors`.
    """
    outs: list[Any] = bind(eigh_p, a, vectors=vectors)
    return outs


# --- svd ------------------------------------------------------------------------------------------


def _svd_abstract(a: Type, *, full_matrices: bool, compute_uv: bool) -> tuple[Type, ...]:
    check_field("svd", a)
    m, n = check_matrix("svd", a)
    k, lead = min(m, n), a.shape[:-2]
    s = Type((*lead, k), dtypes.real_of(a.dtype), a.weak)
    if not compute_uv:
        return (s,)
    p, q = (m, n) if full_matrices else (k, k)
    return a.with_shape((*lead, m, p)), s, a.with_shape((*lead, q, n))


def _svd_reference(a: np.ndarray, *, full_matrices: bool, compute_uv: bool) -> tuple[np.ndarray, ...]:
    def run(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.linalg.svd(x, full_matrices)) if compute_uv else (np.linalg.svd(x, compute_uv=False),)

    return attempt(run, types_of(svd_p, a, full_matrices=full_matrices, compute_uv=compute_uv), a, finite=True)


def _svd_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, full_matrices: bool, compute_uv: bool
) -> tuple[list[Any], list[Any]]:
    (a,), (a_dot,) = primals, tangents
    u, s, vh = svd(a, full_matrices and compute_uv)
    m, n = shape_of(a)[-2:]
    k = min(m, n)
    u1, v1 = columns(u, 0, k), adjoint(rows(vh, 0, k))
    av = product(a_dot, v1)
    p = product(adjoint(u1), av)
    s_dot = real_of(diagonal(p))
    if not compute_uv:
        return [s], [s_dot]
    # With P = UᴴȦV and F_ij = 1 / (s_j² - s_i²): UᴴU̇ = F ∘ (P S + S Pᴴ) and VᴴV̇ = F ∘ (S P + Pᴴ S).
    above, left = as_rows(s, k), as_columns(s, k)
    f = _like(_inverse(mul(sub(above, left), add(above, left))), p)
    above, left, ph = _like(above, p), _like(left, p), adjoint(p)
    u_turn = mul(f, add(mul(p, above), mul(left, ph)))
    v_turn = mul(f, add(mul(left, p), mul(ph, above)))
    if dtypes.is_complex(type_of(a).dtype):
        # The phases of u and v turn against each other; v keeps its own.
        part = mul(imag(p), _inverse(as_rows(s, k)))
        u_turn = add(u_turn, where(on_diagonal(u_turn), join(scalar_like(0, part), part)))
    ah_u = product(adjoint(a_dot), u1)
    u_dot = _moved(u, u1, u_turn, av, p, s, full_matrices)
    v_dot = _moved(adjoint(vh), v1, v_turn, ah_u, ph, s, full_matrices)
    return [u, s, vh], [u_dot, s_dot, adjoint(v_dot)]


def _moved(u: Any, u1: Any, turn: Any, x: Any, inner: Any, s: Any, full: bool) -> Any:
    """The tangent of singular vectors: their turn among themselves, and out of their span, (1 - U₁U₁ᴴ) x S⁻¹ with U₁ᴴx = `inner`."""
    m, k = shape_of(u1)[-2:]
    u_dot = product(u1, turn)
    if m == k:
        return u_dot
    scale = _like(as_rows(_inverse(s), m), x)
    u_dot = add(u_dot, mul(sub(x, product(u1, inner)), scale))
    if full:  # the complement turns as little as it can: U₂ᴴU̇₂ = 0
        u2 = columns(u, k, m)
        u_dot = beside(u_dot, neg(product(u1, adjoint(product(adjoint(u2), mul(x, scale))))))
    return u_dot


svd_p = Primitive(
    "svd",
    abstract=_svd_abstract,
    reference=_svd_reference,
    jvp=_svd_jvp,
    batch=batched("svd"),
    lowering=Named("lapack"),
    multiple=True,
)


def svd(a: Any, full_matrices: bool = False, compute_uv: bool = True) -> list[Any]:
    """[u, s, vh] of matrices (..., m, n): a = u diag(s) vh, uᴴu = 1 = vh vhᴴ, s descending and not negative; [s] when not `compute_uv`.

    With k = min(m, n): u is (..., m, k), s (..., k), vh (..., k, n); u and vh are square when `full_matrices`, and the derivative of what
    is then added is given in the gauge in which it turns least.
    """
    outs: list[Any] = bind(svd_p, a, full_matrices=full_matrices and compute_uv, compute_uv=compute_uv)
    return outs


# --- eig ------------------------------------------------------------------------------------------


def _eig_abstract(a: Type, *, vectors: bool) -> tuple[Type, ...]:
    check_field("eig", a)
    check_square("eig", a)
    dtype = dtypes.complex_of(a.dtype)
    w = Type(a.shape[:-1], dtype, a.weak)
    return (w, Type(a.shape, dtype, a.weak)) if vectors else (w,)


def _eig_reference(a: np.ndarray, *, vectors: bool) -> tuple[np.ndarray, ...]:
    def run(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.linalg.eig(x)) if vectors else (np.linalg.eigvals(x),)

    return attempt(run, types_of(eig_p, a, vectors=vectors), a, finite=True)


def _eig_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, vectors: bool) -> tuple[list[Any], list[Any]]:
    # G = V⁻¹ȦV: ẇ = diag G; V̇ = V (F ∘ G) + V diag(c), where c keeps each vector's length 1 and its largest element real.
    a, a_dot = primals[0], tangents[0]
    w, v = eig(a)
    if 0 in shape_of(a):
        return ([w, v] if vectors else [w]), [Zero(type_of(x)) for x in ((w, v) if vectors else (w,))]
    a_dot = a_dot if dtypes.is_complex(type_of(a_dot).dtype) else _like(a_dot, v)
    factors, _, permutation = lu(v)
    g = lu_solve(v, factors, permutation, product(a_dot, v))
    w_dot = diagonal(g)
    if not vectors:
        return [w], [w_dot]
    n = shape_of(v)[-1]
    gap = _differences(w)
    free = product(v, mul(_inverse(gap), g))
    axis = len(shape_of(v)) - 2
    size = add(mul(real(v), real(v)), mul(imag(v), imag(v)))
    places = iota(shape_of(v), dtypes.int32, axis)
    largest = eq(places, as_rows(argmax(size, axis), n))
    stretch = neg(reduce_sum(real(mul(conj_of(v), free)), (axis,)))
    head, head_dot = (reduce_sum(where(largest, part(x)), (axis,)) for part, x in ((real, v), (imag, free)))
    phase = neg(mul(head_dot, _inverse(head)))
    return [w, v], [w_dot, add(free, mul(v, as_rows(join(stretch, phase), n)))]


eig_p = Primitive(
    "eig",
    abstract=_eig_abstract,
    reference=_eig_reference,
    jvp=_eig_jvp,
    batch=batched("eig"),
    lowering=Named("lapack"),
    multiple=True,
)


def eig(a: Any, vectors: bool = True) -> list[Any]:
    """[w, v] of square matrices (..., n, n): a v = v diag(w), both complex; each column of v has length 1 and a real largest element.

    [w] alone when not `vectors`. The derivative needs n independent eigenvectors.
    """
    outs: list[Any] = bind(eig_p, a, vectors=vectors)
    return outs
