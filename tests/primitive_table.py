"""The one table of primitives and sample inputs: what every rule and every backend is tested on.

A `Row` is a primitive with shapes, parameters and the dtypes it is tried in; `cases()` spreads the rows over their dtypes.
Every registered primitive has a row (`test_primitives.py` holds it to that); sizes 0, 1, odd and larger ones occur in each family.

    for case in cases():
        inputs = case.inputs()                                   # ndarrays, the same at every call
        expected = case.row.primitive.reference(*inputs, **case.params())
        actual = ...                                             # what a backend gives
        case.check(actual, expected)
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import fdl.tracer.ops
import fdl.tracer.transforms
from fdl.tracer import dtypes
from fdl.tracer.ir import MAY_FAIL, Type
from fdl.tracer.ops import elementwise as ew
from fdl.tracer.ops.convolve import conv_out_shape
from fdl.tracer.ops.window import window_out_shape
from fdl.tracer.primitive import PRIMITIVES, Elementwise, Primitive, lookup
from fdl.tracer.scalars import SCALARS
from fdl.tracer.trace import record

for _package in (fdl.tracer.ops, fdl.tracer.transforms):
    for _module in pkgutil.iter_modules(_package.__path__):
        importlib.import_module(f"{_package.__name__}.{_module.name}")

FLOATS = ("f16", "bf16", "f32", "f64")
INTS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
NUMBERS = (*FLOATS, "i32", "i64", "u8")
ANY = ("f32", "f64", "bf16", "i32", "u8", "bool")
REAL = ("f32", "f64")

# --- sample values --------------------------------------------------------------------------------

Draw = Callable[[np.random.Generator, tuple[int, ...], dtypes.DType], np.ndarray]


def _cast(x: Any, dtype: dtypes.DType) -> np.ndarray:
    return np.asarray(SCALARS["convert"].impl(np.asarray(x), dtype=dtype))


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    if dtype == dtypes.bool_:
        return np.asarray(rng.integers(0, 2, shape), np.bool_)
    if dtypes.is_int(dtype):
        return np.asarray(rng.integers(-9 if dtypes.is_signed(dtype) else 0, 10, shape), dtype)
    return _cast(rng.normal(size=shape), dtype)


def _between(low: float, high: float) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
        if not dtypes.is_float(dtype):
            return _normal(rng, shape, dtype)
        return _cast(rng.uniform(low, high, shape), dtype)

    return draw


def _integers(low: int, high: int) -> Draw:
    return lambda rng, shape, dtype: np.asarray(rng.integers(low, high, shape), dtype)


def _distinct(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """No two alike (as far as the dtype goes), and none near another: extrema do not change hands within a small step."""
    n = int(np.prod(shape))
    x = (rng.permutation(n) - n // 2).reshape(shape)
    return _cast((x + rng.uniform(0.1, 0.9)) * 0.25 if dtypes.is_float(dtype) else x, dtype)


def _ties(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    return _cast(rng.integers(0, 3, shape), dtype)


def _special(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """Extremes: NaN, infinities, zeros of both signs, subnormal and huge floats; the ends of the range of integers."""
    if dtype == dtypes.bool_:
        return _normal(rng, shape, dtype)
    if dtypes.is_int(dtype):
        info = np.iinfo(dtype)
        values: list[Any] = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 7]
    else:
        tiny = {2: 6e-8 if dtype == dtypes.float16 else 1e-40, 4: 1e-45, 8: 5e-324}[dtype.itemsize]
        huge = 6e4 if dtype == dtypes.float16 else 3e38 if dtype.itemsize < 8 else 1.7e308
        values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.5, tiny, -tiny, huge, -huge, 3.0, 1e-3]
    with np.errstate(over="ignore"):
        return np.asarray(rng.choice(np.array(values, dtype), shape), dtype)


def _zeros_among(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    return _cast(np.where(rng.random(shape) < 0.4, 0, rng.normal(size=shape)), dtype)


def _places(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """Each of 0, 1, 2, ... once."""
    return np.asarray(rng.permutation(int(np.prod(shape))).reshape(shape), dtype)


@dataclass(frozen=True, slots=True)
class Arg:
    """One input: its shape, how values are drawn, and its dtype where that is not the case's."""

    shape: tuple[int, ...]
    draw: Draw = _normal
    dtype: str = ""


# --- rows and cases -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A primitive with sample inputs.

    Attributes:
        params: the parameters, or a function of the dtype that gives them.
        moving: the inputs with derivatives (all float ones by default), or () where there are none or they are not checked.
        ulps: how far another backend may be from the reference, in units in the last place: of each element for elementwise
            primitives, of the largest element for the others. 0 means the same bits. Integers are always the same.
        backward: whether there is a reverse-mode derivative.
        label: tells this row from others of the primitive.
    """

    name: str
    args: tuple[Arg, ...]
    params: Mapping[str, Any] | Callable[[dtypes.DType], Mapping[str, Any]]
    dtypes: tuple[str, ...]
    moving: tuple[int, ...] | None = None
    ulps: float = 0
    backward: bool = True
    label: str = ""

    @property
    def primitive(self) -> Primitive:
        return lookup(self.name)


@dataclass(frozen=True, slots=True)
class Case:
    """A row in one dtype."""

    row: Row
    dtype: dtypes.DType
    id: str

    def inputs(self, seed: int = 0) -> list[np.ndarray]:
        """Sample inputs: the same at every call with the same seed."""
        rng = np.random.default_rng([seed, zlib.crc32(self.id.encode())])
        return [a.draw(rng, a.shape, dtypes.FROM_SHORT[a.dtype] if a.dtype else self.dtype) for a in self.row.args]

    def params(self) -> dict[str, Any]:
        """The parameters of the primitive."""
        return dict(self.row.params(self.dtype) if callable(self.row.params) else self.row.params)

    def moving(self) -> tuple[int, ...]:
        """The inputs whose derivatives are checked."""
        if self.row.moving is not None:
            return self.row.moving
        given = [dtypes.FROM_SHORT[a.dtype] if a.dtype else self.dtype for a in self.row.args]
        return tuple(i for i, d in enumerate(given) if dtypes.is_float(d))

    def may_fail(self) -> bool:
        """Whether the operation has a check that could raise (it does not on these inputs)."""
        return MAY_FAIL in self.row.primitive.effects_of(self.params())

    def check(self, actual: Any, expected: Any) -> None:
        """Asserts that a backend's output (a sequence of them when the primitive has several) is the reference's within `ulps`."""
        pairs = zip(actual, expected, strict=True) if self.row.primitive.multiple else [(actual, expected)]
        for a, e in pairs:
            compare(np.asarray(a), np.asarray(e), self.row.ulps, isinstance(self.row.primitive.lowering, Elementwise), self.id)


def compare(actual: np.ndarray, expected: np.ndarray, ulps: float, each: bool, what: str) -> None:
    """Asserts equal shapes, dtypes, NaNs and infinities, and values within `ulps` of each element, or of the largest one."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype, (what, actual.shape, actual.dtype, expected.dtype)
    if not dtypes.is_inexact(expected.dtype) or ulps == 0:
        same(actual, expected, what)
        return
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    info = np.finfo(np.float32) if expected.dtype == dtypes.bfloat16 else np.finfo(expected.dtype)
    eps = 2.0**-7 if expected.dtype == dtypes.bfloat16 else float(info.eps)
    finite = np.isfinite(e)
    np.testing.assert_array_equal(np.where(finite, 0, a), np.where(finite, 0, e), err_msg=what)
    a, e = np.where(finite, a, 0), np.where(finite, e, 0)
    scale = np.abs(e) if each else np.full(e.shape, np.max(np.abs(e), initial=0.0))
    allowed = ulps * eps * np.maximum(scale, float(info.tiny))
    assert (np.abs(a - e) <= allowed).all(), (
        f"{what}: off by {np.max(np.abs(a - e) / allowed) * ulps:.3g} ulp, {ulps} are allowed"
    )


def same(actual: np.ndarray, expected: np.ndarray, what: str = "") -> None:
    """Asserts equal elements, NaN equal to NaN (also for bfloat16, whose NaN NumPy's assertion does not know)."""
    a, e = (np.asarray(x).astype(np.float32) if np.asarray(x).dtype == dtypes.bfloat16 else x for x in (actual, expected))
    np.testing.assert_array_equal(a, e, err_msg=what)


ROWS: list[Row] = []


def row(
    name: str,
    *args: Arg | tuple[int, ...],
    dtypes: tuple[str, ...] = REAL,
    moving: tuple[int, ...] | None = None,
    ulps: float = 0,
    backward: bool = True,
    label: str = "",
    params: Callable[[Any], Mapping[str, Any]] | None = None,
    **constant: Any,
) -> None:
    """Enters a row; a bare shape is an `Arg` with normally distributed values."""
    given = tuple(Arg(a) if isinstance(a, tuple) else a for a in args)
    ROWS.append(Row(name, given, params or constant, dtypes, moving, ulps, backward, label))


@functools.cache
def cases() -> tuple[Case, ...]:
    """Every row in each of its dtypes; ids are distinct."""
    found: dict[str, Case] = {}
    for r in ROWS:
        for short in r.dtypes:
            shapes = "-".join("x".join(map(str, a.shape)) or "0d" for a in r.args)
            base = ".".join(filter(None, (r.name, r.label, shapes, short)))
            number, name = 1, base
            while name in found:
                number += 1
                name = f"{base}.{number}"
            found[name] = Case(r, dtypes.FROM_SHORT[short], name)
    return tuple(found.values())


def cases_of(names: Sequence[str]) -> Iterator[Case]:
    """The cases of the named primitives."""
    return (c for c in cases() if c.row.name in names)


# --- elementwise ----------------------------------------------------------------------------------

_DRAWS: dict[str, tuple[Draw, ...]] = {
    "acosh": (_between(1.2, 4.0),), "atanh": (_between(-0.9, 0.9),), "asin": (_between(-0.9, 0.9),),
    "acos": (_between(-0.9, 0.9),), "erf_inv": (_between(-0.9, 0.9),), "log": (_between(0.2, 4.0),),
    "log1p": (_between(-0.7, 4.0),), "sqrt": (_between(0.2, 4.0),), "rsqrt": (_between(0.2, 4.0),), "cbrt": (_between(0.2, 4.0),),
    "tan": (_between(-1.2, 1.2),), "div": (_normal, _between(0.4, 3.0)), "rem": (_between(3.0, 9.0), _between(1.1, 2.9)),
    "pow": (_between(0.2, 3.0), _normal),
}  # fmt: skip
for _name in ("shift_left", "shift_right_logical", "shift_right_arithmetic"):
    _DRAWS[_name] = (_special, _integers(0, 70))


def _elementwise(name: str) -> None:
    scalar = SCALARS[name]
    shorts = tuple(dtypes.SHORT[d] for d in scalar.dtypes if not dtypes.is_complex(d))
    draws = (_DRAWS.get(name, ()) + (_normal,) * scalar.arity)[: scalar.arity]
    first = "bool" if name == "select" else ""

    def args(shapes: Sequence[tuple[int, ...]], draws: Sequence[Draw]) -> list[Arg]:
        return [Arg(s, d, first if i == 0 else "") for i, (s, d) in enumerate(zip(shapes, draws, strict=True))]

    how: dict[str, Any] = {"ulps": 0 if scalar.exact else 4, "moving": None if lookup(name).jvp else ()}
    row(name, *args([(3, 7)] * scalar.arity, draws), dtypes=shorts, **how)
    for shape in ((), (1,), (0, 4)):
        row(name, *args([shape] * scalar.arity, draws), dtypes=shorts[-1:], **how)
    row(name, *args([(5, 129)] * scalar.arity, draws), dtypes=shorts[-2:], ulps=how["ulps"], moving=(), label="large")
    if scalar.arity > 1:
        for i in range(scalar.arity):
            mixed = [() if k == i else (2, 5) for k in range(scalar.arity)]
            row(name, *args(mixed, draws), dtypes=shorts[-1:], **how)
    special = [d if name == "pow" and "f64" not in shorts else _special for d in draws]
    row(name, *args([(67,)] * scalar.arity, special), dtypes=shorts, ulps=how["ulps"], moving=(), label="special")


for _name, _primitive in list(PRIMITIVES.items()):
    if isinstance(_primitive.lowering, Elementwise) and _name in SCALARS and _name not in ("convert", "bitcast"):
        _elementwise(_name)

_TARGETS = ("bool", "i8", "u16", "i32", "i64", "u64", "f16", "bf16", "f32", "f64")
for _target in _TARGETS:
    _to = {"dtype": dtypes.FROM_SHORT[_target], "weak": False}
    row("convert", (3, 5), dtypes=_TARGETS, label=_target, **_to)
    row("convert", Arg((61,), _special), dtypes=_TARGETS, moving=(), label=f"{_target}.special", **_to)
row("convert", (0, 3), dtypes=REAL, dtype=dtypes.float32, weak=False)
for _source, _target in (("f32", "i32"), ("u32", "f32"), ("f64", "u64"), ("bf16", "u16"), ("i8", "u8"), ("i16", "f16")):
    row("bitcast", Arg((3, 5), _special), dtypes=(_source,), moving=(), dtype=dtypes.FROM_SHORT[_target], label=_target)
row("bitcast", (), dtypes=("f32",), dtype=dtypes.int32)
row("bitcast", (2, 0), dtypes=("f64",), dtype=dtypes.int64)
row("stop_gradient", (3, 4), dtypes=ANY)
row("stop_gradient", (), dtypes=REAL)
row("stop_gradient", (0,), dtypes=REAL)

# --- shape ----------------------------------------------------------------------------------------

row("broadcast", (3,), dtypes=ANY, shape=(2, 3, 4), axes=(1,))
row("broadcast", (), shape=(5,), axes=())
row("broadcast", (), shape=(), axes=())
row("broadcast", (1, 4), shape=(3, 4), axes=(0, 1))
row("broadcast", (2, 1), shape=(2, 3, 5), axes=(0, 2))
row("broadcast", (1,), shape=(0, 3), axes=(1,))
row("broadcast", (0, 3), shape=(0, 2, 3), axes=(0, 2))
row("broadcast", (129,), shape=(65, 129), axes=(1,))
row("reshape", (2, 3, 4), dtypes=ANY, shape=(6, 4))
row("reshape", (2, 3, 4), shape=(4, 6))
row("reshape", (6, 4), shape=(2, 3, 2, 2))
row("reshape", (12,), shape=(1, 3, 1, 4, 1))
row("reshape", (1, 1), shape=())
row("reshape", (), shape=(1, 1))
row("reshape", (0, 3), shape=(5, 0))
row("reshape", (10, 7, 1, 6), shape=(10, 21, 2))
row("reshape", (63, 65), shape=(45, 91))
row("transpose", (2, 3, 4), dtypes=ANY, permutation=(2, 0, 1))
row("transpose", (3, 5), permutation=(1, 0))
row("transpose", (), permutation=())
row("transpose", (0, 4), permutation=(1, 0))
row("transpose", (2, 1, 3, 4), permutation=(0, 3, 2, 1))
row("transpose", (67, 131), permutation=(1, 0))
row("flip", (3, 4), dtypes=ANY, axes=(0,))
row("flip", (3, 1, 5), axes=(0, 2))
row("flip", (0, 2), axes=(0, 1))
row("flip", (130,), axes=(0,))
row("slice", (5, 7), dtypes=ANY, start=(1, 2), limit=(4, 7), stride=(1, 1))
row("slice", (9,), start=(1,), limit=(9,), stride=(3,))
row("slice", (5, 4), start=(2, 0), limit=(2, 4), stride=(1, 2))
row("slice", (), start=(), limit=(), stride=())
row("slice", (70, 131), start=(3, 1), limit=(68, 130), stride=(2, 1))
_pads: list[tuple[tuple[int, ...], tuple[tuple[int, int, int], ...]]] = [
    ((3, 4), ((1, 2, 0), (0, 0, 0))), ((3, 4), ((0, 1, 2), (2, 0, 1))), ((5,), ((-1, -2, 0),)), ((5,), ((-2, 3, 1),)),
    ((0, 2), ((1, 2, 1), (0, 1, 0))), ((1,), ((2, 0, 3),)), ((), ()), ((6,), ((-4, -4, 2),)), ((63, 65), ((1, 1, 0), (1, 1, 0))),
]  # fmt: skip
for _shape, _config in _pads:
    row("pad", _shape, (), dtypes=ANY if _shape == (3, 4) else REAL, config=_config)
row("concatenate", (2, 3), (4, 3), dtypes=ANY, axis=0)
row("concatenate", (2, 3), (2, 0), (2, 2), axis=1)
row("concatenate", (3,), axis=0)
row("concatenate", (0,), (0,), axis=0)
row("concatenate", (65, 31), (65, 70), axis=1)
for _short in NUMBERS:
    row("iota", dtypes=(_short,), params=lambda d: {"shape": (3, 5), "dtype": d, "axis": 1})
row("iota", dtypes=("i8", "u16", "f16"), params=lambda d: {"shape": (300,), "dtype": d, "axis": 0})
row("iota", dtypes=("i32",), params=lambda d: {"shape": (0, 2), "dtype": d, "axis": 0})
row("iota", dtypes=("i64",), params=lambda d: {"shape": (2, 1, 3), "dtype": d, "axis": 1})

# --- reductions -----------------------------------------------------------------------------------

_reductions: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 4, 5), (1,)), ((3, 4, 5), (0, 2)), ((3, 5), (0, 1)), ((7,), (0,)), ((1, 3), (0,)), ((4,), ()), ((), ()),
    ((0, 3), (0,)), ((3, 0), (0,)), ((65, 130), (1,)), ((130, 17), (0,)),
]  # fmt: skip
for _shape, _axes in _reductions:
    _wide = _shape == (3, 4, 5)
    row("reduce_sum", _shape, dtypes=NUMBERS if _wide else REAL, ulps=16, axes=_axes)
    row("reduce_prod", Arg(_shape, _between(0.7, 1.4)), dtypes=NUMBERS if _wide else REAL, ulps=64, axes=_axes)
    for _name in ("reduce_max", "reduce_min"):
        row(_name, Arg(_shape, _distinct), dtypes=(*NUMBERS, "bool") if _wide else REAL, axes=_axes)
    for _name in ("reduce_and", "reduce_or"):
        row(_name, _shape, dtypes=("bool",), axes=_axes)
row("reduce_prod", Arg((5, 6), _zeros_among), ulps=64, axes=(1,), label="zeros")
for _name in ("reduce_max", "reduce_min"):
    row(_name, Arg((9, 5), _special), dtypes=(*NUMBERS, "bool"), moving=(), axes=(1,), label="special")
    row(_name, Arg((9, 5), _ties), dtypes=NUMBERS, moving=(), axes=(0,), label="ties")
for _name in ("argmax", "argmin"):
    for _shape, _axis in (((3, 4, 5), 1), ((7,), 0), ((1, 2), 0), ((0, 3), 1), ((33, 67), 1), ((67, 33), 0)):
        row(_name, Arg(_shape, _distinct), dtypes=(*NUMBERS, "bool") if _axis else REAL, axis=_axis, dtype=dtypes.int32)
    row(_name, Arg((9, 5), _special), dtypes=(*FLOATS, "i32", "bool"), moving=(), axis=1, dtype=dtypes.int64, label="special")
    row(_name, Arg((6, 5), _ties), dtypes=NUMBERS, moving=(), axis=0, dtype=dtypes.int32, label="ties")
for _shape, _axis, _reverse in (
    ((3, 5), 1, False), ((3, 5), 0, True), ((6,), 0, True), ((1,), 0, False), ((0, 2), 0, False), ((2, 0), 0, True),
    ((9, 131), 1, False), ((131, 9), 0, True),
):  # fmt: skip
    _how: dict[str, Any] = {"axis": _axis, "reverse": _reverse, "dtypes": NUMBERS if _shape == (3, 5) else REAL}
    row("cumsum", _shape, ulps=32, **_how)
    row("cumprod", Arg(_shape, _between(0.7, 1.4)), ulps=256, **_how)
    row("cummax", Arg(_shape, _distinct), **_how)
    row("cummin", Arg(_shape, _distinct), **_how)
row("cumprod", Arg((3, 6), _zeros_among), ulps=256, axis=1, reverse=False, label="zeros")
for _name in ("cummax", "cummin"):
    row(_name, Arg((4, 9), _special), dtypes=NUMBERS, moving=(), axis=1, reverse=False, label="special")
    row(_name, Arg((4, 9), _ties), dtypes=(*REAL, "bool"), moving=(), axis=1, reverse=True, label="ties")

# --- contractions ---------------------------------------------------------------------------------

for _a, _b, _contract, _batch in (
    ((3, 4), (4, 5), ((1,), (0,)), ((), ())),
    ((4, 3), (5, 4), ((0,), (1,)), ((), ())),
    ((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))),
    ((3, 2, 5, 4), (4, 6, 2, 3), ((0, 3), (3, 0)), ((1,), (2,))),
    ((3, 4, 2), (2, 5, 3), ((), ()), ((2, 0), (0, 2))),
    ((7,), (7,), ((0,), (0,)), ((), ())),
    ((3,), (4,), ((), ()), ((), ())),
    ((), (3,), ((), ()), ((), ())),
    ((3, 0), (0, 2), ((1,), (0,)), ((), ())),
    ((0, 3), (3, 2), ((1,), (0,)), ((), ())),
    ((1, 1), (1, 1), ((1,), (0,)), ((), ())),
    ((33, 70), (70, 51), ((1,), (0,)), ((), ())),
    ((1, 129), (129, 65), ((1,), (0,)), ((), ())),
):
    row("dot_general", _a, _b, dtypes=NUMBERS if len(_a) in (2, 3) else REAL, ulps=32, contract=_contract, batch=_batch)


def _conv_rows(
    x: tuple[int, ...], f: tuple[int, ...], strides: Any, padding: Any, lhs: Any, rhs: Any, groups: int, shorts: tuple[str, ...]
) -> None:
    how = {"strides": strides, "padding": padding, "lhs_dilation": lhs, "rhs_dilation": rhs, "groups": groups}
    y = (x[0], *conv_out_shape(x[1:-1], f[:-2], strides, padding, lhs, rhs), f[-1])
    row("conv", x, f, dtypes=shorts, ulps=32, **how)
    row("conv_input_grad", y, f, dtypes=shorts, ulps=32, in_spatial=x[1:-1], **how)
    row("conv_filter_grad", x, y, dtypes=shorts, ulps=32, window=f[:-2], **how)


_one, _none = (1, 1), ((0, 0), (0, 0))
_conv_rows((2, 5, 6, 3), (3, 3, 3, 4), _one, ((1, 1), (1, 1)), _one, _one, 1, (*FLOATS, "i32"))
_conv_rows((2, 7, 6, 4), (3, 2, 2, 6), (2, 1), ((1, 0), (2, 1)), _one, _one, 2, REAL)
_conv_rows((1, 6, 5, 2), (2, 3, 2, 3), (1, 2), ((1, 2), (0, 1)), (2, 1), (1, 2), 1, REAL)
_conv_rows((2, 7, 6, 4), (2, 2, 1, 8), _one, ((-1, 1), (2, -2)), (1, 3), (3, 1), 4, REAL)
_conv_rows((3, 8, 2), (3, 2, 5), (3,), ((1, 1),), (1,), (2,), 1, REAL)
_conv_rows((1, 3, 4, 5, 2), (2, 2, 2, 2, 3), (1, 2, 1), ((0, 1), (1, 0), (0, 0)), (1, 1, 1), (1, 1, 2), 1, REAL)
_conv_rows((2, 4, 4, 3), (1, 1, 3, 2), _one, _none, _one, _one, 1, REAL)
_conv_rows((0, 4, 4, 3), (2, 2, 3, 2), _one, _none, _one, _one, 1, REAL)
_conv_rows((2, 2, 4, 1), (3, 3, 1, 2), _one, _none, _one, _one, 1, REAL)  # no room for a window
_conv_rows((2, 3, 3, 0), (2, 2, 0, 2), _one, _none, _one, _one, 1, REAL)
_conv_rows((3, 4), (4, 5), (), (), (), (), 1, REAL)
_conv_rows((2, 13, 14, 16), (3, 3, 16, 24), _one, ((1, 1), (1, 1)), _one, _one, 1, REAL)
_conv_rows((2, 11, 12, 8), (5, 5, 8, 17), (2, 2), ((2, 2), (2, 2)), _one, _one, 1, ("f32",))

# --- windows --------------------------------------------------------------------------------------

for _shape, _window, _strides, _padding, _dilation in (
    ((6, 7), (2, 3), (2, 2), ((0, 0), (1, 1)), (1, 1)),
    ((2, 7, 6, 3), (1, 3, 2, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0)), (1, 1, 1, 1)),
    ((9,), (3,), (1,), ((2, 2),), (2,)),
    ((5, 4), (2, 2), (3, 1), ((-1, 2), (1, -1)), (1, 2)),
    ((4,), (1,), (1,), ((2, 3),), (1,)),  # windows of padding only
    ((0, 3), (1, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((3,), (5,), (1,), ((0, 0),), (1,)),  # no room for a window
    ((), (), (), (), ()),
    ((2, 16, 18, 5), (1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4, (1, 1, 1, 1)),
    ((1, 9, 33, 16), (1, 3, 3, 1), (1, 1, 1, 1), ((0, 0), (1, 1), (1, 1), (0, 0)), (1, 1, 1, 1)),
):
    _how = {"window": _window, "strides": _strides, "padding": _padding, "dilation": _dilation}
    _shorts = (*NUMBERS, "i8") if len(_shape) == 2 else REAL
    row("window_sum", _shape, dtypes=_shorts, ulps=16, **_how)
    for _op in ("max", "min"):
        row(f"window_{_op}", Arg(_shape, _distinct), dtypes=_shorts, **_how)
        row("window_select", Arg(_shape, _distinct), _shape, dtypes=_shorts, op=_op, **_how)
        row("window_scatter", Arg(_shape, _distinct), window_out_shape(_shape, **_how), dtypes=_shorts, ulps=16, op=_op, **_how)
_how = {"window": (2, 3), "strides": (1, 2), "padding": ((1, 0), (1, 1)), "dilation": (1, 1)}
for _op in ("max", "min"):
    for _label, _draw in (("special", _special), ("ties", _ties)):
        row(f"window_{_op}", Arg((6, 9), _draw), dtypes=(*FLOATS, "i32"), moving=(), label=_label, **_how)
        row("window_select", Arg((6, 9), _draw), (6, 9), dtypes=FLOATS, moving=(), label=_label, op=_op, **_how)
        row("window_scatter", Arg((6, 9), _draw), (6, 5), dtypes=FLOATS, moving=(), ulps=16, label=_label, op=_op, **_how)

# --- indexing -------------------------------------------------------------------------------------

_indexings: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]] = [
    ((5, 4), (3,), (0,), 5), ((5, 4), (2, 3), (1,), 4), ((4, 5, 3), (6,), (0, 2), 3), ((4, 5, 3), (), (1,), 5), ((6,), (9,), (0,), 6),
    ((3, 4), (0,), (0,), 3), ((2, 0), (3,), (0,), 2), ((1,), (4,), (0,), 1), ((3, 3), (2, 2), (0, 1), 3), ((70, 33), (65,), (0,), 70),
]  # fmt: skip
for _shape, _batch_shape, _axes, _size in _indexings:
    _rest = tuple(n for i, n in enumerate(_shape) if i not in _axes)
    _main = _shape == (5, 4)
    for _mode in ("raise", "clip", "fill"):
        _low, _high = (0, _size) if _mode == "raise" else (-2, _size + 3)
        _index = Arg((*_batch_shape, len(_axes)), _integers(_low, _high), "i32")
        row("gather", _shape, _index, dtypes=ANY if _main else REAL, label=_mode, axes=_axes, mode=_mode, fill=3)
        _mode = {"fill": "drop"}.get(_mode, _mode)
        for _op in ("set", "add", "mul", "min", "max"):
            _shorts = (*NUMBERS, "bool") if _main and _op in ("set", "min", "max") else NUMBERS if _main else REAL
            _draw = _distinct if _op in ("min", "max") else _between(0.6, 1.6) if _op == "mul" else _normal
            _values = Arg(_shape, _draw), _index, Arg(_batch_shape + _rest, _draw)
            row(
                "scatter", *_values, dtypes=_shorts, label=f"{_op}.{_mode}",
                ulps=16 if _op in ("add", "mul") else 0, axes=_axes, mode=_mode, op=_op,
            )  # fmt: skip
for _short in ("u8", "i64", "u64", "i8"):
    row("gather", (5, 3), Arg((4, 1), _integers(0, 5), _short), dtypes=("f32",), label=_short, axes=(0,), mode="raise", fill=0)
row("gather", (5, 3), Arg((4, 1), _integers(0, 5), "i32"), dtypes=REAL, label="nan", axes=(0,), mode="fill", fill=float("nan"))
row("gather", (0, 3), Arg((4, 1), _integers(-1, 2), "i32"), dtypes=REAL, axes=(0,), mode="fill", fill=2)
row("scatter", (0, 3), Arg((4, 1), _integers(-1, 2), "i32"), (4, 3), dtypes=REAL, axes=(0,), mode="drop", op="add")
row("scatter", Arg((5, 3), _zeros_among), Arg((4, 1), _places, "i32"), Arg((4, 3), _zeros_among),
    label="mul.zeros", ulps=16, axes=(0,), mode="raise", op="mul")  # fmt: skip
row("scatter", Arg((4, 3), _zeros_among), Arg((6, 1), _integers(0, 4), "i32"), Arg((6, 3), _between(0.6, 1.6)),
    label="mul.zeros", ulps=16, axes=(0,), mode="raise", op="mul")  # fmt: skip
_starts: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((5, 7), (2, 3)), ((6,), (4,)), ((4, 3), (1, 3)), ((3, 4), (3, 4)), ((3, 4), (0, 2)), ((), ()), ((0, 2), (0, 1)), ((70, 66), (3, 65))
]  # fmt: skip
for _shape, _sizes in _starts:
    _at = [Arg((), _integers(-3, 8), "i32") for _ in _shape]
    row("dynamic_slice", _shape, *_at, dtypes=ANY if _shape == (5, 7) else REAL, sizes=_sizes)
    row("dynamic_update_slice", _shape, _sizes, *_at, dtypes=ANY if _shape == (5, 7) else REAL)
row("dynamic_slice", (300,), Arg((), _integers(0, 250), "u8"), dtypes=("f32",), sizes=(5,))
row("dynamic_update_slice", (300,), (5,), Arg((), _integers(0, 250), "u64"), dtypes=("f32",))

# --- order and random bits ------------------------------------------------------------------------

for _shape, _axis in (((4, 7), 1), ((7, 4), 0), ((1,), 0), ((0, 2), 0), ((2, 0), 0), ((5, 131), 1), ((130, 3), 0)):
    row("sort", Arg(_shape, _distinct), dtypes=(*NUMBERS, "bool") if _axis else REAL, axis=_axis, num_keys=1)
    row("sort", Arg(_shape, _distinct), _shape, Arg(_shape, _integers(0, 9), "i32"), axis=_axis, num_keys=1)
row("sort", Arg((5, 23), _special), Arg((5, 23), _integers(0, 99), "i32"), dtypes=(*NUMBERS, "bool"), moving=(), axis=1, num_keys=1,
    label="special")  # fmt: skip
row("sort", Arg((6, 11), _ties), Arg((6, 11), _ties), Arg((6, 11), _integers(0, 99), "i32"), dtypes=("f32", "u8"), moving=(),
    axis=1, num_keys=2, label="ties")  # fmt: skip
_key = _integers(0, 2**32)
for _width in (8, 16, 32, 64):
    row("random_bits", Arg((2,), _key, "u32"), dtypes=("u32",), label=str(_width), shape=(3, 5), width=_width)
    row("random_bits", Arg((3, 2), _key, "u32"), dtypes=("u32",), label=str(_width), shape=(131,), width=_width)
row("random_bits", Arg((2, 1, 2), _key, "u32"), dtypes=("u32",), shape=(), width=32)
row("random_bits", Arg((2,), _key, "u32"), dtypes=("u32",), shape=(0, 3), width=32)

# --- programs inside ------------------------------------------------------------------------------


def _program(f: Callable[..., Sequence[Any]], *types: tuple[tuple[int, ...], Any]) -> Any:
    program, captured = record(f, [Type(shape, np.dtype(d)) for shape, d in types], name="sample")
    assert not captured
    return program


def _jit_params(d: dtypes.DType) -> dict[str, Any]:
    program = _program(lambda x, y: [ew.mul(ew.sin(x), y), ew.add(x, x)], ((3, 4), d), ((3, 4), d))
    return {"program": program, "name": "sample"}


def _cond_params(d: dtypes.DType) -> dict[str, Any]:
    branches = (
        _program(lambda x, y: [ew.mul(x, y)], ((5,), d), ((5,), d)),
        _program(lambda x, y: [ew.sin(x)], ((5,), d), ((5,), d)),
        _program(lambda x, y: [ew.exp(ew.neg(y))], ((5,), d), ((5,), d)),
    )
    return {"branches": branches}


def _scan_params(d: dtypes.DType, length: int, reverse: bool) -> dict[str, Any]:
    def body(w: Any, c: Any, x: Any) -> list[Any]:
        c = ew.tanh(ew.add(ew.mul(w, c), x))
        return [c, ew.mul(c, x)]

    program = _program(body, ((3,), d), ((3,), d), ((3,), d))
    return {"body": program, "n_consts": 1, "n_carry": 1, "length": length, "reverse": reverse}


def _while_params(d: dtypes.DType) -> dict[str, Any]:
    cond = _program(lambda limit, i, x: [ew.lt(i, limit)], ((), np.int32), ((), np.int32), ((4,), d))
    step = _program(lambda w, i, x: [ew.add(i, np.int32(1)), ew.sin(ew.mul(w, x))], ((4,), d), ((), np.int32), ((4,), d))
    return {"cond": cond, "body": step, "n_cond": 1, "n_body": 1}


row("jit", (3, 4), (3, 4), ulps=8, params=_jit_params)
for _choice in (-1, 0, 1, 2, 7):
    row("cond", Arg((), _integers(_choice, _choice + 1), "i32"), (5,), (5,), ulps=8, label=str(_choice), params=_cond_params)
for _length in (0, 1, 4):
    for _reverse in (False, True):
        row(
            "scan", (3,), (3,), (_length, 3), ulps=32, label="reverse" if _reverse else "",
            params=functools.partial(_scan_params, length=_length, reverse=_reverse),
        )  # fmt: skip
for _limit in (0, 3):
    _count = Arg((), _integers(_limit, _limit + 1), "i32"), Arg((4,)), Arg((), _integers(0, 1), "i32"), Arg((4,))
    row("while", *_count, ulps=32, backward=False, label=str(_limit), params=_while_params)
