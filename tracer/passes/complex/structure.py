"""What moves, selects and combines complex elements without formulas of their own, by their parts; contractions; programs in parameters.

A rule is `rule(equation, inputs) -> outputs`: complex inputs are `Pair`s, real ones values; so are the outputs.

May be imported by: `split.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, TypeAlias

import numpy as np

from ... import dtypes
from ...ir import Equation, Program, Type, type_of
from ...ops import elementwise as e
from ...ops import shape
from ...ops.callback import call_function
from ...ops.interleaved import interleaved_p
from ...primitive import lookup
from ...records import dataclass
from ...trace import bind, current, record
from . import arithmetic
from .real import Pair, Real

Rule: TypeAlias = Callable[[Equation, list[Any]], Sequence[Any]]

# --- pairs and arrays -----------------------------------------------------------------------------


def pair(re: Any, im: Any, t: Type) -> Pair:
    """The pair of two values."""
    return Pair(Real(re), Real(im), t)


def interleaved(t: Type) -> Type:
    """The type of a complex array's memory as its parts: one more axis, of size 2. A real type is itself."""
    return Type((*t.shape, 2), dtypes.real_of(t.dtype)) if dtypes.is_complex(t.dtype) else t


def split(x: Any, t: Type) -> Pair:
    """The parts of a complex array of type `t` that is given interleaved."""
    rank = len(t.shape)

    def part(k: int) -> Any:
        at = shape.slice(x, (*([0] * rank), k), (*t.shape, k + 1))
        return shape.reshape(at, t.shape)

    return pair(part(0), part(1), t)


def join(x: Pair) -> Any:
    """The interleaved array of a pair."""
    columns = [shape.reshape(v, (*x.type.shape, 1)) for v in x.full()]
    return shape.concatenate(columns, len(x.type.shape))


# --- element by element, part by part -------------------------------------------------------------


def formula(f: Callable[..., tuple[Real, Real]]) -> Rule:
    """The rule of an elementwise operation on complex operands with a complex result."""
    return lambda eqn, xs: [Pair(*f(*xs), eqn.outputs[0].type)]


def real_formula(f: Callable[..., Real]) -> Rule:
    """The rule of an elementwise operation on complex operands with a real (or bool) result."""
    return lambda eqn, xs: [e.splat(f(*xs).value, eqn.outputs[0].type.shape)]


def by_parts(eqn: Equation, xs: list[Any]) -> list[Pair]:
    """Both parts apart, for operations that are linear over the reals and treat every element alike."""

    def half(k: int) -> Any:
        return bind(eqn.primitive, *(x.full()[k] if isinstance(x, Pair) else x for x in xs), **eqn.params)

    return [pair(half(0), half(1), eqn.outputs[0].type)]


def gather(eqn: Equation, xs: list[Any]) -> list[Pair]:
    """By parts; what stands for an index out of bounds has its parts too."""
    fill = complex(eqn.params["fill"])
    x, indices = xs

    def half(k: int, f: float) -> Any:
        return bind(eqn.primitive, x.full()[k], indices, **{**eqn.params, "fill": f})

    return [pair(half(0, fill.real), half(1, fill.imag), eqn.outputs[0].type)]


def select(eqn: Equation, xs: list[Any]) -> list[Pair]:
    """By parts, which may be 0-d beside others."""
    p, a, b = xs
    return [pair(e.select(p, a.re.value, b.re.value), e.select(p, a.im.value, b.im.value), eqn.outputs[0].type)]


def iota(eqn: Equation, xs: list[Any]) -> list[Pair]:
    """A real iota with imaginary parts 0."""
    t = eqn.outputs[0].type
    dtype = dtypes.real_of(t.dtype)
    return [pair(bind(eqn.primitive, **{**eqn.params, "dtype": dtype}), np.zeros((), dtype), t)]


def convert(eqn: Equation, xs: list[Any]) -> list[Any]:
    """Between complex and real dtypes: the imaginary part comes as 0 and goes unseen, but for bool, which asks whether a part is not 0."""
    (x,), t = xs, eqn.outputs[0].type
    if not isinstance(x, Pair):
        part = e.convert(x, dtypes.real_of(t.dtype))
        return [pair(part, np.zeros((), dtypes.real_of(t.dtype)), t)]
    if dtypes.is_complex(t.dtype):
        return [Pair(x.re.to(dtypes.real_of(t.dtype)), x.im.to(dtypes.real_of(t.dtype)), t)]
    if t.dtype == dtypes.bool_:
        return [e.splat((x.re.differs(0) | x.im.differs(0)).value, t.shape)]
    return [e.splat(x.re.to(t.dtype).value, t.shape)]


def complex_of_parts(eqn: Equation, xs: list[Any]) -> list[Pair]:
    """The pair itself."""
    re, im = xs
    return [pair(re, im, eqn.outputs[0].type)]


def barrier(eqn: Equation, xs: list[Any]) -> list[Any]:
    """One barrier for all parts."""
    moved = iter(bind(eqn.primitive, *flatten(xs)))
    return unflatten(moved, [v.type for v in eqn.outputs])


# --- products along axes --------------------------------------------------------------------------


def bilinear(eqn: Equation, xs: list[Any]) -> list[Pair]:
    """Four real contractions: three would do, but lose digits where the parts differ in size."""
    (a, b) = (x.full() for x in xs)

    def product(i: int, j: int) -> Any:
        return bind(eqn.primitive, a[i], b[j], **eqn.params)

    return [pair(e.sub(product(0, 0), product(1, 1)), e.add(product(0, 1), product(1, 0)), eqn.outputs[0].type)]


def _times(a: Sequence[Any], b: Sequence[Any], t: Type) -> tuple[Any, Any]:
    """The product of two pairs of values."""
    re, im = arithmetic.mul(pair(a[0], a[1], t), pair(b[0], b[1], t))
    return re.value, im.value


def product(eqn: Equation, xs: list[Any]) -> list[Pair]:
    """reduce_prod: halves are multiplied with each other until one element is left."""
    x, t, axes = xs[0], eqn.outputs[0].type, eqn.params["axes"]
    kept = tuple(i for i in range(x.type.ndim) if i not in axes)
    n = math.prod(x.type.shape[a] for a in axes)
    if n == 0:
        return [pair(np.ones((), x.dtype), np.zeros((), x.dtype), t)]
    parts: Sequence[Any] = [shape.reshape(shape.transpose(v, (*axes, *kept)), (n, *t.shape)) for v in x.full()]
    while n > 1:
        half = n // 2
        low, high, rest = (
            [shape.slice_axis(v, 0, *ends) for v in parts] for ends in ((0, half), (half, 2 * half), (2 * half, n))
        )
        done = _times(low, high, t)
        parts = [shape.concatenate([d, r], 0) for d, r in zip(done, rest, strict=True)] if n % 2 else done
        n -= half
    return [pair(shape.reshape(parts[0], t.shape), shape.reshape(parts[1], t.shape), t)]


def cumulative_product(eqn: Equation, xs: list[Any]) -> list[Pair]:
    """cumprod: a loop along the axis."""
    x, axis, reverse = xs[0], eqn.params["axis"], eqn.params["reverse"]
    t, n = eqn.outputs[0].type, eqn.outputs[0].type.shape[eqn.params["axis"]]
    rows = [e.move_axis(v, axis, 0) for v in x.full()]
    inner = Type(type_of(rows[0]).shape[1:], x.dtype)

    def step(*args: Any) -> list[Any]:
        done = _times(args[:2], args[2:], t)
        return [*done, *done]

    body = record(step, [inner] * 4, name="cumprod")[0]
    init = [e.splat(np.asarray(v, x.dtype), inner.shape) for v in (1, 0)]
    outs = bind(lookup("scan"), *init, *rows, body=body, n_consts=0, n_carry=2, length=n, reverse=reverse)
    return [pair(e.move_axis(outs[2], 0, axis), e.move_axis(outs[3], 0, axis), t)]


def sort(eqn: Equation, xs: list[Any]) -> list[Any]:
    """Lexicographic: a complex key is three, since NaN in a part comes after everything without (NumPy's order); other operands are two."""
    n = eqn.params["num_keys"]
    keys: list[Any] = []
    for x in xs[:n]:
        if isinstance(x, Pair):
            re, im = (Real(v) for v in x.full())
            rank = Real(e.convert(re.differs(re).value, dtypes.int32)) * 2 + Real(e.convert(im.differs(im).value, dtypes.int32))
            keys.append(rank.value)
        keys += flatten([x])
    outs = iter(bind(eqn.primitive, *keys, *flatten(xs[n:]), axis=eqn.params["axis"], num_keys=len(keys)))
    found: list[Any] = []
    for k, x in enumerate(xs):
        if isinstance(x, Pair) and k < n:
            next(outs)
        found += unflatten(outs, [eqn.outputs[k].type])
    return found


# --- calls of Python ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Packed:
    """A user's function of complex arrays as one of interleaved arrays. Equal functions make equal ones."""

    function: Callable[..., Sequence[Any]]
    name: str
    ins: tuple[Type, ...]
    outs: tuple[Type, ...]
    source: str = field(compare=False)

    @property
    def paths(self) -> Any:
        """What messages call the results."""
        return getattr(self.function, "paths", None)

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        given = [
            x.view(t.dtype).reshape(t.shape) if dtypes.is_complex(t.dtype) else x for x, t in zip(arrays, self.ins, strict=True)
        ]
        params = {"function": self.function, "name": self.name, "out_types": self.outs}
        results = zip(call_function(params, given, self.source), self.outs, strict=True)
        return [np.ascontiguousarray(x).view(interleaved(t).dtype).reshape(interleaved(t).shape) for x, t in results]


def call_back(eqn: Equation, xs: list[Any]) -> list[Any]:
    """A callback of the user: its function gets and returns complex arrays."""
    p, ins, outs = eqn.params, tuple(a.type for a in eqn.inputs), tuple(v.type for v in eqn.outputs)
    packed = Packed(p["function"], p["name"], ins, outs, eqn.source)
    params = {**p, "function": packed, "out_types": tuple(interleaved(t) for t in outs)}
    return _parted(bind(eqn.primitive, *_memory(xs), **params), outs)


def by_memory(eqn: Equation, xs: list[Any]) -> list[Any]:
    """An operation without a rule: on interleaved arrays, by LAPACK or its NumPy definition."""
    parts = tuple(isinstance(x, Pair) for x in xs)
    params = {**eqn.params, "operation": eqn.primitive.name, "parts": parts}
    results = current().process(interleaved_p, _memory(xs), params)
    return _parted(results, [v.type for v in eqn.outputs])


def _memory(xs: Sequence[Any]) -> list[Any]:
    return [join(x) if isinstance(x, Pair) else x for x in xs]


def _parted(results: Sequence[Any], types: Sequence[Type]) -> list[Any]:
    return [split(r, t) if dtypes.is_complex(t.dtype) else r for r, t in zip(results, types, strict=True)]


# --- programs in parameters -----------------------------------------------------------------------


def flatten(xs: Sequence[Any]) -> list[Any]:
    """Values with each pair as two."""
    return [v for x in xs for v in (x.full() if isinstance(x, Pair) else (x,))]


def unflatten(values: Any, types: Sequence[Type]) -> list[Any]:
    """The inverse of `flatten`, from an iterator."""
    return [pair(next(values), next(values), t) if dtypes.is_complex(t.dtype) else next(values) for t in types]


def flat_types(types: Sequence[Type]) -> list[Type]:
    """Types with each complex one as two real ones."""
    return [Type(t.shape, dtypes.real_of(t.dtype), t.weak) for t in types for _ in range(1 + dtypes.is_complex(t.dtype))]


def _count(variables: Sequence[Any]) -> int:
    return len(flat_types([v.type for v in variables]))


def control(planar: Callable[[Program], Program]) -> dict[str, Rule]:
    """The rules of the primitives that hold programs; `planar` gives a program on parts."""

    def run(eqn: Equation, xs: list[Any], **changes: Any) -> list[Any]:
        outs = iter(bind(eqn.primitive, *flatten(xs), **{**eqn.params, **changes}))
        return unflatten(outs, [v.type for v in eqn.outputs])

    def jit(eqn: Equation, xs: list[Any]) -> list[Any]:
        return run(eqn, xs, program=planar(eqn.params["program"]))

    def cond(eqn: Equation, xs: list[Any]) -> list[Any]:
        return run(eqn, xs, branches=tuple(planar(b) for b in eqn.params["branches"]))

    def while_loop(eqn: Equation, xs: list[Any]) -> list[Any]:
        p = eqn.params
        a, b = p["n_cond"], p["n_cond"] + p["n_body"]
        counts = {"n_cond": _count(eqn.inputs[:a]), "n_body": _count(eqn.inputs[a:b])}
        return run(eqn, xs, cond=planar(p["cond"]), body=planar(p["body"]), **counts)

    def scan(eqn: Equation, xs: list[Any]) -> list[Any]:
        p = eqn.params
        a, b = p["n_consts"], p["n_consts"] + p["n_carry"]
        counts = {"n_consts": _count(eqn.inputs[:a]), "n_carry": _count(eqn.inputs[a:b])}
        return run(eqn, xs, body=planar(p["body"]), **counts)

    return {"jit": jit, "cond": cond, "while": while_loop, "scan": scan}
