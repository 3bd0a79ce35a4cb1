"""Python integers that an integer dtype does not hold: refused where they would become its values, as NumPy 2 does, never wrapped."""

from __future__ import annotations

import operator
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


# --- arguments of compiled functions ----------------------------------------------------------------


@pytest.mark.parametrize("what", ["asarray", "full", "set", "set a list", "where", "add", "radd", "clip", "left_shift"])
def test_an_argument_of_a_compiled_function_is_refused(what: str) -> None:
    """The number is not known while the function is traced: the call is checked, in Python and in the compiled call path."""
    x = fnp.asarray([1, 2, 3], "uint8")
    f = fdl.jit(lambda x, n: WRITES[what](x, n))
    first = f(x, 7)
    assert f(x, 255).dtype == first.dtype == "uint8"
    for n in (256, -1, 2**40, -(2**40), 2**63):
        with pytest.raises(OverflowError, match=rf"jit\(<lambda>\): argument n is the Python integer {n}, which does not fit in uint8"):
            f(x, n)
    with pytest.raises(OverflowError, match="argument n is the Python integer 300, which does not fit in uint8"):
        f.lower(x, 7).compile()(x, 300)
    assert f(x, 7).tolist() == first.tolist()


def test_the_error_names_the_line_that_narrows() -> None:
    def f(batch: dict[str, Any], *, scale: int) -> Any:
        return batch["pixels"] * scale  # the line

    with pytest.raises(OverflowError) as caught:
        fdl.jit(f)({"pixels": fnp.zeros(3, "u8")}, scale=300)
    text = str(caught.value)
    assert text.startswith("jit(f): argument scale is the Python integer 300, which does not fit in uint8 (multiply): expected 0 to 255. ")
    assert f"{__file__}:{f.__code__.co_firstlineno + 1} (f)" in text


def test_a_leaf_of_a_container_and_several_types() -> None:
    f = fdl.jit(lambda x, y, p: (x + p["n"], y + p["n"]))
    x, y = fnp.zeros(1, "i8"), fnp.zeros(1, "u16")
    assert [v.tolist() for v in f(x, y, {"n": 100})] == [[100], [100]]
    for n, name in ((200, "int8"), (-1, "uint16"), (70_000, "int8")):
        with pytest.raises(OverflowError, match=rf"argument p\['n'\] is the Python integer {n}, which does not fit in {name}"):
            f(x, y, {"n": n})


@pytest.mark.parametrize(
    "wrap",
    [
        lambda f: lambda x, n: fdl.jit(f)(x, n),
        lambda f: lambda x, n: fdl.cond(True, f, lambda x, n: x, x, n),
        lambda f: lambda x, n: fdl.switch(0, [f, lambda x, n: x], x, n),
        lambda f: lambda x, n: fdl.checkpoint(f)(x, n),
        lambda f: lambda x, n: fdl.fori_loop(0, 2, lambda i, c: (f(*c), c[1]), (x, n))[0],
        lambda f: lambda x, n: fdl.fori_loop(0, 2, lambda i, c: f(c, n), x),
        lambda f: lambda x, n: fdl.while_loop(lambda c: False, lambda c: (f(*c), c[1]), (x, n))[0],
        lambda f: lambda x, n: fdl.scan(lambda c, _: (f(c, n), None), x, None, length=2)[0],
        lambda f: lambda x, n: fdl.scan(lambda c, v: (f(v, c), None), n, fnp.stack([x, x]))[0],
        lambda f: lambda x, n: fdl.vmap(f, in_axes=(0, None))(fnp.stack([x, x]), n),
        lambda f: lambda x, n: fdl.grad(lambda w, x, n: w * f(x, n).astype(float).sum())(1.0, x, n),
    ],
)  # fmt: skip
def test_under_every_transform(wrap: Callable[[Any], Any]) -> None:
    """Eagerly, within a compiled function, and through two of them."""
    x, g = fnp.asarray(1, "i8"), wrap(lambda x, n: x + n)
    for f in (g, fdl.jit(g), fdl.jit(lambda x, n: fdl.jit(g)(x, n))):
        f(x, 3)
        with pytest.raises(OverflowError, match=r"the Python integer 300.* does not fit in int8"):
            f(x, 300)


def test_what_wraps_by_its_own_rule_is_taken() -> None:
    x = fnp.asarray([0, 7, 255], "u8")
    assert fdl.jit(lambda x, n: x & n)(x, ~3).tolist() == [0, 4, 252]
    assert fdl.jit(lambda n: n.astype("u8"))(300).tolist() == 44  # a conversion that was asked for
    assert fdl.jit(lambda x, n: x + n)(x, np.int32(300)).tolist() == [300, 307, 555]
    assert fdl.jit(lambda x, n: x + n.astype("u8"))(x, 300).tolist() == [44, 51, 43]
    key = fdl.jit(fdl.random.key)(-1)
    assert bool((fdl.random.bits(key) == fdl.random.bits(fdl.random.key(-1))).all())


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint32", "int32", "int64", "uint64"])
@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_comparisons_with_an_argument_are_exact(compare: Callable[[Any, Any], Any], dtype: str) -> None:
    info = np.iinfo(dtype)
    values = [int(info.min), 0, 1, 44, int(info.max)]
    x, f = fnp.asarray(values, dtype), fdl.jit(lambda x, n: (compare(x, n), compare(n, x)))
    for n in (300, -1, 2**31, -(2**31), 2**40, -(2**40), 2**63 - 1, -(2**63), 2**63, 2**64 - 1):
        a, b = f(x, n)
        assert a.tolist() == [compare(v, n) for v in values] and b.tolist() == [compare(n, v) for v in values], n
