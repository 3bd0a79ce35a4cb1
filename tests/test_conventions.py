"""The table of docs/conventions.md: every row's derivative, outside `jit` and inside it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.scipy import special

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conventions.md"
ROW = re.compile(r"\| `(?P<call>[^`]+)` \| (?P<point>[^|]+) \| (?P<derivative>[^|]+) \| (?P<why>[^|]+) \|")


def rows() -> list[tuple[str, list[float], list[float]]]:
    found = [ROW.fullmatch(line) for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert all(found), "a row of the table does not parse"
    return [(m["call"], numbers(m["point"]), numbers(m["derivative"])) for m in found if m]


def numbers(cell: str) -> list[float]:
    def one(text: str) -> float:
        top, _, bottom = text.strip().partition("/")
        return float(top) / float(bottom or 1)

    return [one(part) for part in cell.split(",")]


NAMES = {name: getattr(fnp, name) for name in fnp.__all__} | {"nn": fdl.nn, "special": special}


def function(call: str) -> tuple[Callable[..., Any], int]:
    """The function that a row means, of its letters in order, and how many they are."""
    letters = [v for v in "xyab" if re.search(rf"\b{v}\b", call)]
    if "a" in letters and "x" in letters and call.startswith("clip"):
        letters = ["x", "a", "b"]
    f: Callable[..., Any] = eval(f"lambda {', '.join(letters)}: {call}", NAMES)
    return f, len(letters)


ROWS = rows()


@pytest.mark.parametrize(("call", "point", "derivative"), ROWS, ids=[f"{c} at {p}" for c, p, _ in ROWS])
def test_row(call: str, point: list[float], derivative: list[float]) -> None:
    f, n = function(call)
    assert n == len(point) == len(derivative)
    args = [np.float32(v) for v in point]
    reverse = [float(g) for g in fdl.grad(f, argnums=tuple(range(n)))(*args)]
    np.testing.assert_allclose(reverse, derivative, rtol=1e-6, atol=1e-7)
    # Forward mode gives the same, argument by argument: a tangent of 0 times an infinite derivative would be NaN.
    for i, wanted in enumerate(derivative):
        if not math.isnan(wanted):
            assert float(fdl.jacfwd(f, argnums=i)(*args)) == pytest.approx(wanted, rel=1e-6, abs=1e-7)


def test_compiled() -> None:
    """All rows in one program."""

    def everything(*points: Any) -> list[Any]:
        out = []
        for (call, _, _), args in zip(ROWS, points, strict=True):
            f, n = function(call)
            out.append(fdl.grad(f, argnums=tuple(range(n)))(*args))
        return out

    points = [tuple(np.float32(v) for v in point) for _, point, _ in ROWS]
    for (call, point, derivative), got in zip(ROWS, fdl.jit(everything)(*points), strict=True):
        np.testing.assert_allclose([float(g) for g in got], derivative, rtol=1e-5, atol=1e-6, err_msg=f"{call} at {point}")


def test_the_table_is_whole() -> None:
    """Every function that is not smooth, or has an infinite derivative, has a row; and each row names a function there is."""
    text = PAGE.read_text(encoding="utf-8")
    named = {name for call, _, _ in ROWS for name in re.findall(r"(?<![a-z_0-9.])([a-z_0-9]+)\(", call)}
    assert named <= set(fnp.__all__)
    required = "abs sign floor ceil trunc round floor_divide remainder fmod modf frexp heaviside copysign maximum minimum fmax fmin max min"
    required += " clip sort where sqrt cbrt reciprocal log arcsin arccosh arctan2 power hypot std sinc logaddexp logsumexp nan_to_num prod"
    assert not [name for name in required.split() if name not in named]
    assert len(text.splitlines()) < 120 and len(ROWS) > 60


def test_nextafter_says_that_it_has_no_derivative() -> None:
    with pytest.raises(Exception, match="primitive 'nextafter' has no jvp rule"):
        fdl.grad(lambda x: fnp.nextafter(x, 2.0))(1.0)
    assert inspect.isfunction(fnp.nextafter)


SMOOTH: dict[str, list[tuple[float, ...]]] = {
    "hypot": [(3.0, -4.0), (0.0, 2.0), (1.0, 0.0), (2.0, 2.0), (1e-3, -5.0)],
    "logaddexp": [(0.0, 0.0), (1.0, -2.0), (-3.0, 4.0), (2.5, 2.5)],
    "logaddexp2": [(0.0, 0.0), (1.0, -2.0)],
    "sinc": [(0.0,), (0.01,), (0.159,), (0.16,), (-0.7,), (2.3,)],
    "i0": [(0.0,), (0.5,), (-3.0,), (7.9,), (8.1,), (20.0,)],
    "log2": [(0.3,)], "log10": [(2.0,)], "cbrt": [(-2.0,)], "deg2rad": [(2.0,)], "rad2deg": [(2.0,)], "exp2": [(1.5,)],
    "power": [(1.5, 2.5), (2.0, -1.0)], "float_power": [(1.5, 2.5)], "square": [(-2.0,)], "reciprocal": [(-2.0,)],
    "copysign": [(2.0, -3.0)], "remainder": [(5.5, 3.0), (-5.5, 3.0), (5.5, -3.0)], "fmod": [(5.5, 3.0), (-5.5, 3.0)],
    "nan_to_num": [(2.0,)], "fmax": [(1.0, 2.0)], "fmin": [(1.0, 2.0)], "clip": [(0.3,)], "expm1": [(0.1,)], "log1p": [(0.1,)],
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_first_and_second_derivatives(name: str) -> None:
    """Against central differences in float64, forward over reverse, where the function is smooth."""
    f = getattr(fnp, name)
    for point in SMOOTH[name]:
        n = len(point)
        for order, g in enumerate((f, *(fdl.grad(f, i) for i in range(n)))):
            wanted = []
            for i in range(n):
                h = 1e-5
                moved = [np.array(point) + s * h * np.eye(n)[i] for s in (1, -1)]
                wanted.append(float((g(*moved[0]) - g(*moved[1])) / (2 * h)))
            args = [np.float64(v) for v in point]
            got = [float(v) for v in fdl.jacfwd(g, argnums=tuple(range(n)))(*args)]
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5, err_msg=f"{name}{point} order {min(order, 1) + 1}")
