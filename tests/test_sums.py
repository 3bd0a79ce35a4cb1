"""Products that are accumulated onto what they are added to: where they are, where they must not be, and what they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.backends.loops.ir import Call, Routine, walk
from fdl.backends.loops.pipeline import stages
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.tree import leaves

rng = np.random.default_rng(0)


def array(*shape: int, dtype: Any = np.float32) -> Any:
    return (rng.standard_normal(shape) * 0.3).astype(dtype)


X, Y, A, B, C = array(40, 30), array(40, 50), array(30, 60), array(50, 60), array(40, 60)
H, W, V = array(5, 16, 24), array(24, 24), array(24, 24)


def accumulated(routine: Routine) -> list[bool]:
    """For each matmul whether it adds to what is there."""
    calls = [s for s in walk(routine.body) if isinstance(s, Call) and s.kernel == "matmul"]
    return [bool(dict(c.attrs)["accumulate"]) for c in calls]


def recurrent(h: Any, w: Any, v: Any) -> Any:
    """A recurrent layer over the rows of `h`."""
    return fdl.scan(lambda s, x: ((y := fnp.tanh(x @ w + s @ v)), y), fnp.zeros((16, 24), h.dtype), h)


def total(h: Any, w: Any, v: Any) -> Any:
    return recurrent(h, w, v)[1].sum()


def gram(h: Any) -> Any:
    """A sum of products in a carry."""
    return fdl.scan(lambda c, x: (c + x.T @ x, None), fnp.zeros((24, 24), h.dtype), h)[0]


def kept(h: Any) -> Any:
    """As `gram`, where each sum is kept: the carry is read after its update."""
    return fdl.scan(lambda c, x: (c + x.T @ x, c), fnp.zeros((24, 24), h.dtype), h)


def read_again(h: Any) -> Any:
    """As `gram`, where the old sum is read beside the new one."""

    def body(c: Any, x: Any) -> Any:
        new = c + x.T @ x
        return new, fnp.sum(new * c)

    return fdl.scan(body, fnp.zeros((24, 24), h.dtype), h)


def operand(h: Any) -> Any:
    """The carry is an operand of the product that is added to it."""
    return fdl.scan(lambda c, x: (c + c @ x.T @ x, None), fnp.ones((24, 24), h.dtype), h)[0]


def swapped(h: Any) -> Any:
    """Each of two carries becomes a sum with the other."""

    def body(c: Any, x: Any) -> Any:
        return (c[1] + x.T @ x, c[0] + x.T @ (2 * x)), None

    return fdl.scan(body, (fnp.zeros((24, 24), h.dtype), fnp.ones((24, 24), h.dtype)), h)[0]


PROGRAMS: dict[str, tuple[Any, tuple[Any, ...], list[bool]]] = {
    "two products": (lambda x, a, y, b: x @ a + y @ b, (X, A, Y, B), [False, True]),
    "two products, turned": (lambda x, a, y, b: y @ b + x @ a, (X, A, Y, B), [False, True]),
    "three products": (lambda x, a, y, b: x @ a + y @ b + (2 * x) @ a, (X, A, Y, B), [False, True, True]),
    "with an epilogue": (lambda x, a, y, b: fnp.tanh(x @ a + y @ b + a[0]), (X, A, Y, B), [False, True]),
    "onto an input": (lambda x, a, c: c + x @ a, (X, A, C), [False]),
    "a product that is kept": (lambda x, a, y, b: ((p := x @ a), p + y @ b), (X, A, Y, B), [False, False]),
    "both kept": (lambda x, a, y, b: ((p := x @ a), (q := y @ b), p + q), (X, A, Y, B), [False, False]),
    "twice the same": (lambda x, a: (p := x @ a) + p, (X, A), [False]),
    "onto a sum over rows": (lambda x, a: fnp.broadcast_to((x @ a).sum(0), (40, 60)) + x @ a, (X, A), [False]),
    "recurrent": (recurrent, (H, W, V), [False, True]),
    "carry": (gram, (H,), [True]),
    "carry that is kept": (kept, (H,), [False]),
    "carry that is read again": (read_again, (H,), [False]),
    "carry as an operand": (operand, (H,), [False, True]),
    "carries swapped": (swapped, (H,), [True, True]),
}


def routine(f: Any, *args: Any) -> Routine:
    return stages(simplify(fdl.jit(f).lower(*args).program))[-1]


def wide(args: Any) -> list[Any]:
    return [a.astype(np.float64) for a in args]


@pytest.mark.parametrize("name", PROGRAMS)
def test_sum(name: str) -> None:
    f, args, expected = PROGRAMS[name]
    assert accumulated(routine(f, *args)) == expected
    want = leaves(f(*map(fnp.asarray, wide(args))))
    got = leaves(fdl.jit(f)(*args))
    for x, y in zip(got, want, strict=True):
        assert np.dtype(x.dtype) == np.float32
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=2e-4, atol=2e-4)


def test_gradients_of_weights_are_accumulated_where_they_are() -> None:
    f = fdl.grad(total, (1, 2))
    assert accumulated(routine(f, H, W, V)).count(True) >= 3
    got, want = fdl.jit(f)(H, W, V), f(*map(fnp.asarray, wide((H, W, V))))
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=2e-4, atol=2e-4)


def test_a_sum_has_the_bits_of_its_terms() -> None:
    """One block of k: the product is added when it is complete, as an addition of its own would."""
    f, args, _ = PROGRAMS["two products"]
    x, a, y, b = map(fnp.asarray, args)
    apart = np.asarray(fdl.jit(fnp.matmul)(x, a)) + np.asarray(fdl.jit(fnp.matmul)(y, b))
    assert np.asarray(fdl.jit(f)(x, a, y, b)).tobytes() == apart.tobytes()


def test_halves_and_integers_are_added_apart() -> None:
    for dtype in (np.float16, np.int32):
        args = [(a * 10).astype(dtype) for a in PROGRAMS["two products"][1]]
        assert accumulated(routine(PROGRAMS["two products"][0], *args)) == [False, False]
