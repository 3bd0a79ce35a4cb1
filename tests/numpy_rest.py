"""What the tests of NumPy's rest share: functions of fdl.numpy against NumPy's, eager and traced; derivatives against differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree


def sample(shape: Any, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Uniform float64 numbers."""
    return np.asarray(np.random.default_rng(seed).uniform(low, high, shape))


def integers(shape: Any, low: int, high: int, seed: int = 0, dtype: Any = "i4") -> np.ndarray:
    """Uniform integers of [low, high)."""
    return np.asarray(np.random.default_rng(seed).integers(low, high, shape)).astype(dtype)


def same(got: Any, want: Any, rtol: float = 1e-11, atol: float = 1e-12) -> None:
    """Asserts that trees of arrays agree: in structure, shapes, kinds of dtypes, and values."""
    if isinstance(want, (tuple, list)):
        assert len(got) == len(want), (len(got), len(want))
        for g, w in zip(got, want, strict=True):
            same(g, w, rtol, atol)
        return
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, (got.shape, want.shape)
    kinds = {got.dtype.kind, want.dtype.kind}
    assert len(kinds) == 1 or kinds == {"i", "u"}, (got.dtype, want.dtype)
    if got.dtype.kind in "fc" and got.dtype.itemsize < want.dtype.itemsize:
        rtol, atol = max(rtol, 1e-5), max(atol, 1e-6)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def traced(f: Callable[..., Any], *args: Any, backend: str = "reference", **kwargs: Any) -> Any:
    """`f` under jit, with the ndarrays among its (nested) arguments as inputs."""
    leaves, structure = tree.flatten((args, kwargs))
    places = [k for k, x in enumerate(leaves) if is_array(x)]

    def call(arrays: Sequence[Any]) -> Any:
        full = list(leaves)
        for k, x in zip(places, arrays, strict=True):
            full[k] = x
        inner_args, inner_kwargs = tree.unflatten(structure, full)
        return f(*inner_args, **inner_kwargs)

    with fdl.config.using(backend=backend):
        return fdl.jit(call)([leaves[k] for k in places])


def agree(
    name: str, *args: Any, trace: bool = True, compiled: bool = False, rtol: float = 1e-11, atol: float = 1e-12, **kwargs: Any
) -> None:
    """Asserts that fdl.numpy's function `name` gives what NumPy's does, eager and, with `trace`, under jit (`compiled`: natively)."""
    want = getattr(np, name)(*args, **kwargs)
    f = getattr(fnp, name)
    same(f(*args, **kwargs), want, rtol, atol)
    if trace:
        same(traced(f, *args, **kwargs), want, rtol, atol)
    if compiled:
        same(traced(f, *args, backend="llvm", **kwargs), want, rtol, atol)


def difference(f: Callable[[np.ndarray], float], x: np.ndarray, v: np.ndarray, h: float = 1e-3) -> float:
    """The derivative of f at x along v, by a central difference of order 4."""
    return (8 * (f(x + h * v) - f(x - h * v)) - (f(x + 2 * h * v) - f(x - 2 * h * v))) / (12 * h)


def check_grads(f: Callable[[Any], Any], x: np.ndarray, second: bool = True, tolerance: float = 1e-6) -> None:
    """Asserts that the derivatives of the sum of cos of `f` agree with differences: reverse to order 1, and both modes to order 2."""

    def total(x: Any) -> Any:
        y = f(x)
        return fnp.sum(fnp.cos(y + 0.1 * np.arange(y.size, dtype=float).reshape(y.shape)))

    v, w = sample(x.shape, 11), sample(x.shape, 12)
    with fdl.config.using(backend="reference"):
        first = fdl.jit(lambda x: fnp.sum(fdl.grad(total)(x) * v))
        value = fdl.jit(total)
        want = difference(lambda y: float(value(y)), x, v)
        assert abs(float(first(x)) - want) <= tolerance * (1 + abs(want)), (float(first(x)), want)
        if not second:
            return
        want = difference(lambda y: float(first(y)), x, w)
        forward = fdl.jvp(lambda y: fdl.jvp(total, (y,), (v,))[1], (x,), (w,))[1]
        reverse = fnp.sum(fdl.grad(first)(x) * w)
        for got in (forward, reverse):
            assert abs(float(got) - want) <= tolerance * (1 + abs(want)), (float(got), want)


def check_vmap(f: Callable[..., Any], *args: np.ndarray, rtol: float = 1e-11) -> None:
    """Asserts that `f` mapped over each axis of stacked arguments is `f` of each; `args` have the lanes in front."""
    lanes = len(args[0])
    want = [f(*(fnp.asarray(a[k]) for a in args)) for k in range(lanes)]
    want = [np.stack([np.asarray(tree.flatten(w)[0][i]) for w in want]) for i in range(len(tree.flatten(want[0])[0]))]
    for axis in range(-1, min(a.ndim for a in args) - 1):
        moved = [fnp.asarray(np.moveaxis(a, 0, axis)) for a in args]
        got = tree.flatten(fdl.vmap(f, axis)(*moved))[0]
        same(got, want, rtol)
