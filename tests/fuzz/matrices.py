"""Entries of linear algebra and Fourier transforms.

What is determined up to a choice goes on as what all choices agree on: the absolute values of the entries of singular vectors, and of
eigenvectors their sums.  (Vectors of equal eigenvalues stay undetermined: there the error estimate of `stochastic` is large.)
"""

from __future__ import annotations

import math

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.ops import elementwise as ew
from fdl.tracer.ops import factor, fft, matrices, order, reduce, schur, spectral, triangular
from fdl.tracer.primitive import lookup
from fdl.tracer.trace import bind

from .building import Builder, Rejected, Value
from .entry import entry
from .values import cast, draw_dtype

FIELD = (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128)


def _field(b: Builder) -> dtypes.DType:
    dtype = draw_dtype(b.c, b.profile, "fc")
    return dtype if dtype in FIELD else dtypes.float32


def _matrix(b: Builder, square: bool = False) -> Value:
    """A stack of small matrices."""
    n = b.c.pick((2, 3, 4, 1, 5, 7, 0))
    m = n if square else b.c.pick((3, 2, 5, 1, 4))
    lead = () if b.c.chance(75) else (b.c.pick((2, 1, 3)),)
    return b.operand((*lead, m, n), _field(b))


def _solvable(b: Builder) -> Value:
    """Square matrices far from singular, with eigenvalues that lie apart: a small multiple of any, and a diagonal."""
    v = _matrix(b, square=True)
    n = v.shape[-1]
    with np.errstate(all="ignore"):
        top = float(np.max(np.abs(v.sample), initial=0.0))
    if not np.isfinite(top):
        raise Rejected("a matrix with NaN")
    small = b.scaled(v, 2.0 ** math.floor(math.log2(0.5 / max(top * n, 0.25)))) if n else v
    if b.inner:
        return b.emit(lambda x: ew.select(matrices.on_diagonal(x), cast(2.0, v.dtype), x), small)[0]
    diagonal = b.constant(cast(np.diag(np.arange(n) + 1.5), v.dtype))
    diagonal = b.reshaped(diagonal, v.shape)
    return b.bind("add", small, diagonal)[0]


def _definite(b: Builder) -> Value:
    return b.emit(matrices.hermitian, _solvable(b))[0]


def _moduli(b: Builder, *values: Value) -> list[Value]:
    return [b.bind("abs", v)[0] for v in values]


@entry("cholesky", weight=1, wild=False)
def cholesky(b: Builder) -> list[Value]:
    return b.emit(factor.cholesky, _definite(b))


@entry("lu", weight=1, wild=False)
def lu(b: Builder) -> list[Value]:
    v = _solvable(b) if b.c.chance(60) else _matrix(b)
    return b.emit(factor.lu, v)


@entry("lu_solve", weight=1, wild=False)
def lu_solve(b: Builder) -> list[Value]:
    a = _solvable(b)
    right = b.operand((*a.shape[:-1], b.c.pick((1, 2, 3))), a.dtype)
    turn = bool(b.c.integer(0, 1))
    conj = turn and bool(b.c.integer(0, 1))

    def run(a: object, right: object) -> object:
        factors, _, permutation = factor.lu(a)
        return factor.lu_solve(a, factors, permutation, right, transpose_a=turn, conjugate_a=conj)

    return b.emit(run, a, right)


@entry("triangular_solve", weight=1, wild=False)
def triangular_solve(b: Builder) -> list[Value]:
    a = _solvable(b)
    left, k = bool(b.c.integer(0, 1)), b.c.pick((1, 2, 3))
    shape = (*a.shape[:-1], k) if left else (*a.shape[:-2], k, a.shape[-1])
    how = {name: bool(b.c.integer(0, 1)) for name in ("lower", "transpose_a", "conjugate_a", "unit_diagonal")}
    right = b.operand(shape, a.dtype)
    return [b.tamed(v) for v in b.emit(lambda a, x: triangular.triangular_solve(a, x, left_side=left, **how), a, right)]


@entry("qr", weight=1, wild=False)
def qr(b: Builder) -> list[Value]:
    v, full = _matrix(b), bool(b.c.integer(0, 1))
    q, r = b.emit(lambda x: factor.qr(x, full), v, keep=False)
    # Of a full basis only the columns that span the matrix are determined.
    return [*b.emit(lambda x: matrices.columns(x, 0, min(v.shape[-2:])), q), b.add(r)]


@entry("eigh", weight=1, wild=False)
def eigh(b: Builder) -> list[Value]:
    if b.c.chance(30):
        return b.emit(lambda x: spectral.eigh(x, False), _definite(b))
    w, v = b.emit(spectral.eigh, _definite(b), keep=False)
    return [b.add(w), *_moduli(b, v)]


@entry("eig", weight=1, wild=False)
def eig(b: Builder) -> list[Value]:
    """Eigenvalues in order, and sums over all eigenvectors: LAPACK gives them in any order."""
    if b.c.chance(30):
        return b.emit(lambda x: order.sort(spectral.eig(x, False), x.ndim - 2), _solvable(b))
    w, v = b.emit(spectral.eig, _solvable(b), keep=False)
    ordered = b.emit(lambda x: order.sort([x], w.ndim - 1), w)
    return [*ordered, *b.emit(lambda x: reduce.reduce_sum(ew.abs(x), (v.ndim - 1,)), v)]


@entry("svd", weight=1, wild=False)
def svd(b: Builder) -> list[Value]:
    v = _matrix(b)
    if b.c.chance(40):
        return b.emit(lambda x: spectral.svd(x, False, False), v)
    k = min(v.shape[-2:])
    u, s, vh = b.emit(lambda x: spectral.svd(x, bool(b.c.integer(0, 1))), v, keep=False)
    first = b.emit(lambda x: matrices.columns(x, 0, k), u, keep=False)[0]
    last = b.emit(lambda x: matrices.rows(x, 0, k), vh, keep=False)[0]
    return [b.add(s), *_moduli(b, first, last)]


@entry("sqrtm", weight=1, wild=False)
def sqrtm(b: Builder) -> list[Value]:
    return b.emit(schur.sqrtm, _solvable(b))


@entry("schur", weight=1, wild=False)
def schur_(b: Builder) -> list[Value]:
    t, z = b.emit(schur.schur, _solvable(b), keep=False)
    return _moduli(b, t, z)


@entry("hessenberg", weight=1, wild=False)
def hessenberg(b: Builder) -> list[Value]:
    h, q = b.emit(schur.hessenberg, _solvable(b), keep=False)
    return _moduli(b, h, q)


@entry("sylvester", weight=1, wild=False)
def sylvester(b: Builder) -> list[Value]:
    a = _solvable(b)
    c = b.operand(a.shape, a.dtype)
    return [b.tamed(v) for v in b.emit(lambda a, c: schur.sylvester(a, a, c), a, c)]


@entry("interleaved", weight=1, wild=False)
def interleaved(b: Builder) -> list[Value]:
    a = b.operand((b.c.pick((2, 3)), b.c.pick((2, 3, 1)), 2), b.c.pick(dtypes.PARTS))
    return b.emit(lambda x: bind(lookup("interleaved"), x, operation="lu", parts=(True,)), a)


@entry("fft", weight=2, wild=False)
def transform(b: Builder) -> list[Value]:
    kind = b.c.pick(fft.KINDS)
    dtype = draw_dtype(b.c, b.profile, "f" if kind == "rfft" else "c")
    if kind == "rfft" and dtype not in dtypes.PARTS:
        dtype = dtypes.float32
    k = b.c.integer(1, 2)
    lengths = tuple(b.c.pick((4, 5, 8, 2, 1, 13, 3)) for _ in range(k))
    ends = (*lengths[:-1], lengths[-1] // 2 + 1) if kind == "irfft" else lengths
    lead = () if b.c.chance(60) else (b.c.pick((2, 1, 3, 0)),)
    v = b.operand((*lead, *ends), dtype)
    return [b.tamed(x) for x in b.emit(lambda x: fft.fft(x, kind, lengths), v)]
