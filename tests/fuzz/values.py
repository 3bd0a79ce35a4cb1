"""Sample arrays: dtypes, sizes, values and memory layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.scalars import SCALARS

from .choices import Choices

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

SIZES = (1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17, 19, 31, 33, 0)
LARGEST = 1200
"""Elements of an array of an ordinary program."""
LARGE_SHAPES: tuple[Shape, ...] = ((65537,), (257, 263), (8, 8209), (70000,), (41, 41, 41), (1031, 67))
"""Shapes that make a loop parallel."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What the values of a program are like.

    Attributes:
        dtypes: (short name, weight).
        sizes: of the axes, so few that shapes meet again.
        large: the shape of a large program's arrays, or ().
        wild: inputs hold NaN, infinities, subnormal and huge numbers; results need not be tame.
        outside: indices may be out of bounds.
    """

    dtypes: tuple[tuple[str, int], ...]
    sizes: Shape
    large: Shape = ()
    wild: bool = False
    outside: bool = False


_MIXED = (
    ("f32", 30), ("f64", 16), ("i32", 10), ("bool", 6), ("bf16", 6), ("f16", 6), ("c64", 5), ("c128", 5), ("i64", 3), ("u8", 3),
    ("i8", 3), ("u32", 3), ("i16", 2), ("u16", 2), ("u64", 2),
)  # fmt: skip
_PRECISE = (("f64", 70), ("c128", 14), ("i32", 8), ("bool", 4), ("i64", 4))
_INTEGERS = (("i32", 3), ("i8", 2), ("u8", 2), ("i16", 2), ("u16", 2), ("u32", 3), ("i64", 3), ("u64", 2), ("bool", 3))
_HALVES = (("bf16", 5), ("f16", 5), ("f32", 3), ("i32", 2), ("bool", 1))
_COMPLEX = (("c64", 5), ("c128", 5), ("f32", 2), ("f64", 2))


def draw_profile(c: Choices) -> Profile:
    """The profile of a program."""
    kinds = c.weighted([(_MIXED, 42), (_PRECISE, 34), (_INTEGERS, 9), (_HALVES, 8), (_COMPLEX, 7)])
    sizes = tuple(c.pick(SIZES[:-1]) if c.chance(97) else 0 for _ in range(3))
    large = c.pick(LARGE_SHAPES) if c.chance(4) else ()
    wild = not large and c.chance(8)
    if wild:  # a product of complex infinities is whatever the order of its sums makes it
        kinds = tuple((d, w) for d, w in _MIXED if not d.startswith("c"))
    return Profile(kinds, sizes, large, wild, outside=not large and c.chance(12))


def draw_dtype(c: Choices, profile: Profile, kinds: str = "bifc") -> dtypes.DType:
    """A dtype of the profile of one of the kinds "b" (bool), "i" (integers), "f", "c"; another one where the profile has none."""
    fitting = [(d, w) for d, w in profile.dtypes if kind(dtypes.FROM_SHORT[d]) in kinds]
    if not fitting:
        fitting = [(d, 1) for k in kinds for d in {"b": ("bool",), "i": ("i32",), "f": ("f32", "f64"), "c": ("c64", "c128")}[k]]
    return dtypes.FROM_SHORT[c.weighted(fitting)]


def kind(dtype: dtypes.DType) -> str:
    """ "b", "i", "f" or "c"."""
    if dtype == dtypes.bool_:
        return "b"
    return "i" if dtypes.is_int(dtype) else "c" if dtypes.is_complex(dtype) else "f"


def draw_shape(c: Choices, profile: Profile, rank: int | None = None) -> Shape:
    """A shape made of the profile's sizes."""
    if profile.large and c.chance(60):
        return profile.large
    n = c.weighted([(1, 28), (2, 40), (0, 10), (3, 17), (4, 5)]) if rank is None else rank
    shape: list[int] = []
    for _ in range(n):
        size = c.pick(profile.sizes) if c.chance(80) else c.pick((1, 2, 3, 5))
        shape.append(size if int(np.prod([*shape, size])) <= LARGEST else 2)
    return tuple(shape)


def draw_value(c: Choices, profile: Profile, shape: Shape, dtype: dtypes.DType) -> Array:
    """An array of normally distributed numbers or small integers; in a wild profile some special ones among them."""
    rng = c.rng()
    value = sample(rng, shape, dtype)
    if profile.wild and c.chance(60):
        return np.where(rng.random(shape) < 0.2, extreme(rng, shape, dtype), value).astype(dtype)
    return value


def sample(rng: np.random.Generator, shape: Shape, dtype: dtypes.DType) -> Array:
    """An array of ordinary numbers."""
    match kind(dtype):
        case "b":
            value: Any = rng.integers(0, 2, shape)
        case "i":
            value = rng.integers(-9 if dtypes.is_signed(dtype) else 0, 10, shape)
        case "c":
            value = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        case _:
            value = rng.normal(size=shape)
    return cast(value, dtype)


def extreme(rng: np.random.Generator, shape: Shape, dtype: dtypes.DType) -> Array:
    """An array of the ends of the dtype's range."""
    if dtype == dtypes.bool_:
        return cast(rng.integers(0, 2, shape), dtype)
    if dtypes.is_int(dtype):
        info = np.iinfo(dtype)
        return np.asarray(rng.choice(np.array([info.min, info.max, info.max - 1, 0, 1], dtype), shape))
    tiny, huge = {2: (6e-8, 6e4), 4: (1e-45, 3e38), 8: (5e-324, 1.7e308), 16: (5e-324, 1.7e308)}[dtype.itemsize]
    if dtype == dtypes.complex64:
        tiny, huge = 1e-45, 3e38
    with np.errstate(all="ignore"):
        return np.asarray(rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny, huge, -1.0]), shape)).astype(
            dtype
        )


def cast(x: Any, dtype: dtypes.DType) -> Array:
    return np.asarray(SCALARS["convert"].impl(np.asarray(x), dtype=dtype))


# --- layouts --------------------------------------------------------------------------------------

LAYOUTS = ("dense", "transposed", "strided", "reversed", "misaligned", "swapped", "read-only")


def laid_out(x: Array, layout: str) -> Array:
    """An array equal to `x`, with other strides, alignment, byte order or flags."""
    match layout:
        case "transposed":
            return np.array(x, order="F")
        case "strided":
            wide = np.zeros(tuple(2 * n + 1 for n in x.shape), x.dtype)
            if x.ndim == 0:
                return x
            view = wide[tuple(slice(1, 2 * n + 1, 2) for n in x.shape)]
            view[...] = x
            return view
        case "reversed":
            turn = (slice(None, None, -1),) * x.ndim
            return np.ascontiguousarray(x[turn])[turn] if x.ndim else x
        case "misaligned":
            raw = np.zeros(x.nbytes + 1, np.uint8)
            view = raw[1:].view(x.dtype).reshape(x.shape)
            view[...] = x
            return view
        case "swapped":
            swapped = x.dtype.newbyteorder(">") if x.dtype.kind in "iufc" and x.dtype != dtypes.bfloat16 else x.dtype
            return x.astype(swapped)
        case "read-only":
            x = x.copy()
            x.flags.writeable = False
    return x
