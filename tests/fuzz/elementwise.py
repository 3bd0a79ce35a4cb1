"""Entries of the elementwise primitives: one for each, from the table of scalar operations."""

from __future__ import annotations

import functools
import sys

import numpy as np

import fdl.scipy.special  # noqa: F401 (its functions are found among the modules)
from fdl.tracer import dtypes
from fdl.tracer.ops import elementwise as ew
from fdl.tracer.primitive import PRIMITIVES, Elementwise
from fdl.tracer.scalars import SCALARS
from fdl.tracer.transforms.composed import Composed

from .building import Builder, Rejected, Value
from .entry import ENTRIES, entry
from .values import draw_dtype, kind

DOMAIN: dict[str, tuple[tuple[float, float], ...]] = {
    "acosh": ((1.1, 5),), "atanh": ((-0.9, 0.9),), "asin": ((-0.95, 0.95),), "acos": ((-0.95, 0.95),), "erf_inv": ((-0.9, 0.9),),
    "erf_inv_giles": ((-0.9, 0.9),), "log": ((0.1, 50),), "log1p": ((-0.8, 50),), "sqrt": ((0.1, 100),), "rsqrt": ((0.1, 100),),
    "cbrt": ((0.1, 100),),
    "tan": ((-1.3, 1.3),), "exp": ((-8, 4),), "exp2": ((-10, 6),), "expm1": ((-8, 4),), "sinh": ((-4, 4),), "cosh": ((-4, 4),),
    "sin": ((-50, 50),), "cos": ((-50, 50),), "div": ((-1e4, 1e4), (0.3, 100)), "rem": ((-1e4, 1e4), (0.7, 100)),
    "pow": ((0.2, 5), (-3, 3)), "erfc": ((-3, 3),), "tanh": ((-9, 9),), "logistic": ((-20, 20),),
}  # fmt: skip
"""Name → bounds for each operand between which a function of floats is defined and tame."""


def _apply(b: Builder, name: str) -> list[Value]:
    scalar = SCALARS[name]
    kinds = "".join(k for k in "bifc" if any(kind(d) == k for d in scalar.dtypes))
    first = b.any(kinds)
    if not scalar.accepts(first.dtype):
        first = b.converted(first, b.c.pick(list(scalar.dtypes)))
    if name == "select":
        pred = b.operand(first.shape, dtypes.bool_, splat=True)
        return b.bind(name, pred, first, b.operand(first.shape, first.dtype, splat=True))
    others = [b.operand(first.shape, first.dtype, splat=True) for _ in range(scalar.arity - 1)]
    operands = [first, *others]
    for i, (low, high) in enumerate(DOMAIN.get(name, ())):
        operands[i] = b.within(operands[i], low, high)
    if name not in DOMAIN and b.c.chance(25):
        operands.reverse()
    return [b.tamed(v) for v in b.bind(name, *operands)]


def _register() -> None:
    for name, primitive in PRIMITIVES.items():
        if isinstance(primitive.lowering, Elementwise) and name in SCALARS and name not in ("convert", "bitcast"):
            weight = {"add": 8, "mul": 8, "sub": 5, "div": 3, "select": 4, "max": 3, "min": 3}.get(name, 2)
            ENTRIES[name] = entry(name, functools.partial(_apply, name=name), weight=weight, large=True)


_register()


# --- formulas that are one primitive -------------------------------------------------------------------


def _composed() -> dict[str, Composed]:
    """Every function that `tracer.transforms.composed` has made, by the name of its primitive."""
    modules = [m for name, m in sorted(sys.modules.items()) if name.startswith("fdl.") and m is not None]
    return {v.primitive.name: v for m in modules for v in vars(m).values() if isinstance(v, Composed)}


def _special(b: Builder, function: Composed) -> list[Value]:
    first = b.any("f")
    values = [first, *(b.operand(first.shape, first.dtype, splat=True) for _ in range(function.arity - 1))]
    low, high = b.c.pick(((0.1, 0.9), (0.4, 3.0)))  # inside every one's domain, or most
    values = [b.within(v, low, high) for v in values]
    if function.arity > 1 and b.c.chance(30):  # an order, which must be a whole number for some
        values[0] = b.literal(b.c.integer(1, 3), first.dtype)
    return [b.tamed(v) for v in b.emit(function, *values)]


for _name, _function in _composed().items():
    ENTRIES[_name] = entry(_name, functools.partial(_special, function=_function), rare=True, wild=False)


@entry("convert", weight=5, large=True)
def convert(b: Builder) -> list[Value]:
    v = b.any()
    return [b.tamed(b.converted(v, draw_dtype(b.c, b.profile)))]


@entry("bitcast", weight=1, large=True)
def bitcast(b: Builder) -> list[Value]:
    v = b.any("if")
    same = [d for d in dtypes.ALL if d.itemsize == v.dtype.itemsize and kind(d) in "if" and d != v.dtype]
    if kind(v.dtype) == "i" and not b.profile.wild:  # small integers are subnormal floats
        same = [d for d in same if kind(d) == "i"]
    if not same:
        raise Rejected("no other dtype of this width")
    if kind(v.dtype) == "f" and np.isnan(v.sample).any():  # which NaN an operation gives is not told
        raise Rejected("the bits of a NaN")
    dtype = b.c.pick(same)
    return b.emit(lambda x: ew.bitcast(x, dtype), v)


@entry("stop_gradient", weight=1, large=True)
def stop_gradient(b: Builder) -> list[Value]:
    return b.bind("stop_gradient", b.any("fc"))


@entry("real", weight=2, wild=False)
def real(b: Builder) -> list[Value]:
    return b.bind("real", b.any("c"))


@entry("imag", weight=2, wild=False)
def imag(b: Builder) -> list[Value]:
    return b.bind("imag", b.any("c"))


@entry("conj", weight=2, wild=False)
def conj(b: Builder) -> list[Value]:
    return b.bind("conj", b.any("c"))


@entry("complex", weight=2, wild=False)
def complex_(b: Builder) -> list[Value]:
    re = b.any("f")
    if re.dtype not in dtypes.PARTS:
        re = b.converted(re, b.c.pick(dtypes.PARTS))
    return b.bind("complex", re, b.operand(re.shape, re.dtype, splat=True))
