"""Python integers that an integer dtype does not hold: refused where they would become its values, as NumPy 2 does, never wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp

MASK = np.array([True, False, True])
WRITES: dict[str, Callable[[Any, int], Any]] = {
    "asarray": lambda x, n: fnp.asarray(n, x.dtype),
    "asarray of a list": lambda x, n: fnp.asarray([0, n], x.dtype),
    "full": lambda x, n: fnp.full(2, n, x.dtype),
    "full_like": lambda x, n: fnp.full_like(x, n),
    "set": lambda x, n: x.at[0].set(n),
    "set a list": lambda x, n: x.at[:2].set([0, n]),
    "set at indices": lambda x, n: x.at[np.array([0, 0])].set(n),
    "set at a mask": lambda x, n: x.at[MASK].set(n),
    "at add": lambda x, n: x.at[0].add(n),
    "at subtract": lambda x, n: x.at[0].subtract(n),
    "at multiply": lambda x, n: x.at[0].multiply(n),
    "at divide": lambda x, n: x.at[0].divide(n),
    "at power": lambda x, n: x.at[0].power(n),
    "at min": lambda x, n: x.at[0].min(n),
    "at max": lambda x, n: x.at[0].max(n),
    "at apply": lambda x, n: x.at[0].apply(lambda _: n),
    "at get": lambda x, n: x.at[9].get(mode="fill", fill_value=n),
    "take": lambda x, n: fnp.take(x, np.array([9]), mode="fill", fill_value=n),
    "put": lambda x, n: fnp.put(x, [0], n),
    "put a list": lambda x, n: fnp.put(x, [0, 1], [0, n]),
    "put_along_axis": lambda x, n: fnp.put_along_axis(x, np.array([0]), n, 0),
    "place": lambda x, n: fnp.place(x, MASK, n),
    "fill_diagonal": lambda x, n: fnp.fill_diagonal(fnp.stack([x, x, x]), n),
    "pad": lambda x, n: fnp.pad(x, 1, constant_values=n),
    "pad both sides": lambda x, n: fnp.pad(x, 1, constant_values=(0, n)),
    "where": lambda x, n: fnp.where(MASK, x, n),
    "select": lambda x, n: fnp.select([MASK], [x], n),
    "clip": lambda x, n: fnp.clip(x, 0, n),
    "compress": lambda x, n: fnp.compress(MASK, x, size=3, fill_value=n),
    "unique": lambda x, n: fnp.unique(x, size=5, fill_value=n),
    "add": lambda x, n: x + n,
    "append": lambda x, n: fnp.append(x, n),
    "insert": lambda x, n: fnp.insert(x, 0, n),
    "diff": lambda x, n: fnp.diff(x, prepend=n),
    "radd": lambda x, n: n + x,
    "multiply": lambda x, n: x * n,
    "maximum": lambda x, n: fnp.maximum(x, n),
    "floor_divide": lambda x, n: x // n,
    "left_shift": lambda x, n: x << n,
}


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint64"])
@pytest.mark.parametrize("what", WRITES)
def test_one_past_the_ends_is_refused(what: str, dtype: str) -> None:
    """The limits themselves are taken, in eager code and in compiled."""
    x, info = fnp.asarray([1, 2, 3], dtype), np.iinfo(dtype)
    for n in (int(info.max) + 1, int(info.min) - 1):
        for run in (WRITES[what], lambda x, n: fdl.jit(lambda x: WRITES[what](x, n))(x)):
            if n >= 2**64 and what not in ("full_like", "add"):
                continue
            with pytest.raises(OverflowError, match=rf"the Python integer {n} does not fit in ({dtype}|64 bits)"):
                run(x, n)
    assert WRITES[what](x, int(info.max)).dtype == dtype


def test_values_are_kept() -> None:
    x = fnp.zeros(2, "u8")
    assert x.at[0].set(255).tolist() == [255, 0] and fnp.zeros(2, "i8").at[:].set([-128, 127]).tolist() == [-128, 127]
    assert x.at[0].set(True).tolist() == [1, 0] and fnp.zeros(2, bool).at[0].set(300).tolist() == [True, False]
    assert fnp.zeros(2).at[0].set(2**40).tolist() == [2.0**40, 0.0]
    assert x.at[0].set(np.int32(300)).tolist() == [44, 0]  # an array's integers are converted, and wrap
    assert (x + 255 + 1).tolist() == [0, 0]  # as does arithmetic


def test_comparisons_are_exact() -> None:
    x = fnp.asarray([0, 44, 255], "u8")
    assert not (x == 300).any() and (x < 300).all() and (x > -1).all() and (x != -1).all()


def test_bitwise_logic_takes_bits() -> None:
    x = fnp.asarray([0, 7, 255], "u8")
    assert (x & ~3).tolist() == [0, 4, 252] and (x | -256).tolist() == [0, 7, 255] and (x ^ -1).tolist() == [255, 248, 0]
