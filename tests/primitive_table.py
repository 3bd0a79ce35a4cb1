"""The one table of primitives and sample inputs: what every rule and every backend is tested on.

Every registered primitive has a row (`test_primitives.py` holds it to that); sizes 0, 1, odd and larger ones occur in each
family.  A `Row` tells shapes, parameters and dtypes; `cases()` spreads the rows over their dtypes.

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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from primitive_cases import (
    Arg,
    Case,
    Draw,
    Row,
    between,
    cast,
    distinct,
    integers,
    normal,
    places,
    special,
    ties,
    zeros_among,
)

import fdl.tracer.ops
import fdl.tracer.transforms
from fdl.tracer import dtypes
from fdl.tracer.ir import Type
from fdl.tracer.ops import elementwise as ew
from fdl.tracer.ops.convolve import conv_out_shape
from fdl.tracer.ops.window import window_out_shape
from fdl.tracer.primitive import PRIMITIVES, Call, Elementwise, lookup
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

ROWS: list[Row] = []


def row(
    name: str,
    *args: Arg | tuple[int, ...],
    dtypes: tuple[str, ...] = REAL,
    moving: tuple[int, ...] | None = None,
    ulps: float = 0,
    backward: bool = True,
    label: str = "",
    canonical: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]] | None = None,
    params: Callable[[Any], Mapping[str, Any]] | None = None,
    **constant: Any,
) -> None:
    """Enters a row; a bare shape is an `Arg` with normally distributed values."""
    given = tuple(Arg(a) if isinstance(a, tuple) else a for a in args)
    ROWS.append(Row(name, given, params or constant, dtypes, moving, ulps, backward, label, canonical))


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


# --- elementwise ----------------------------------------------------------------------------------

_DRAWS: dict[str, tuple[Draw, ...]] = {
    "acosh": (between(1.2, 4.0),), "atanh": (between(-0.9, 0.9),), "asin": (between(-0.9, 0.9),),
    "acos": (between(-0.9, 0.9),), "erf_inv": (between(-0.9, 0.9),), "erf_inv_giles": (between(-0.9, 0.9),), "log": (between(0.2, 4.0),),
    "log1p": (between(-0.7, 4.0),), "sqrt": (between(0.2, 4.0),), "rsqrt": (between(0.2, 4.0),),
    "cbrt": (between(0.2, 4.0),),
    "tan": (between(-1.2, 1.2),), "div": (normal, between(0.4, 3.0)), "rem": (between(3.0, 9.0), between(1.1, 2.9)),
    "pow": (between(0.2, 3.0), normal),
}  # fmt: skip
for _name in ("shift_left", "shift_right_logical", "shift_right_arithmetic"):
    _DRAWS[_name] = (special, integers(0, 70))


def _elementwise(name: str) -> None:
    scalar = SCALARS[name]
    shorts = tuple(dtypes.SHORT[d] for d in scalar.dtypes if not dtypes.is_complex(d))
    draws = (_DRAWS.get(name, ()) + (normal,) * scalar.arity)[: scalar.arity]
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
    if dtypes.complex64 in scalar.dtypes:
        _complex(name, args, draws, how)
    extreme = [d if name == "pow" and "f64" not in shorts else special for d in draws]
    row(name, *args([(67,)] * scalar.arity, extreme), dtypes=shorts, ulps=how["ulps"], moving=(), label="special")


COMPLEX = ("c64", "c128")
# Complex numbers are compared by the modulus of the difference. Tolerances in ulp of the result's modulus; 0: the same bits.
_COMPLEX_ULPS = dict.fromkeys("add sub mul neg eq ne select is_finite".split(), 0) | {
    "pow": 64,
    "tan": 8,
    "tanh": 8,
    "logistic": 16,
}
"""What is not here is within 4. `pow` loses |b log a| ulp, as the logarithm is rounded before it is multiplied."""


def _complex(name: str, args: Callable[..., list[Arg]], draws: Sequence[Draw], how: dict[str, Any]) -> None:
    arity, ulps = SCALARS[name].arity, _COMPLEX_ULPS.get(name, 4)
    how = {**how, "ulps": ulps}
    row(name, *args([(3, 7)] * arity, draws), dtypes=COMPLEX[1:], **how)
    row(name, *args([(5, 129)] * arity, draws), dtypes=COMPLEX, ulps=ulps, moving=(), label="large")
    if arity > 1:
        row(name, *args([(2, 5)] * (arity - 1) + [()], draws), dtypes=COMPLEX[1:], **how)
    if ulps == 0:  # the others are formulas of a hundred operations: other shapes would only take time to compile
        row(name, *args([()] * arity, draws), dtypes=COMPLEX[1:], **how)
        row(name, *args([(0, 4)] * arity, draws), dtypes=COMPLEX[:1], **how)
        row(name, *args([(67,)] * arity, [special] * arity), dtypes=COMPLEX, ulps=0, moving=(), label="special")


for _name in ("real", "imag", "conj"):
    for _shape in ((3, 7), (), (0, 4)):
        row(_name, _shape, dtypes=COMPLEX)
    row(_name, Arg((67,), special), dtypes=COMPLEX, moving=(), label="special")
row("complex", (3, 7), (3, 7))
row("complex", (), ())
row("complex", (2, 5), ())
row("complex", (), (2, 5))
row("complex", (0, 4), (0, 4))
row("complex", Arg((67,), special), Arg((67,), special), moving=(), label="special")

for _name, _primitive in list(PRIMITIVES.items()):
    if isinstance(_primitive.lowering, Elementwise) and _name in SCALARS and _name not in ("convert", "bitcast"):
        _elementwise(_name)

_TARGETS = ("bool", "i8", "u16", "i32", "i64", "u64", "f16", "bf16", "f32", "f64")
for _target in _TARGETS:
    _to = {"dtype": dtypes.FROM_SHORT[_target], "weak": False}
    row("convert", (3, 5), dtypes=_TARGETS, label=_target, **_to)
    row("convert", Arg((61,), special), dtypes=_TARGETS, moving=(), label=f"{_target}.special", **_to)
for _target in ("bool", "i32", "f32", "f64", "c64", "c128"):
    row(
        "convert",
        (3, 5),
        dtypes=("i32", "f32", "f64", *COMPLEX),
        label=f"{_target}.complex",
        dtype=dtypes.FROM_SHORT[_target],
        weak=False,
    )
row("convert", (0, 3), dtypes=REAL, dtype=dtypes.float32, weak=False)
for _source, _target in (("f32", "i32"), ("u32", "f32"), ("f64", "u64"), ("bf16", "u16"), ("i8", "u8"), ("i16", "f16")):
    row("bitcast", Arg((3, 5), special), dtypes=(_source,), moving=(), dtype=dtypes.FROM_SHORT[_target], label=_target)
row("bitcast", (), dtypes=("f32",), dtype=dtypes.int32)
row("bitcast", (2, 0), dtypes=("f64",), dtype=dtypes.int64)
row("stop_gradient", (3, 4), dtypes=ANY)
row("stop_gradient", (), dtypes=(*REAL, *COMPLEX))
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
    ((0, 2), ((1, 2, 1), (0, 1, 0))), ((1,), ((2, 0, 3),)), ((), ()), ((6,), ((-4, -4, 2),)),
    ((63, 65), ((1, 1, 0), (1, 1, 0))),
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

row("broadcast", (2, 1), dtypes=COMPLEX, shape=(2, 3, 5), axes=(0, 2))
row("reshape", (6, 4), dtypes=COMPLEX, shape=(2, 3, 2, 2))
row("transpose", (2, 3, 4), dtypes=COMPLEX, permutation=(2, 0, 1))
row("flip", (3, 4), dtypes=COMPLEX, axes=(0,))
row("slice", (5, 7), dtypes=COMPLEX, start=(1, 2), limit=(4, 7), stride=(1, 2))
row("pad", (3, 4), (), dtypes=COMPLEX, config=((0, 1, 2), (2, 0, 1)))
row("concatenate", (2, 3), (4, 3), dtypes=COMPLEX, axis=0)
row("iota", dtypes=COMPLEX, params=lambda d: {"shape": (3, 5), "dtype": d, "axis": 1})

# --- reductions -----------------------------------------------------------------------------------

_reductions: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 4, 5), (1,)), ((3, 4, 5), (0, 2)), ((3, 5), (0, 1)), ((7,), (0,)), ((1, 3), (0,)), ((4,), ()), ((), ()),
    ((0, 3), (0,)), ((3, 0), (0,)), ((65, 130), (1,)), ((130, 17), (0,)),
]  # fmt: skip
for _shape, _axes in _reductions:
    _wide = _shape == (3, 4, 5)
    row("reduce_sum", _shape, dtypes=NUMBERS if _wide else REAL, ulps=16, axes=_axes)
    row("reduce_prod", Arg(_shape, between(0.7, 1.4)), dtypes=NUMBERS if _wide else REAL, ulps=64, axes=_axes)
    for _name in ("reduce_max", "reduce_min"):
        row(_name, Arg(_shape, distinct), dtypes=(*NUMBERS, "bool") if _wide else REAL, axes=_axes)
    for _name in ("reduce_and", "reduce_or"):
        row(_name, _shape, dtypes=("bool",), axes=_axes)
row("reduce_prod", Arg((5, 6), zeros_among), ulps=64, axes=(1,), label="zeros")
for _shape, _axes in (((3, 4, 5), (0, 2)), ((7,), (0,)), ((0, 3), (0,)), ((65, 130), (1,))):
    row("reduce_sum", _shape, dtypes=COMPLEX, ulps=16, axes=_axes)
    row("reduce_prod", Arg(_shape, between(0.4, 0.9)), dtypes=COMPLEX, ulps=64, axes=_axes)
for _reverse in (False, True):
    row("cumsum", (4, 9), dtypes=COMPLEX, ulps=32, axis=1, reverse=_reverse)
    row("cumprod", Arg((4, 9), between(0.4, 0.9)), dtypes=COMPLEX, ulps=64, axis=1, reverse=_reverse)
for _name in ("reduce_max", "reduce_min"):
    row(_name, Arg((9, 5), special), dtypes=(*NUMBERS, "bool"), moving=(), axes=(1,), label="special")
    row(_name, Arg((9, 5), ties), dtypes=NUMBERS, moving=(), axes=(0,), label="ties")
for _name in ("argmax", "argmin"):
    for _shape, _axis in (((3, 4, 5), 1), ((7,), 0), ((1, 2), 0), ((0, 3), 1), ((33, 67), 1), ((67, 33), 0)):
        row(_name, Arg(_shape, distinct), dtypes=(*NUMBERS, "bool") if _axis else REAL, axis=_axis, dtype=dtypes.int32)
    row(_name, Arg((9, 5), special), dtypes=(*FLOATS, "i32", "bool"), moving=(), axis=1, dtype=dtypes.int64, label="special")
    row(_name, Arg((6, 5), ties), dtypes=NUMBERS, moving=(), axis=0, dtype=dtypes.int32, label="ties")
for _shape, _axis, _reverse in (
    ((3, 5), 1, False), ((3, 5), 0, True), ((6,), 0, True), ((1,), 0, False), ((0, 2), 0, False), ((2, 0), 0, True),
    ((9, 131), 1, False), ((131, 9), 0, True),
):  # fmt: skip
    _how: dict[str, Any] = {"axis": _axis, "reverse": _reverse, "dtypes": NUMBERS if _shape == (3, 5) else REAL}
    row("cumsum", _shape, ulps=32, **_how)
    row("cumprod", Arg(_shape, between(0.7, 1.4)), ulps=256, **_how)
    row("cummax", Arg(_shape, distinct), **_how)
    row("cummin", Arg(_shape, distinct), **_how)
row("cumprod", Arg((3, 6), zeros_among), ulps=256, axis=1, reverse=False, label="zeros")
for _name in ("cummax", "cummin"):
    row(_name, Arg((4, 9), special), dtypes=NUMBERS, moving=(), axis=1, reverse=False, label="special")
    row(_name, Arg((4, 9), ties), dtypes=(*REAL, "bool"), moving=(), axis=1, reverse=True, label="ties")

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
    row("dot_general", _a, _b, dtypes=COMPLEX, ulps=64, contract=_contract, batch=_batch)
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
_conv_rows((2, 7, 6, 4), (3, 2, 2, 6), (2, 1), ((1, 0), (2, 1)), _one, _one, 2, (*REAL, *COMPLEX))
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
        row(f"window_{_op}", Arg(_shape, distinct), dtypes=_shorts, **_how)
        row("window_select", Arg(_shape, distinct), _shape, dtypes=_shorts, op=_op, **_how)
        row("window_scatter", Arg(_shape, distinct), window_out_shape(_shape, **_how), dtypes=_shorts, ulps=16, op=_op, **_how)
_how = {"window": (2, 3), "strides": (1, 2), "padding": ((1, 0), (1, 1)), "dilation": (1, 1)}
for _op in ("max", "min"):
    for _label, _draw in (("special", special), ("ties", ties)):
        row(f"window_{_op}", Arg((6, 9), _draw), dtypes=(*FLOATS, "i32"), moving=(), label=_label, **_how)
        row("window_select", Arg((6, 9), _draw), (6, 9), dtypes=FLOATS, moving=(), label=_label, op=_op, **_how)
        row("window_scatter", Arg((6, 9), _draw), (6, 5), dtypes=FLOATS, moving=(), ulps=16, label=_label, op=_op, **_how)

row("window_sum", (6, 7), dtypes=COMPLEX, ulps=16, window=(2, 3), strides=(2, 2), padding=((0, 0), (1, 1)), dilation=(1, 1))

# --- indexing -------------------------------------------------------------------------------------

_indexings: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]] = [
    ((5, 4), (3,), (0,), 5), ((5, 4), (2, 3), (1,), 4), ((4, 5, 3), (6,), (0, 2), 3), ((4, 5, 3), (), (1,), 5),
    ((6,), (9,), (0,), 6),
    ((3, 4), (0,), (0,), 3), ((2, 0), (3,), (0,), 2), ((1,), (4,), (0,), 1), ((3, 3), (2, 2), (0, 1), 3),
    ((70, 33), (65,), (0,), 70),
]  # fmt: skip
for _shape, _batch_shape, _axes, _size in _indexings:
    _rest = tuple(n for i, n in enumerate(_shape) if i not in _axes)
    _main = _shape == (5, 4)
    for _mode in ("raise", "clip", "fill"):
        _low, _high = (0, _size) if _mode == "raise" else (-2, _size + 3)
        _index = Arg((*_batch_shape, len(_axes)), integers(_low, _high), "i32")
        row("gather", _shape, _index, dtypes=ANY if _main else REAL, label=_mode, axes=_axes, mode=_mode, fill=3)
        _mode = {"fill": "drop"}.get(_mode, _mode)
        for _op in ("set", "add", "mul", "min", "max"):
            _shorts = (*NUMBERS, "bool") if _main and _op in ("set", "min", "max") else NUMBERS if _main else REAL
            _draw = distinct if _op in ("min", "max") else between(0.6, 1.6) if _op == "mul" else normal
            _values = Arg(_shape, _draw), _index, Arg(_batch_shape + _rest, _draw)
            row(
                "scatter", *_values, dtypes=_shorts, label=f"{_op}.{_mode}",
                ulps=16 if _op in ("add", "mul") else 0, axes=_axes, mode=_mode, op=_op,
            )  # fmt: skip
_index = Arg((6, 1), integers(0, 5), "i32")
row("gather", (5, 4), _index, dtypes=COMPLEX, axes=(0,), mode="raise", fill=0)
row("gather", (5, 4), Arg((6, 1), integers(-2, 8), "i32"), dtypes=COMPLEX, axes=(0,), mode="fill", fill=3)
for _op in ("set", "add", "mul"):
    _draw = between(0.6, 1.0) if _op == "mul" else normal
    row(
        "scatter",
        Arg((5, 4), _draw),
        _index,
        Arg((6, 4), _draw),
        dtypes=COMPLEX,
        label=_op,
        ulps=16,
        axes=(0,),
        mode="raise",
        op=_op,
    )
for _short in ("u8", "i64", "u64", "i8"):
    row("gather", (5, 3), Arg((4, 1), integers(0, 5), _short), dtypes=("f32",), label=_short, axes=(0,), mode="raise", fill=0)
row("gather", (5, 3), Arg((4, 1), integers(0, 5), "i32"), dtypes=REAL, label="nan", axes=(0,), mode="fill", fill=float("nan"))
row("gather", (0, 3), Arg((4, 1), integers(-1, 2), "i32"), dtypes=REAL, axes=(0,), mode="fill", fill=2)
row("scatter", (0, 3), Arg((4, 1), integers(-1, 2), "i32"), (4, 3), dtypes=REAL, axes=(0,), mode="drop", op="add")
row("scatter", Arg((5, 3), zeros_among), Arg((4, 1), places, "i32"), Arg((4, 3), zeros_among),
    label="mul.zeros", ulps=16, axes=(0,), mode="raise", op="mul")  # fmt: skip
row("scatter", Arg((4, 3), zeros_among), Arg((6, 1), integers(0, 4), "i32"), Arg((6, 3), between(0.6, 1.6)),
    label="mul.zeros", ulps=16, axes=(0,), mode="raise", op="mul")  # fmt: skip
_starts: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((5, 7), (2, 3)), ((6,), (4,)), ((4, 3), (1, 3)), ((3, 4), (3, 4)), ((3, 4), (0, 2)), ((), ()), ((0, 2), (0, 1)),
    ((70, 66), (3, 65)),
]  # fmt: skip
for _shape, _sizes in _starts:
    _at = [Arg((), integers(-3, 8), "i32") for _ in _shape]
    row("dynamic_slice", _shape, *_at, dtypes=ANY if _shape == (5, 7) else REAL, sizes=_sizes)
    row("dynamic_update_slice", _shape, _sizes, *_at, dtypes=ANY if _shape == (5, 7) else REAL)
_at = [Arg((), integers(-3, 8), "i32")] * 2
row("dynamic_slice", (5, 7), *_at, dtypes=COMPLEX, sizes=(2, 3))
row("dynamic_update_slice", (5, 7), (2, 3), *_at, dtypes=COMPLEX)
row("dynamic_slice", (300,), Arg((), integers(0, 250), "u8"), dtypes=("f32",), sizes=(5,))
row("dynamic_update_slice", (300,), (5,), Arg((), integers(0, 250), "u64"), dtypes=("f32",))

# --- order and random bits ------------------------------------------------------------------------

for _shape, _axis in (((4, 7), 1), ((7, 4), 0), ((1,), 0), ((0, 2), 0), ((2, 0), 0), ((5, 131), 1), ((130, 3), 0)):
    row("sort", Arg(_shape, distinct), dtypes=(*NUMBERS, "bool") if _axis else REAL, axis=_axis, num_keys=1)
    row("sort", Arg(_shape, distinct), _shape, Arg(_shape, integers(0, 9), "i32"), axis=_axis, num_keys=1)
row("sort", Arg((5, 23), special), Arg((5, 23), integers(0, 99), "i32"), dtypes=(*NUMBERS, "bool"), moving=(),
    axis=1, num_keys=1, label="special")  # fmt: skip
row("sort", Arg((6, 11), ties), Arg((6, 11), ties), Arg((6, 11), integers(0, 99), "i32"), dtypes=("f32", "u8"), moving=(),
    axis=1, num_keys=2, label="ties")  # fmt: skip
row("sort", (5, 23), dtypes=COMPLEX, axis=1, num_keys=1)
for _draw in (ties, special):
    row("sort", Arg((5, 23), _draw), (5, 23), Arg((5, 23), integers(0, 99), "i32"), dtypes=COMPLEX, moving=(),
        axis=1, num_keys=1, label="keys")  # fmt: skip
for _shape, _axis, _k in (((4, 7), 1, 3), ((7, 4), 0, 7), ((1,), 0, 1), ((3, 0), 1, 0), ((4,), 0, 0), ((5, 131), 1, 10), ((130, 3), 0, 2)):
    for _largest in (True, False):
        row("top_k", Arg(_shape, distinct), dtypes=NUMBERS if _axis else REAL, axis=_axis, k=_k, largest=_largest)
for _draw in (ties, special):
    row("top_k", Arg((5, 23), _draw), dtypes=(*NUMBERS, "bool") if _draw is special else ("f32", "u8"), moving=(),
        axis=1, k=9, largest=True, label=_draw.__name__)  # fmt: skip
_key = integers(0, 2**32)
for _width in (8, 16, 32, 64):
    row("random_bits", Arg((2,), _key, "u32"), dtypes=("u32",), label=str(_width), shape=(3, 5), width=_width)
    row("random_bits", Arg((3, 2), _key, "u32"), dtypes=("u32",), label=str(_width), shape=(131,), width=_width)
row("random_bits", Arg((2, 1, 2), _key, "u32"), dtypes=("u32",), shape=(), width=32)
row("random_bits", Arg((2,), _key, "u32"), dtypes=("u32",), shape=(0, 3), width=32)

# --- linear algebra and Fourier transforms --------------------------------------------------------

FIELDS = (*REAL, *COMPLEX)


def _adjoint(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x.conj(), -1, -2)


def definite(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """Hermitian positive definite matrices with eigenvalues that lie apart, and any numbers above their diagonals."""
    x = normal(rng, shape, dtype)
    n = shape[-1]
    q = np.linalg.qr(x)[0] if x.size else x
    below = np.tril((q * np.arange(1.0, n + 1)) @ _adjoint(q))
    below = below - 1j * np.diagonal(below.imag, 0, -2, -1)[..., None] * np.eye(n) if dtypes.is_complex(dtype) else below
    return cast(below + np.triu(x, 1), dtype)


def solvable(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """Square matrices far from singular, whose triangles are, too."""
    x = np.asarray(rng.uniform(-0.5, 0.5, shape), dtype)
    return cast(x + (np.arange(shape[-1]) % 3 + 1.5) * np.eye(shape[-1]), dtype)


def order(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """A permutation along the last axis."""
    return np.asarray(rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1), dtype)


def _interleaved(draw: Draw, rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """Complex numbers of a draw, as pairs along the last axis."""
    z = draw(rng, shape[:-1], dtypes.complex_of(dtype))
    return np.stack([z.real, z.imag], -1)


def _turned(v: np.ndarray) -> np.ndarray:
    """Columns, each with a phase that makes its largest element positive."""
    if v.size == 0:
        return v
    top = np.take_along_axis(v, np.argmax(np.abs(v), -2, keepdims=True), -2)
    return np.asarray(v / np.where(top == 0, 1, top / np.where(top == 0, 1, np.abs(top))))


def _vectors(outs: Sequence[np.ndarray]) -> list[np.ndarray]:
    w, *v = outs
    return [w, *map(_turned, v)]


def _singular(outs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Singular values, and what the singular vectors span: single ones, and all that belong to a value."""
    u, s, vh = outs
    k = s.shape[-1]
    rest = [x @ _adjoint(x) for x in (u[..., k:], _adjoint(vh)[..., k:])]
    parts = np.swapaxes(u[..., :k], -1, -2)[..., None] * vh[..., :k, None, :]
    return [np.concatenate([x.reshape(-1) for x in (parts, *rest)]), s, np.zeros(())]


for _shape in ((4, 4), (2, 3, 3), (1, 1), (0, 0), (0, 2, 2), (33, 33)):
    _wide = FIELDS if _shape in ((4, 4), (0, 0)) else REAL
    row("cholesky", Arg(_shape, definite), dtypes=_wide, ulps=64)
    for _flag in (True, False):
        _both = {"dtypes": _wide, "ulps": 256, "canonical": _vectors, "vectors": _flag}
        row("eigh", Arg(_shape, definite), moving=None if _flag and _wide is REAL else (), **_both)
        if _shape != (33, 33):  # the order of so many eigenvalues, some of them close, hangs on the last bits
            row("eig", Arg(_shape, solvable), moving=None if _flag else (), **_both | {"ulps": 8192})
row("cholesky", (3, 3), dtypes=FIELDS, moving=(), label="indefinite")
for _shape in ((4, 4), (2, 5, 3), (3, 5), (1, 1), (0, 3), (3, 0), (0, 2, 3), (37, 20)):
    _wide = FIELDS if len(_shape) == 2 and max(_shape) < 6 else REAL
    row("lu", _shape, dtypes=_wide, ulps=1024)
    for _flag in (True, False):
        _still = () if _flag and _shape[-2] > _shape[-1] else None
        row("qr", _shape, dtypes=_wide, ulps=256, moving=_still, full_matrices=_flag)
        _still = None if _wide is REAL and not _flag and _shape != (37, 20) else ()
        row("svd", _shape, dtypes=_wide, ulps=512, moving=_still, canonical=_singular, full_matrices=_flag, compute_uv=True)
    row("svd", _shape, dtypes=_wide, ulps=64, moving=(), full_matrices=False, compute_uv=False)
for _matrix, _right in (
    ((4, 4), (4, 2)),
    ((2, 3, 3), (2, 3, 1)),
    ((1, 1), (1, 3)),
    ((0, 0), (0, 2)),
    ((3, 3), (3, 0)),
    ((30, 30), (30, 7)),
):
    for _left, _lower, _turn, _conj, _unit in (
        (True, True, False, False, False), (True, False, True, False, True), (False, True, True, True, False),
        (False, False, False, False, True),
    ):  # fmt: skip
        _shape = _right if _left else (*_right[:-2], _right[-1], _right[-2])
        row(
            "triangular_solve", Arg(_matrix, solvable), _shape, dtypes=FIELDS if _matrix == (4, 4) else REAL, ulps=256,
            left_side=_left, lower=_lower, transpose_a=_turn, conjugate_a=_conj, unit_diagonal=_unit,
        )  # fmt: skip
    for _turn, _conj in ((False, False), (True, False), (True, True)):
        row(
            "lu_solve", Arg(_matrix, solvable), Arg(_matrix, solvable), Arg(_matrix[:-1], order, "i32"), _right, moving=(3,),
            dtypes=FIELDS if _matrix == (4, 4) else REAL, ulps=512, transpose_a=_turn, conjugate_a=_conj,
        )  # fmt: skip
for _shape in ((3, 3), (2, 3, 3), (0, 0)):
    row("sqrtm", Arg(_shape, solvable), dtypes=FIELDS, ulps=64)
    row("schur", Arg(_shape, solvable), dtypes=FIELDS, ulps=64, moving=())
    row("hessenberg", Arg(_shape, solvable), dtypes=FIELDS, ulps=64, moving=())
    row("sylvester", Arg(_shape, solvable), Arg((*_shape[:-2], 2, 2), solvable), (*_shape[:-1], 2), dtypes=FIELDS, ulps=64)
_parts: dict[str, Any] = {"moving": (), "ulps": 256, "backward": False}
row("interleaved", Arg((2, 3, 3, 2), lambda *how: _interleaved(definite, *how)), operation="cholesky", parts=(True,), **_parts)
row("interleaved", (2, 5, 3, 2), operation="lu", parts=(True,), **_parts)
row("interleaved", (3, 4), operation="fft", parts=(False,), kind="rfft", lengths=(4,), label="fft", **_parts)
for _shape, _lengths in (
    ((7,), (7,)),
    ((3, 8), (8,)),
    ((2, 4, 5), (4, 5)),
    ((1, 1), (1,)),
    ((0, 4), (4,)),
    ((2, 3, 4, 2), (3, 4, 2)),
):
    _half = (*_shape[:-1], _lengths[-1] // 2 + 1)
    row("fft", _shape, dtypes=COMPLEX, ulps=16, label="fft", kind="fft", lengths=_lengths)
    row("fft", _shape, dtypes=COMPLEX, ulps=16, label="ifft", kind="ifft", lengths=_lengths)
    row("fft", _shape, dtypes=REAL, ulps=16, label="rfft", kind="rfft", lengths=_lengths)
    row("fft", _half, dtypes=COMPLEX, ulps=16, label="irfft", kind="irfft", lengths=_lengths)

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


row("jit", (3, 4), (3, 4), dtypes=(*REAL, *COMPLEX), ulps=8, params=_jit_params)
row("cond", Arg((), integers(1, 2), "i32"), (5,), (5,), dtypes=COMPLEX, ulps=8, params=_cond_params)
row("scan", (3,), (3,), (4, 3), dtypes=COMPLEX, ulps=64, params=functools.partial(_scan_params, length=4, reverse=False))
_count = Arg((), integers(3, 4), "i32"), Arg((4,)), Arg((), integers(0, 1), "i32"), Arg((4,))
row("while", *_count, dtypes=COMPLEX, ulps=64, backward=False, params=_while_params)
for _choice in (-1, 0, 1, 2, 7):
    row("cond", Arg((), integers(_choice, _choice + 1), "i32"), (5,), (5,), ulps=8, label=str(_choice), params=_cond_params)
for _length in (0, 1, 4):
    for _reverse in (False, True):
        row(
            "scan", (3,), (3,), (_length, 3), ulps=32, label="reverse" if _reverse else "",
            params=functools.partial(_scan_params, length=_length, reverse=_reverse),
        )  # fmt: skip
for _limit in (0, 3):
    _count = Arg((), integers(_limit, _limit + 1), "i32"), Arg((4,)), Arg((), integers(0, 1), "i32"), Arg((4,))
    row("while", *_count, ulps=32, backward=False, label=str(_limit), params=_while_params)


def _python(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    return [np.cumsum(x) + y, np.asarray(x.max() > 0)]


def _callback_params(d: dtypes.DType) -> dict[str, Any]:
    return {
        "function": _python,
        "out_types": (Type((5,), d), Type((), dtypes.bool_)),
        "effect": None,
        "name": "python",
        "vmap_method": "sequential",
    }


row("callback", (5,), (), moving=(), params=_callback_params)

row("barrier", (3,), (2, 0), (), dtypes=(*ANY, *COMPLEX))
row("name", (2, 3), dtypes=(*ANY, *COMPLEX), params=lambda d: {"name": "hidden"})


def _checkpoint_params(d: dtypes.DType, prevent_cse: bool) -> dict[str, Any]:
    program = _program(lambda x, y: [ew.mul(ew.sin(x), ew.exp(y)), ew.add(x, x)], ((3, 4), d), ((3, 4), d))
    return {"program": program, "policy": None, "prevent_cse": prevent_cse}


for _prevent in (False, True):
    row(
        "checkpoint", (3, 4), (3, 4), dtypes=(*REAL, *COMPLEX), ulps=8, label="fenced" if _prevent else "",
        params=functools.partial(_checkpoint_params, prevent_cse=_prevent),
    )  # fmt: skip


def _product_rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    (x, y), (x_dot, y_dot) = primals, tangents
    return [ew.mul(ew.sin(x), y)], [ew.add(ew.mul(ew.mul(ew.cos(x), y), x_dot), ew.mul(ew.sin(x), y_dot))]


def _custom_params(d: dtypes.DType) -> dict[str, Any]:
    program = _program(lambda x, y: [ew.mul(ew.sin(x), y)], ((3,), d), ((3,), d))
    return {"program": program, "rule": _product_rule, "closed": 0}


row("custom_jvp", (3,), (3,), dtypes=(*REAL, *COMPLEX), ulps=8, params=_custom_params)


def _solve_params(d: dtypes.DType) -> dict[str, Any]:
    # x[0] + 2 x[1] = b, and its transpose the other way round.
    two = np.asarray(2, d)
    matvec = _program(lambda x, y: [ew.add(x, ew.mul(two, y)), y], ((4,), d), ((4,), d))
    vecmat = _program(lambda x, y: [x, ew.add(y, ew.mul(two, x))], ((4,), d), ((4,), d))
    solve = _program(lambda b, c: [ew.sub(b, ew.mul(two, c)), c], ((4,), d), ((4,), d))
    other = _program(lambda b, c: [b, ew.sub(c, ew.mul(two, b))], ((4,), d), ((4,), d))
    return {"matvec": matvec, "vecmat": vecmat, "solve": solve, "transpose_solve": other, "counts": (0, 0, 0, 0)}


row("custom_linear_solve", (4,), (4,), dtypes=(*REAL, *COMPLEX), ulps=8, params=_solve_params)

# --- special functions ----------------------------------------------------------------------------

# One of each kind: a slope that is a function, two operands, no float64 inside, a constant operand, loops, a formula's derivative.
_SPECIAL: dict[str, tuple[Draw, ...]] = {
    "gammaln": (between(0.3, 6.0),),
    "ndtri": (between(0.1, 0.9),),
    "beta": (between(0.3, 4.0), between(0.3, 4.0)),
    "xlogy": (between(0.3, 4.0), between(0.3, 4.0)),
    "polygamma": (integers(1, 4), between(0.5, 4.0)),
    "gammainc": (between(0.4, 4.0), between(0.4, 4.0)),
}
for _name, _draws in _SPECIAL.items():
    for _shape in ((2, 3), ()) if _name != "gammainc" else ((2,),):
        row(
            _name, *(Arg(_shape, d) for d in _draws), dtypes=("f32", "f64"), ulps=64, moving=(1,) if _name == "polygamma" else None,
            orders=(0,) * len(_draws),
        )  # fmt: skip
row("gammainc", Arg((3,), between(0.4, 4.0)), Arg((3,), between(0.4, 4.0)), dtypes=("f64",), ulps=256, label="slope", orders=(1, 0))

OWN_TESTS = {"custom_vjp": "test_custom.py", "custom_tangent": "test_custom.py"} | {
    name: "test_special.py" for name, p in PRIMITIVES.items() if isinstance(p.lowering, Call) and p.lowering.typed
}
"""Primitives that no row can say: they have no forward mode, and their rules are Python functions; and those that share the rules of the
special functions above. Each has tests of its own."""
