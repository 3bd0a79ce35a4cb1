"""fdl's functions call their parameters what JAX calls them, so that a call by keyword means the same in both.

What JAX's are called is in data/jax_parameters.json, made by data/make_jax_parameters.py.
"""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import lax

JAX: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "data" / "jax_parameters.json").read_text(encoding="utf-8")
)["parameters"]

EVERYWHERE = {"out_sharding", "sharding", "accuracy", "axis_index_groups"}
"""Several devices, and a choice between implementations: fdl has one of each."""

_UFUNCS = "add bitwise_and bitwise_or bitwise_xor logaddexp logaddexp2 logical_and logical_or logical_xor maximum minimum multiply negative subtract"  # noqa: E501
_DEPRECATED = {
    "jax.numpy.argsort": "kind order dtype",
    "jax.numpy.sort": "kind order",
    "jax.numpy.array": "order",
    "jax.numpy.asarray": "order",
    "jax.numpy.copy": "order",
    "jax.numpy.linalg.lstsq": "numpy_resid",
    "jax.numpy.linalg.slogdet": "method",
    "jax.numpy.linalg.svd": "subset_by_index",
    "jax.numpy.take_along_axis": "wrap_negative_indices",
    "jax.numpy.modf": "out",
    "jax.numpy.isneginf": "out",
    "jax.numpy.isposinf": "out",
    "jax.numpy.stack": "out",
    "jax.lax.all_gather": "to",
    "jax.random.key": "dtype",
    "jax.random.wrap_key_data": "dtype",
    "jax.random.multinomial": "unroll",
    "jax.scipy.special.log_ndtr": "series_order",
    "jax.scipy.linalg.eigh": "turbo eigvals",
    "jax.scipy.linalg.eigh_tridiagonal": "key",
    "jax.scipy.linalg.solve": "debug",
    "jax.scipy.linalg.solve_sylvester": "method tol",
    "jax.scipy.stats.multivariate_normal.logpdf": "allow_singular",
}
LEFT_OUT = {name: set(names.split()) for name, names in _DEPRECATED.items()} | {
    f"jax.numpy.{name}": {"out", "where"} for name in _UFUNCS.split()
}
"""Parameters that JAX ignores, refuses or takes for the choice of an algorithm; `out` and `where` of ufuncs, which it refuses."""


def _parameters(f: Any) -> dict[str, inspect.Parameter] | None:
    try:
        return dict(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        return None


@pytest.mark.parametrize("namespace", JAX)
def test_parameters_have_the_names_of_jax(namespace: str) -> None:
    module = importlib.import_module("fdl" + namespace.removeprefix("jax"))
    wrong = []
    for name, wanted in JAX[namespace].items():
        function = getattr(module, name, None)
        own = None if function is None or inspect.isclass(function) else _parameters(function)
        if own is None:
            continue
        kinds = {p.kind for p in own.values()}
        if inspect.Parameter.VAR_KEYWORD in kinds:
            continue
        by_name = {n for n, p in own.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        missing = set(wanted) - by_name - EVERYWHERE - LEFT_OUT.get(f"{namespace}.{name}", set())
        if missing:
            wrong.append(f"{name}: {', '.join(sorted(missing))}")
    assert not wrong


def test_what_is_left_out_is_jax_and_not_there() -> None:
    for path, names in LEFT_OUT.items():
        namespace, _, name = path.rpartition(".")
        module = importlib.import_module("fdl" + namespace.removeprefix("jax"))
        own = _parameters(getattr(module, name)) or {}
        assert names & set(JAX[namespace][name]), path
        assert not names & set(own), path


X = np.arange(6.0, dtype=np.float32).reshape(2, 3)

BY_KEYWORD: list[tuple[Any, Any]] = [
    (lambda: fnp.repeat(a=X, repeats=2, axis=1), np.repeat(X, 2, 1)),
    (lambda: fnp.tile(A=X, reps=(2, 1)), np.tile(X, (2, 1))),
    (lambda: fnp.split(ary=X, indices_or_sections=3, axis=1)[1], X[:, 1:2]),
    (lambda: fnp.eye(N=2, M=3), np.eye(2, 3)),
    (lambda: fnp.swapaxes(a=X, axis1=0, axis2=1), X.T),
    (lambda: fnp.moveaxis(a=X, source=0, destination=1), X.T),
    (lambda: fnp.concatenate(arrays=[X, X], axis=1), np.concatenate([X, X], 1)),
    (lambda: fnp.linspace(start=0, stop=1, num=3), [0.0, 0.5, 1.0]),
    (lambda: fnp.arange(start=1, stop=4, step=None), [1, 2, 3]),
    (lambda: fnp.sum(a=X, axis=0, out=None), X.sum(0)),
    (lambda: fnp.sum(X, 0, None, None, True), X.sum(0, keepdims=True)),
    (lambda: fnp.max(X, 1, None, True), X.max(1, keepdims=True)),
    (lambda: fnp.std(X, 0, None, None, 1), X.std(0, ddof=1)),
    (lambda: fnp.var(X, axis=0, mean=X.mean(0, keepdims=True)), X.var(0)),
    (lambda: fnp.round(X / 4, 1, None), np.round(X / 4, 1)),
    (lambda: fnp.reshape(X, (3, 2), "F"), X.reshape((3, 2), order="F")),
    (lambda: fnp.asarray(X).reshape(3, 2, order="F"), X.reshape((3, 2), order="F")),
    (lambda: np.tile(fnp.asarray(X), reps=2), np.tile(X, 2)),
    (lambda: fnp.linalg.solve(a=np.eye(2, dtype=np.float32), b=X), X),
    (lambda: lax.igamma(a=np.float32(1), x=np.float32(2)), 1 - np.exp(-2.0)),
    (lambda: lax.polygamma(m=np.float32(0), x=np.float32(1)), -np.euler_gamma),
]


@pytest.mark.parametrize(("call", "wanted"), BY_KEYWORD, ids=[str(i) for i in range(len(BY_KEYWORD))])
def test_by_keyword(call: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(call()), wanted, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(fdl.jit(call)()), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda out: fnp.sum(X, out=out),
        lambda out: fnp.std(X, out=out),
        lambda out: fnp.argmax(X, out=out),
        lambda out: fnp.any(X, out=out),
        lambda out: fnp.cumsum(X, out=out),
        lambda out: fnp.round(X, out=out),
        lambda out: fnp.outer(X, X, out=out),
        lambda out: fnp.trace(X, out=out),
    ],
)
def test_out_is_refused(call: Any) -> None:
    with pytest.raises(
        TypeError, match=r"out= is not taken, since arrays are immutable. Use the result.\n  at .*test_jax_parameters"
    ):
        call(np.zeros(()))


def test_sums_in_their_own_dtype() -> None:
    x = fnp.array([100, 100], "int8")
    assert fnp.sum(x).tolist() == 200 and fnp.sum(x, promote_integers=False).tolist() == -56
    assert fnp.prod(x, promote_integers=False).dtype == "int8"


def test_the_generator_of_keys() -> None:
    assert fdl.random.PRNGKey(3, impl="threefry2x32").tolist() == [0, 3]
    with pytest.raises(ValueError, match=r"random.key: impl='rbg' is not known. Expected 'threefry2x32', the one generator."):
        fdl.random.key(0, impl="rbg")
