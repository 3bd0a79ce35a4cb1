"""Rows and cases: what `primitive_table` is made of, how sample values are drawn, and how results are compared."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fdl.tracer import dtypes
from fdl.tracer.array import as_numpy
from fdl.tracer.ir import MAY_FAIL
from fdl.tracer.primitive import Elementwise, Primitive, lookup
from fdl.tracer.scalars import SCALARS, join_parts

Arrays = list[np.ndarray]

# --- sample values --------------------------------------------------------------------------------

Draw = Callable[[np.random.Generator, tuple[int, ...], dtypes.DType], np.ndarray]


def cast(x: Any, dtype: dtypes.DType) -> np.ndarray:
    return np.asarray(SCALARS["convert"].impl(np.asarray(x), dtype=dtype))


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    if dtype == dtypes.bool_:
        return np.asarray(rng.integers(0, 2, shape), np.bool_)
    if dtypes.is_int(dtype):
        return np.asarray(rng.integers(-9 if dtypes.is_signed(dtype) else 0, 10, shape), dtype)
    if dtypes.is_complex(dtype):
        return cast(rng.normal(size=shape) + 1j * rng.normal(size=shape), dtype)
    return cast(rng.normal(size=shape), dtype)


def between(low: float, high: float) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
        if dtypes.is_complex(dtype):
            return cast(rng.uniform(low, high, shape) + 1j * rng.uniform(low, high, shape), dtype)
        if not dtypes.is_float(dtype):
            return normal(rng, shape, dtype)
        return cast(rng.uniform(low, high, shape), dtype)

    return draw


def integers(low: int, high: int) -> Draw:
    return lambda rng, shape, dtype: np.asarray(rng.integers(low, high, shape), dtype)


def distinct(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """No two alike (as far as the dtype goes), and none near another: extrema do not change hands within a small step."""
    n = int(np.prod(shape))
    x = (rng.permutation(n) - n // 2).reshape(shape)
    return cast((x + rng.uniform(0.1, 0.9)) * 0.25 if dtypes.is_float(dtype) else x, dtype)


def ties(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    imaginary = 1j * rng.integers(0, 3, shape) if dtypes.is_complex(dtype) else 0
    return cast(rng.integers(0, 3, shape) + imaginary, dtype)


def special(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """Extremes: NaN, infinities, zeros of both signs, subnormal and huge floats; the ends of the range of integers."""
    if dtype == dtypes.bool_:
        return normal(rng, shape, dtype)
    if dtypes.is_complex(dtype):
        real = dtypes.real_of(dtype)
        return join_parts(special(rng, shape, real), special(rng, shape, real), dtype)
    if dtypes.is_int(dtype):
        info = np.iinfo(dtype)
        values: list[Any] = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 7]
    else:
        tiny = {2: 6e-8 if dtype == dtypes.float16 else 1e-40, 4: 1e-45, 8: 5e-324}[dtype.itemsize]
        huge = 6e4 if dtype == dtypes.float16 else 3e38 if dtype.itemsize < 8 else 1.7e308
        values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.5, tiny, -tiny, huge, -huge, 3.0, 1e-3]
    with np.errstate(over="ignore"):
        return np.asarray(rng.choice(np.array(values, dtype), shape), dtype)


def zeros_among(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    return cast(np.where(rng.random(shape) < 0.4, 0, rng.normal(size=shape)), dtype)


def places(rng: np.random.Generator, shape: tuple[int, ...], dtype: dtypes.DType) -> np.ndarray:
    """Each of 0, 1, 2, ... once."""
    return np.asarray(rng.permutation(int(np.prod(shape))).reshape(shape), dtype)


@dataclass(frozen=True, slots=True)
class Arg:
    """One input: its shape, how values are drawn, and its dtype where that is not the case's."""

    shape: tuple[int, ...]
    draw: Draw = normal
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
        canonical: of outputs that are determined up to a choice (the sign of an eigenvector): what they all agree on.
    """

    name: str
    args: tuple[Arg, ...]
    params: Mapping[str, Any] | Callable[[dtypes.DType], Mapping[str, Any]]
    dtypes: tuple[str, ...]
    moving: tuple[int, ...] | None = None
    ulps: float = 0
    backward: bool = True
    label: str = ""
    canonical: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]] | None = None

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
        return tuple(i for i, d in enumerate(given) if dtypes.is_inexact(d))

    def may_fail(self) -> bool:
        """Whether the operation has a check that could raise (it does not on these inputs)."""
        return MAY_FAIL in self.row.primitive.effects_of(self.params())

    def check(self, actual: Any, expected: Any) -> None:
        """Asserts that a backend's output (a sequence when the primitive has several) is the reference's within `ulps`."""
        if self.row.canonical is not None:
            actual, expected = self.row.canonical(actual), self.row.canonical(expected)
        pairs = zip(actual, expected, strict=True) if self.row.primitive.multiple else [(actual, expected)]
        for a, e in pairs:
            compare(np.asarray(a), np.asarray(e), self.row.ulps, isinstance(self.row.primitive.lowering, Elementwise), self.id)


def compare(actual: np.ndarray, expected: np.ndarray, ulps: float, each: bool, what: str) -> None:
    """Asserts equal shapes, dtypes, NaNs and infinities, and values within `ulps` of each element, or of the largest one."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype, (what, actual.shape, actual.dtype, expected.dtype)
    if not dtypes.is_inexact(expected.dtype) or ulps == 0:
        same(actual, expected, what)
        return
    wide = np.complex128 if dtypes.is_complex(expected.dtype) else np.float64
    a, e = actual.astype(wide), expected.astype(wide)
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


# --- what tests share ---------------------------------------------------------------------------

SMALL = 700
"""Elements of an input up to which the tests that call a rule many times take a case."""


def families(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """One test for each primitive: thousands of tests of a millisecond would spend their time in pytest."""
    groups: dict[str, list[Case]] = {}
    for c in cases:
        groups.setdefault(c.row.name, []).append(c)
    return pytest.mark.parametrize("group", groups.values(), ids=groups)


def small(case: Case) -> bool:
    return all(math.prod(a.shape) <= SMALL for a in case.row.args)


def outputs(p: Primitive, result: Any) -> list[Any]:
    return list(result) if p.multiple else [result]


def reference(case: Case, inputs: Sequence[np.ndarray]) -> Arrays:
    return outputs(case.row.primitive, case.row.primitive.reference(*inputs, **case.params()))


def close(a: Any, b: Any, case: Case, rtol: float = 1e-9) -> None:
    a, b = as_numpy(a), as_numpy(b)
    assert a.shape == b.shape, (case.id, a.shape, b.shape)
    finite = np.isfinite(b)
    np.testing.assert_array_equal(np.where(finite, 0, a), np.where(finite, 0, b), err_msg=case.id)
    a, b = np.where(finite, a, 0), np.where(finite, b, 0)
    scale = float(np.max(np.abs(b), initial=1e-3))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=case.id)
