"""Builders for linear algebra: LAPACK's routines, one call for each matrix of a stack, between loops that lay matrices out for it.

    l = cholesky a   →   for b: for i, j: out[b, i, j] = a[b, i, j] if j <= i else 0
                         for b: call lapack[dpotrf] (out[b], info[b])
                         for b, i, j: out[b, i, j] = out[b, i, j] if info[b] == 0 or j > i else nan

Fortran's matrices lie by columns, which is what a row-major transposed matrix does; a routine that knows transposed operands works on
our memory as it is.  Matrices with NaN or infinity never reach an iterative routine, which might not return: it gets zeros, and
the result is NaN.

Complex matrices come as `interleaved` equations: real arrays whose last axis has the two parts, LAPACK's own form.

What has no routine here, and all of it where SciPy is missing or the target is no CPU, is a callback to the primitive's NumPy definition.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fdl.backends import lapack
from fdl.backends.lapack import Argument
from fdl.backends.loops.ir import INDEX, Call, Ref, Value
from fdl.backends.loops.values import add, clamp, conjunction, const, convert, op, select, sub
from fdl.tracer import dtypes
from fdl.tracer.ir import Atom, Equation
from fdl.tracer.records import dataclass

from .context import Nest, Place, Scope
from .control import build_callback
from .index import ZERO, At, Shape
from .windowed import placed

LETTERS = {dtypes.float32: "sc", dtypes.float64: "dz"}
"""The dtype of a part → the letters of its real and its complex routines."""


@dataclass(frozen=True, slots=True)
class _Problem:
    """One equation as its builder sees it: the inner primitive's name and parameters, and whether its matrices are complex."""

    scope: Scope
    e: Equation
    params: dict[str, Any]
    part: dtypes.DType
    is_complex: bool
    lead: Shape

    @property
    def letter(self) -> str:
        return LETTERS[self.part][self.is_complex]

    @property
    def tail(self) -> Shape:
        """The axis of the parts, where there is one."""
        return (2,) if self.is_complex else ()

    def sizes(self, a: Atom) -> Shape:
        """The last two sizes of a stack of matrices."""
        shape = a.type.shape[: len(a.type.shape) - len(self.tail)]
        return shape[-2:]

    # --- memory ----------------------------------------------------------------------------------

    def space(self, *sizes: int, dtype: dtypes.DType | None = None, tail: bool = True) -> Place:
        """A new buffer with an array of these sizes for each matrix; parts are added when `tail`."""
        rest = self.tail if tail else ()
        return Place(self.scope.temporary(dtype or self.part, (*self.lead, *sizes, *rest), "m"))

    def matrices(self, k: int) -> Place:
        """The place of output `k`: the same at every call."""
        v = self.e.outputs[k]
        return self.scope.places.get(v) or self.scope.target(v)

    def operand(self, k: int) -> Place:
        """Operand `k` in memory."""
        return self.scope.stored(self.e.inputs[k])

    def over(
        self, nest: Nest, *sizes: int, tail: bool = True
    ) -> tuple[tuple[Value, ...], tuple[Value, ...], tuple[Value, ...]]:
        """Opens loops over the stack, `sizes` and the parts: their indices."""
        index = nest.over((*self.lead, *sizes, *(self.tail if tail else ()))).index
        n = len(self.lead)
        return index[:n], index[n : n + len(sizes)], index[n + len(sizes) :]

    # --- statements ------------------------------------------------------------------------------

    def call(
        self, routine: str, arguments: Sequence[Argument], *arrays: Place, reads: Sequence[Place] = (), flops: float
    ) -> None:
        """A routine called for each matrix of the stack; ("array", k) is its part of the k-th of `arrays` and `reads`.

        The routine may change `arrays`, and only reads `reads`.
        """
        nest = Nest(self.scope)
        lead = nest.over(self.lead).index
        refs = tuple(_part(place, lead) for place in (*arrays, *reads))
        attrs = (("arguments", lapack.resolved(routine, tuple(arguments))), ("flops", int(flops)), ("routine", routine))
        nest.do(Call("lapack", refs[: len(arrays)], refs, (), attrs))
        nest.close()

    def finite(self, a: Atom, *, lower: bool = False) -> Place:
        """For each matrix, the number 1 where it (or its lower triangle) holds NaN or infinity, else 0."""
        place = self.space(dtype=dtypes.int32, tail=False)
        m, n = self.sizes(a)
        nest = Nest(self.scope)
        lead = nest.over(self.lead).index

        def term(r: tuple[Value, ...]) -> Value:
            bad = op("not", op("is_finite", nest.element(a, At(a.type.shape, (*lead, *r)))))
            if lower:
                bad = op("and", bad, op("le", r[1], r[0]))
            return nest.let(convert(bad, dtypes.int32))

        found = nest.reduce("max", dtypes.int32, [m, n, *self.tail], term, const(0, dtypes.int32))
        nest.store(place, At(place.shape, lead), found)
        nest.close()
        return place

    def by_columns(self, a: Atom, bad: Place | None = None, *, lower: bool = False, columns: int | None = None) -> Place:
        """Matrices copied by columns, into buffers of `columns` columns.

        There are zeros instead in those that `bad` marks, and above the diagonal for `lower`.
        """
        m, n = self.sizes(a)
        place = self.space(columns or n, m)
        nest = Nest(self.scope)
        lead, (j, i), tail = self.over(nest, n, m)
        value = nest.element(a, At(a.type.shape, (*lead, i, j, *tail)))
        keep = [] if bad is None else [op("eq", nest.let(bad.load(At(bad.shape, lead))), const(0, dtypes.int32))]
        keep += [op("le", j, i)] if lower else []
        if keep:
            value = select(conjunction(*keep), value, const(0.0, self.part))
        nest.store(place, At(place.shape, (*lead, j, i, *tail)), value)
        nest.close()
        return place

    def give(self, k: int, sizes: Shape, value: Callable[[Nest, Any, Any, Any], Value], checks: Sequence[Place] = ()) -> None:
        """Writes output `k`: `value(nest, stack index, index, part index)`, or NaN where one of `checks` is not 0."""
        out = self.e.outputs[k]
        place = self.matrices(k)
        tail = bool(self.tail) and len(out.type.shape) > len(self.lead) + len(sizes)
        nest = Nest(self.scope)
        lead, index, parts = self.over(nest, *sizes, tail=tail)
        result = value(nest, lead, index, parts)
        nest.store(place, At(out.type.shape, (*lead, *index, *parts)), sound(nest, lead, result, checks))
        nest.close()


def sound(nest: Nest, lead: tuple[Value, ...], value: Value, checks: Sequence[Place]) -> Value:
    """`value`, or NaN where one of `checks` is not 0 for its matrix."""
    if not checks:
        return value
    good = [op("eq", nest.let(c.load(At(c.shape, lead))), const(0, dtypes.int32)) for c in checks]
    return nest.let(select(conjunction(*good), value, const(math.nan, value.dtype)))


def _part(place: Place, lead: tuple[Value, ...]) -> Ref:
    """The window of one matrix of a stack."""
    w = placed(place, place.shape)
    return w.ref(range(len(lead), len(place.shape)), dict(enumerate(lead)))


def _load(place: Place, *index: Value) -> Value:
    return place.load(At(place.shape, index))


def _by_columns(place: Place, *, upper: bool = False) -> Callable[[Nest, Any, Any, Any], Value]:
    """Element (i, j) of matrices that lie by columns; zero below the diagonal for `upper`."""

    def value(nest: Nest, lead: Any, index: Any, parts: Any) -> Value:
        i, j = index
        x = nest.let(_load(place, *lead, j, i, *parts))
        return select(op("le", i, j), x, const(0.0, x.dtype)) if upper else x

    return value


def _ints(*values: int) -> list[Argument]:
    return [("int", v) for v in values]


def _arrays(*numbers: int) -> list[Argument]:
    return [("array", k) for k in numbers]


# --- direct factorizations ------------------------------------------------------------------------


def _cholesky(p: _Problem) -> None:
    # The lower triangle by rows is the upper one by columns of the transposed matrix, whose factor is the transposed factor.
    a = p.e.inputs[0]
    n = p.sizes(a)[0]
    bad, info = p.finite(a, lower=True), p.space(dtype=dtypes.int32, tail=False)
    out = p.matrices(0)
    nest = Nest(p.scope)
    lead, (i, j), tail = p.over(nest, n, n)
    zero = const(0.0, p.part)
    good = op("eq", nest.let(bad.load(At(bad.shape, lead))), const(0, dtypes.int32))
    value = nest.element(a, At(a.type.shape, (*lead, i, j, *tail)))
    nest.store(out, At(out.shape, (*lead, i, j, *tail)), select(conjunction(good, op("le", j, i)), value, zero))
    nest.close()
    p.call(f"{p.letter}potrf", [("char", "U"), ("int", n), ("array", 0), ("int", n), ("array", 1)], out, info, flops=n**3 / 3)
    nest = Nest(p.scope)
    lead, (i, j), tail = p.over(nest, n, n)
    at = At(out.shape, (*lead, i, j, *tail))
    value = nest.let(out.load(at))
    nest.store(out, at, nest.let(select(op("le", j, i), sound(nest, lead, value, [bad, info]), zero)))
    nest.close()


def _lu(p: _Problem) -> None:
    a = p.e.inputs[0]
    m, n = p.sizes(a)
    k = min(m, n)
    x, found = p.by_columns(a), p.space(k, dtype=dtypes.int32, tail=False)
    arguments = [*_ints(m, n), ("array", 0), ("int", m), ("array", 1), ("work", 4)]
    p.call(f"{p.letter}getrf", arguments, x, found, flops=m * n * k)
    p.give(0, (m, n), _by_columns(x))
    one = const(1, dtypes.int32)
    p.give(1, (k,), lambda nest, lead, index, _: nest.let(op("sub", _load(found, *lead, *index), one)))
    p.give(2, (m,), lambda nest, lead, index, _: convert(index[0], dtypes.int32))
    order = p.matrices(2)
    nest = Nest(p.scope)
    lead = nest.over(p.lead).index
    i = nest.loop(k, "serial", "k")
    # LAPACK's rows count from 1.
    j = nest.let(clamp(sub(convert(_load(found, *lead, i), INDEX), 1), 0, m - 1), "n")
    first, second = (nest.let(_load(order, *lead, row)) for row in (i, j))
    nest.store(order, At(order.shape, (*lead, i)), second)
    nest.store(order, At(order.shape, (*lead, j)), first)
    nest.close()


def _trsm(
    p: _Problem, a: Place, b: Place, n: int, k: int, *, left: bool = True, lower: bool, turn: str = "N", unit: bool = False
) -> None:
    """Solves op(a) x = b, or x op(a) = b, in place in `b`, (n, k) or (k, n).

    By columns everything is transposed: xᵀ op(a)ᵀ = bᵀ, with aᵀ in the memory of `a`.
    """
    kinds = [("char", c) for c in ("R" if left else "L", "U" if lower else "L", turn, "U" if unit else "N")]
    rows, columns = (k, n) if left else (n, k)
    arguments: list[Argument] = [
        *kinds, *_ints(rows, columns), ("one", p.letter), ("array", 1), ("int", n), ("array", 0), ("int", rows),
    ]  # fmt: skip
    p.call(f"{p.letter}trsm", arguments, b, reads=(a,), flops=n * n * k)


def _turn(params: dict[str, Any]) -> str:
    return "N" if not params["transpose_a"] else "C" if params["conjugate_a"] else "T"


def _triangular_solve(p: _Problem) -> None:
    b = p.e.inputs[1]
    left = p.params["left_side"]
    n, k = p.sizes(b) if left else p.sizes(b)[::-1]
    matrix = p.operand(0)
    out = p.matrices(0)
    p.scope.fill(out, b)
    _trsm(
        p, matrix, out, n, k, left=left, lower=p.params["lower"], turn=_turn(p.params), unit=p.params["unit_diagonal"]
    )  # fmt: skip


def _lu_solve(p: _Problem) -> None:
    _, _, permutation, b = p.e.inputs
    n, k = p.sizes(b)
    factors, turn = p.operand(1), _turn(p.params)
    x = p.matrices(0) if turn == "N" else p.space(n, k)
    nest = Nest(p.scope)
    lead, (i, j), tail = p.over(nest, n, k)
    row = i
    if turn == "N":
        row = clamp(nest.indices(permutation, At(permutation.type.shape, (*lead, i))), 0, n - 1)
    nest.store(x, At(x.shape, (*lead, i, j, *tail)), nest.element(b, At(b.type.shape, (*lead, nest.let(row), j, *tail))))
    nest.close()
    if turn == "N":
        _trsm(p, factors, x, n, k, lower=True, unit=True)
        _trsm(p, factors, x, n, k, lower=False)
        return
    _trsm(p, factors, x, n, k, lower=False, turn=turn)
    _trsm(p, factors, x, n, k, lower=True, unit=True, turn=turn)
    out = p.matrices(0)
    nest = Nest(p.scope)
    lead, (i, j), tail = p.over(nest, n, k)
    row = nest.let(clamp(nest.indices(permutation, At(permutation.type.shape, (*lead, i))), 0, n - 1))
    nest.store(out, At(out.shape, (*lead, row, j, *tail)), nest.let(_load(x, *lead, i, j, *tail)))
    nest.close()


def _qr(p: _Problem) -> None:
    a = p.e.inputs[0]
    m, n = p.sizes(a)
    k = min(m, n)
    count = m if p.params["full_matrices"] else k
    x, tau = p.by_columns(a, columns=max(count, n)), p.space(k)
    rest: list[Argument] = [("array", 0), ("int", m), ("array", 1), ("space", (0, _dtype(p))), ("length", 0), ("work", 4)]
    p.call(f"{p.letter}geqrf", [*_ints(m, n), *rest], x, tau, flops=2 * m * n * k)
    p.give(1, (count, n), _by_columns(x, upper=True))
    routine = "ungqr" if p.is_complex else "orgqr"
    p.call(f"{p.letter}{routine}", [*_ints(m, count, k), *rest], x, tau, flops=2 * m * count * k)
    p.give(0, (m, count), _by_columns(x))


def _dtype(p: _Problem) -> dtypes.DType:
    return dtypes.complex_of(p.part) if p.is_complex else p.part


# --- iterative ones -------------------------------------------------------------------------------


def _eigh(p: _Problem) -> None:
    a = p.e.inputs[0]
    n = p.sizes(a)[0]
    bad, info = p.finite(a, lower=True), p.space(dtype=dtypes.int32, tail=False)
    x, w = p.by_columns(a, bad, lower=True), p.space(n, tail=False)
    vectors = p.params["vectors"]
    start: list[Argument] = [
        ("char", "V" if vectors else "N"),
        ("char", "L"),
        ("int", n),
        ("array", 0),
        ("int", n),
        ("array", 1),
    ]
    dts = [_dtype(p), p.part, dtypes.int32] if p.is_complex else [p.part, dtypes.int32]
    work: list[Argument] = [a for k, d in enumerate(dts) for a in (("space", (k, d)), ("length", k))]
    routine = "heevd" if p.is_complex else "syevd"
    p.call(f"{p.letter}{routine}", [*start, *work, ("array", 2)], x, w, info, flops=9 * n**3)
    p.give(0, (n,), lambda nest, lead, index, _: nest.let(_load(w, *lead, *index)), [bad, info])
    if vectors:
        p.give(1, (n, n), _by_columns(x), [bad, info])


def _svd(p: _Problem) -> None:
    a = p.e.inputs[0]
    m, n = p.sizes(a)
    k, most = min(m, n), max(m, n)
    vectors = p.params["compute_uv"]
    mode = "N" if not vectors else "A" if p.params["full_matrices"] else "S"
    rows, count = (m, n) if mode == "A" else (k, k)
    bad, info = p.finite(a), p.space(dtype=dtypes.int32, tail=False)
    x, s = p.by_columns(a, bad), p.space(k, tail=False)
    u, vt = (p.space(rows, m), p.space(n, count)) if vectors else (p.space(1), p.space(1))
    arguments: list[Argument] = [
        ("char", mode), *_ints(m, n), ("array", 0), ("int", m), ("array", 1), ("array", 2), ("int", m), ("array", 3),
        ("int", count if vectors else 1), ("space", (0, _dtype(p))), ("length", 0),
    ]  # fmt: skip
    if p.is_complex:
        reals = 7 * k if mode == "N" else max(5 * k * k + 7 * k, 2 * most * k + 2 * k * k + k)
        arguments.append(("work", max(reals, 1) * p.part.itemsize))
    arguments += [("work", 8 * k * 4), ("array", 4)]
    p.call(f"{p.letter}gesdd", arguments, x, s, u, vt, info, flops=20 * m * n * k)
    p.give(1 if vectors else 0, (k,), lambda nest, lead, index, _: nest.let(_load(s, *lead, *index)), [bad, info])
    if vectors:
        p.give(0, (m, rows), _by_columns(u), [bad, info])
        p.give(2, (count, n), _by_columns(vt), [bad, info])


def _eig(p: _Problem) -> None:
    a = p.e.inputs[0]
    n = p.sizes(a)[0]
    vectors = p.params["vectors"]
    bad, info = p.finite(a), p.space(dtype=dtypes.int32, tail=False)
    x, v, none = p.by_columns(a, bad), p.space(n, n) if vectors else p.space(1), p.space(1)
    start: list[Argument] = [("char", "N"), ("char", "V" if vectors else "N"), ("int", n), ("array", 0), ("int", n)]
    ends: list[Argument] = [("array", 3), ("int", 1), ("array", 4), ("int", n), ("space", (0, _dtype(p))), ("length", 0)]
    if p.is_complex:
        w = p.space(n)
        arguments = [*start, ("array", 1), *ends, ("work", 2 * n * p.part.itemsize), ("array", 2)]
        p.call(f"{p.letter}geev", arguments, x, w, info, none, v, flops=25 * n**3)
        p.give(0, (n,), lambda nest, lead, index, parts: nest.let(_load(w, *lead, *index, *parts)), [bad, info])
        if vectors:
            p.give(1, (n, n), _by_columns(v), [bad, info])
        return
    # Real matrices: eigenvalues in two arrays, and of a conjugate pair's vectors the real part, then the imaginary one.
    real, imag = p.space(n), p.space(n)
    p.call(f"{p.letter}geev", [*start, ("array", 1), ("array", 5), *ends, ("array", 2)], x, real, info, none, v, imag,
           flops=25 * n**3)  # fmt: skip
    zero = const(0.0, p.part)

    def value(nest: Nest, lead: Any, j: Value, c: Value) -> Value:
        return nest.let(select(op("eq", c, ZERO), _load(real, *lead, j), _load(imag, *lead, j)))

    def vector(nest: Nest, lead: Any, i: Value, j: Value, c: Value) -> Value:
        im = nest.let(_load(imag, *lead, j))
        second = op("lt", im, zero)
        before, after = clamp(sub(j, 1), 0, n - 1), clamp(add(j, 1), 0, n - 1)
        re_at = nest.let(select(second, before, j))
        im_at = nest.let(select(second, j, after))
        x, y = nest.let(_load(v, *lead, re_at, i)), nest.let(_load(v, *lead, im_at, i))
        y = select(op("eq", im, zero), zero, select(second, op("neg", y), y))
        return nest.let(select(op("eq", c, ZERO), x, y))

    p.give(0, (n, 2), lambda nest, lead, at, _: value(nest, lead, *at), [bad, info])
    if vectors:
        p.give(1, (n, n, 2), lambda nest, lead, at, _: vector(nest, lead, *at), [bad, info])


# --- the table ------------------------------------------------------------------------------------

_ROUTINES: dict[str, Callable[[_Problem], None]] = {
    "cholesky": _cholesky,
    "lu": _lu,
    "triangular_solve": _triangular_solve,
    "lu_solve": _lu_solve,
    "qr": _qr,
    "eigh": _eigh,
    "svd": _svd,
    "eig": _eig,
}


def build_lapack(scope: Scope, e: Equation) -> None:
    """cholesky, lu, triangular_solve, lu_solve, qr, eigh, svd, eig, and `interleaved` ones of these: see the module."""
    if id(e.params) in scope.unit.slots:
        build_callback(scope, e)
        return
    params = dict(e.params)
    name = params.pop("operation", e.primitive.name)
    parts = params.pop("parts", (False,))
    a = e.inputs[0].type
    is_complex = bool(parts[0])
    shape = a.shape[:-1] if is_complex else a.shape
    problem = _Problem(scope, e, params, a.dtype, is_complex, shape[:-2])
    if 0 in (*shape[:-2], *shape[-2:]) or e.outputs[0].type.size == 0:
        _without_elements(problem)
        return
    _ROUTINES[name](problem)


def _without_elements(p: _Problem) -> None:
    """Outputs for matrices without elements: what there is in them is the identity that fills up a q, u or v; or a permutation."""
    for k, out in enumerate(p.e.outputs):
        if out.type.size == 0:
            p.matrices(k)
        elif out.type.dtype == dtypes.int32:
            p.give(k, out.type.shape[-1:], lambda nest, lead, index, _: convert(index[0], dtypes.int32))
        else:
            p.give(k, p.sizes(out), _identity)


def _identity(nest: Nest, lead: Any, index: Any, parts: Any) -> Value:
    i, j = index
    on = op("eq", i, j) if not parts else conjunction(op("eq", i, j), op("eq", parts[0], ZERO))
    dtype = nest.scope.equation.outputs[0].type.dtype if nest.scope.equation else dtypes.float32
    return select(on, const(1.0, dtype), const(0.0, dtype))


__all__ = ["build_lapack"]
