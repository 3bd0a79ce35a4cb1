"""Axis names and collectives: against NumPy on the stacked arrays, in every nesting of transforms, and their derivatives."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree
from fdl.tracer.errors import AxisNameError
from fdl.tracer.ops.collectives import COLLECTIVES
from fdl.tracer.parse import parse
from fdl.tracer.primitive import Axis, lookup

N = 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, N, 3))
PERM = [(0, 2), (3, 1), (1, 3)]


def permuted(x: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    for s, t in PERM:
        out[t] = x[s]
    return out


def every(x: np.ndarray) -> np.ndarray:
    """One value, in every lane."""
    return np.stack([x] * N)


# name: (what a lane does with its x of shape (N, 3), the same on all lanes' x stacked)
CASES: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "psum": (lambda x: fdl.psum(x, "i"), lambda x: every(x.sum(0))),
    "pmean": (lambda x: fdl.pmean(x, "i"), lambda x: every(x.mean(0))),
    "pmax": (lambda x: fdl.pmax(x, "i"), lambda x: every(x.max(0))),
    "pmin": (lambda x: fdl.pmin(x, "i"), lambda x: every(x.min(0))),
    "all_gather": (lambda x: fdl.all_gather(x, "i"), every),
    "all_gather axis": (lambda x: fdl.all_gather(x, "i", axis=-1), lambda x: every(np.moveaxis(x, 0, -1))),
    "all_gather tiled": (lambda x: fdl.all_gather(x, "i", axis=1, tiled=True), lambda x: every(np.concatenate(list(x), 1))),
    "psum_scatter": (lambda x: fdl.psum_scatter(x, "i"), lambda x: x.sum(0)),
    "psum_scatter tiled": (
        lambda x: fdl.psum_scatter(fnp.concatenate([x, 2 * x], 0), "i", tiled=True),
        lambda x: np.concatenate([x, 2 * x], 1).sum(0).reshape(N, 2, 3),
    ),
    "ppermute": (lambda x: fdl.ppermute(x, "i", PERM), permuted),
    "ppermute none": (lambda x: fdl.ppermute(x, "i", []), np.zeros_like),
    "shift": (lambda x: fdl.ppermute(x, "i", [(k, (k + 1) % N) for k in range(N)]), lambda x: np.roll(x, 1, 0)),
    "pshuffle": (lambda x: fdl.pshuffle(x, "i", [2, 0, 3, 1]), lambda x: x[[2, 0, 3, 1]]),
    "reversed": (lambda x: fdl.pshuffle(x, "i", range(N)[::-1]), lambda x: x[::-1]),
    "all_to_all": (lambda x: fdl.all_to_all(x, "i", 0, 0), lambda x: np.swapaxes(x, 0, 1)),
    "all_to_all axes": (lambda x: fdl.all_to_all(x, "i", 0, 1), lambda x: np.stack([x[:, k].T for k in range(N)])),
    "all_to_all tiled": (
        lambda x: fdl.all_to_all(fnp.concatenate([x, 2 * x], 0), "i", 0, 1, tiled=True),
        lambda x: np.stack([np.concatenate([np.concatenate([y, 2 * y], 0)[2 * k : 2 * k + 2] for y in x], 1) for k in range(N)]),
    ),
    "axis_index": (lambda x: x * fdl.axis_index("i"), lambda x: x * np.arange(N)[:, None, None]),
    "axis_size": (lambda x: x[: fdl.axis_size("i") - 1], lambda x: x[:, : N - 1]),
    "a mix": (
        lambda x: fnp.sin(x) * fdl.psum(fnp.cos(x), "i") + fdl.pmax(x * x, "i") - fdl.pmean(x, "i") ** 2,
        lambda x: np.sin(x) * np.cos(x).sum(0) + (x * x).max(0) - x.mean(0) ** 2,
    ),
    "twice": (lambda x: fdl.psum(fdl.psum(x, "i") * x, "i"), lambda x: every((x.sum(0) * x).sum(0))),
    "a tree": (
        lambda x: fdl.psum({"a": x, "b": (x[0], 1)}, "i")["a"] * fdl.psum({"a": (x, 1)}, "i")["a"][1],
        lambda x: every(x.sum(0)) * N,
    ),
    "in a scan": (
        lambda x: fdl.scan(lambda c, v: (fdl.pmean(c * v, "i") + v, fdl.axis_index("i") * c[0]), x[0], x)[0],
        lambda x: scanned(x),
    ),
    "in a fori_loop": (lambda x: fdl.fori_loop(0, 3, lambda k, c: fdl.ppermute(c, "i", PERM) + x, x), lambda x: looped(x)),
    "in a cond": (
        lambda x: fdl.cond(fdl.axis_index("i") > 1, lambda: fdl.psum(x, "i"), lambda: -x),
        lambda x: np.where(np.arange(N)[:, None, None] > 1, every(x.sum(0)), -x),
    ),
    "in a cond that all take": (lambda x: fdl.cond(N > 1, lambda: fdl.psum(x, "i"), lambda: -x), lambda x: every(x.sum(0))),
    "in a switch": (
        lambda x: fdl.switch(fdl.axis_index("i") - 1, [lambda: x, lambda: fdl.psum(x, "i"), lambda: fdl.pmax(x, "i")]),
        lambda x: np.stack([x[0], x[1], x.sum(0), x.max(0)]),
    ),
    "in a jit": (lambda x: fdl.jit(lambda v: fdl.psum(v, "i") * v)(x), lambda x: x.sum(0) * x),
    "in a jit of nothing": (lambda x: x + fdl.jit(lambda: fdl.psum(fdl.axis_index("i"), "i"))(), lambda x: x + 6),
    "of a constant": (lambda x: x * fdl.psum(fnp.ones(3), "i") + fdl.all_gather(2.0, "i").sum(), lambda x: x * N + 2 * N),
    "scattered constants": (lambda x: x + fdl.psum_scatter(fnp.arange(4.0), "i"), lambda x: x + N * np.arange(4.0)[:, None, None]),
    "exchanged constants": (lambda x: x + fdl.all_to_all(fnp.arange(4.0), "i", 0, 0)[0], lambda x: x + np.arange(4.0)[:, None, None]),
    "permuted constants": (lambda x: x + fdl.ppermute(1.0, "i", PERM), lambda x: x + np.array([0.0, 1, 1, 1])[:, None, None]),
}  # fmt: skip


def scanned(x: np.ndarray) -> np.ndarray:
    c = x[:, 0]
    for k in range(N):
        c = (c * x[:, k]).mean(0) + x[:, k]
    return c


def looped(x: np.ndarray) -> np.ndarray:
    c = x
    for _ in range(3):
        c = permuted(c) + x
    return c


def close(a: Any, b: Any, rtol: float = 1e-12) -> None:
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(np.asarray(a), b, rtol=rtol, atol=1e-13)


def mapped(f: Callable[..., Any], **how: Any) -> Callable[..., Any]:
    return fdl.vmap(f, axis_name="i", **how)


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    f, model = CASES[name]
    want = model(X)
    with fdl.config.using(backend="reference"):
        close(mapped(f)(X), want)
        close(mapped(f, in_axes=-1, out_axes=1)(np.moveaxis(X, 0, -1)), np.moveaxis(want, 0, 1))
        close(mapped(fdl.jit(f))(X), want)
        # Under another vmap, outside and inside, with and without a name.
        more = np.stack([X, 2 * X, -X])
        wanted = np.stack([model(x) for x in more])
        close(fdl.vmap(mapped(f))(more), wanted)
        close(fdl.vmap(mapped(f), axis_name="j")(more), wanted)
        close(mapped(lambda x: fdl.vmap(f, axis_name="j")(x))(np.swapaxes(more, 0, 1)), np.swapaxes(wanted, 0, 1))
        close(mapped(lambda x: fdl.vmap(fdl.jit(f), in_axes=-1)(x))(np.moveaxis(more, 0, -1)), np.swapaxes(wanted, 0, 1))
    close(fdl.jit(mapped(f))(X), want)


BRANCHING = ("in a cond", "in a switch")
"""Whose predicate differs between lanes that meet in a collective."""


@pytest.mark.parametrize("name", BRANCHING)
def test_a_branch_in_which_only_some_lanes_meet(name: str) -> None:
    """Its derivative is that of the map as a whole; in a lane there is none in reverse mode, which is said."""
    f, model = CASES[name]
    weights = np.random.default_rng(2).normal(size=X.shape)
    with fdl.config.using(backend="reference"):
        got = np.asarray(fdl.vjp(mapped(f), X)[1](weights)[0])
        for at in ((0, 0, 0), (1, 2, 1), (3, 3, 2)):
            d = np.zeros_like(X)
            d[at] = 1e-6
            assert got[at] == pytest.approx(((model(X + d) - model(X - d)) * weights).sum() / 2e-6, rel=1e-5, abs=1e-7)
        direction = np.ones_like(X)
        close(mapped(lambda x, t: fdl.jvp(f, (x,), (t,))[1])(X, direction), (model(X + 1e-6) - model(X - 1e-6)) / 2e-6, 1e-6)
        with pytest.raises(RuntimeError, match="the predicate differs between the lanes") as caught:
            mapped(lambda x, w: fdl.vjp(f, x)[1](w)[0])(X, weights)
        assert "test_collectives.py" in str(caught.value)


@pytest.mark.parametrize("name", [n for n in CASES if n not in BRANCHING])
def test_derivatives(name: str) -> None:
    """Derivatives taken in the lanes and of the map as a whole are the same; both are differences' limit."""
    f, model = CASES[name]
    direction = np.random.default_rng(1).normal(size=X.shape)
    h = 1e-6
    slope = (model(X + h * direction) - model(X - h * direction)) / (2 * h)
    weights = np.random.default_rng(2).normal(size=slope.shape)
    with fdl.config.using(backend="reference"):
        close(fdl.jvp(mapped(f), (X,), (direction,))[1], slope, 1e-6)
        close(mapped(lambda x, t: fdl.jvp(f, (x,), (t,))[1])(X, direction), slope, 1e-6)
        whole = fdl.vjp(mapped(f), X)[1](weights)[0]
        each = mapped(lambda x, w: fdl.vjp(f, x)[1](w)[0])(X, weights)
        close(each, np.asarray(whole))
        close(mapped(lambda x, w: fdl.vjp(fdl.jit(f), x)[1](w)[0])(X, weights), np.asarray(whole))
        assert float((slope * weights).sum()) == pytest.approx(float((np.asarray(whole) * direction).sum()), rel=1e-5)

        def loss(x: Any, w: Any) -> Any:
            return (f(x) * w).sum()

        second = fdl.jvp(mapped(fdl.grad(loss)), (X, weights), (direction, 0 * weights))[1]
        close(mapped(lambda x, w, t: fdl.jvp(fdl.grad(loss), (x, w), (t, 0 * w))[1])(X, weights, direction), np.asarray(second))


def test_compiled_derivative() -> None:
    f = CASES["a mix"][0]
    g = mapped(fdl.grad(lambda x: (f(x) ** 2).sum()))
    with fdl.config.using(backend="reference"):
        want = np.asarray(g(X))
    close(fdl.jit(g)(X), want, 1e-9)


def test_figures_of_jax() -> None:
    """What jax 0.10.2 gives for gradients taken in each lane."""
    x = np.arange(1.0, 4.0)
    assert mapped(fdl.grad(lambda x: fdl.psum(x**2, "i")))(x).tolist() == [6.0, 12.0, 18.0]
    assert mapped(fdl.grad(lambda x: fdl.pmean(x**2, "i")))(x).tolist() == pytest.approx([2.0, 4.0, 6.0])
    assert mapped(fdl.grad(lambda x: fdl.psum(x**2, "i") * x))(x).tolist() == [26.0, 38.0, 50.0]
    gathered = mapped(fdl.grad(lambda x: (fdl.all_gather(x, "i") * np.arange(3.0)).sum() * x))(x)
    assert gathered.tolist() == [8.0, 14.0, 20.0]


# --- several axes ---------------------------------------------------------------------------------

Y = RNG.normal(size=(2, 3, 6))


def both(f: Callable[[Any], Any]) -> Any:
    return np.asarray(fdl.vmap(fdl.vmap(f, axis_name="j"), axis_name="i")(Y))


def test_several_names_at_once() -> None:
    flat, ij = Y.reshape(6, 6), ("i", "j")

    def lanes(x: np.ndarray) -> np.ndarray:
        return x.reshape(2, 3, *x.shape[1:])

    with fdl.config.using(backend="reference"):
        close(both(lambda x: fdl.psum(x, ij)), np.broadcast_to(flat.sum(0), Y.shape))
        close(both(lambda x: fdl.psum(x, ["j"])), np.broadcast_to(Y.sum(1, keepdims=True), Y.shape))
        close(both(lambda x: fdl.psum(x, ())), Y)
        close(both(lambda x: fdl.pmean(x, ij)), np.broadcast_to(flat.mean(0), Y.shape))
        close(both(lambda x: fdl.pmax(x, ij)), np.broadcast_to(flat.max(0), Y.shape))
        assert both(lambda x: fdl.axis_index(ij)).tolist() == [[0, 1, 2], [3, 4, 5]]
        assert both(lambda x: fdl.axis_index(("j", "i"))).tolist() == [[0, 2, 4], [1, 3, 5]]
        assert both(lambda x: fdl.axis_size(ij)).tolist() == [[6] * 3] * 2
        close(both(lambda x: fdl.all_gather(x, ij))[1, 2], flat)
        close(both(lambda x: fdl.all_gather(x, ("j", "i")))[0, 0], np.swapaxes(Y, 0, 1).reshape(6, 6))
        close(both(lambda x: fdl.all_gather(x, ij, tiled=True))[0, 1], flat.ravel())
        close(both(lambda x: fdl.psum_scatter(x, ij)), flat.sum(0).reshape(2, 3))
        close(both(lambda x: fdl.all_to_all(x, ij, 0, 0)), lanes(flat.T))
        perm = [(0, 5), (4, 2), (5, 0)]
        out = np.zeros_like(flat)
        for s, t in perm:
            out[t] = flat[s]
        close(both(lambda x: fdl.ppermute(x, ij, perm)), lanes(out))
        close(both(lambda x: fdl.pshuffle(x, ij, [3, 1, 2, 5, 0, 4])), lanes(flat[[3, 1, 2, 5, 0, 4]]))


def test_the_inner_axis_hides_an_outer_one_of_its_name() -> None:
    f = fdl.vmap(fdl.vmap(lambda x: fdl.psum(x, "i"), axis_name="i"), axis_name="i")
    close(f(Y[..., 0]), np.broadcast_to(Y[..., 0].sum(1, keepdims=True), (2, 3)))


def test_one_jitted_function_under_maps_of_many_sizes() -> None:
    f = fdl.jit(lambda x: fdl.pmean(x, "i") + fdl.axis_size("i"))
    for n in (3, 5, 3):
        assert mapped(f)(fnp.ones(n)).tolist() == [1.0 + n] * n
    with pytest.raises(AxisNameError):
        f(fnp.ones(3))
    assert fdl.vmap(fdl.vmap(f, axis_name="i"))(fnp.ones((2, 4))).tolist() == [[5.0] * 4] * 2


def test_what_a_collective_returns() -> None:
    """A Python number stays one; integers and bools are summed as integers; nothing mapped stays unmapped."""
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append((fdl.psum(1, "i"), fdl.psum(0.5, "i"), fdl.axis_size("i")))
        assert fdl.psum(x, "i").dtype == x.dtype and fdl.psum(x > 0, "i").dtype == np.int32
        assert fdl.pmean(x > 0, "i").dtype == np.float32 and fdl.pmax(x, "i").shape == x.shape
        return fdl.psum(x > 0, "i")

    assert int(mapped(f, out_axes=None)(np.array([1, -2, 3], np.int8))) == 2
    assert seen == [(3, 1.5, 3)] and [type(v) for v in seen[0]] == [int, float, int]
    assert mapped(lambda: fdl.axis_index("i"), axis_size=2)().tolist() == [0, 1]
    assert mapped(lambda x: fdl.psum(x, "i"))(fnp.ones((0, 2))).shape == (0, 2)
    assert mapped(lambda x: fdl.psum(x, "i"), in_axes=None, axis_size=4, out_axes=None)(2.0).tolist() == 8.0


def test_a_while_loop_in_which_the_lanes_meet() -> None:
    """All lanes go on until the last has ended; one that has ended keeps its carry, and takes part all the same."""

    def f(x: Any) -> Any:
        return fdl.while_loop(lambda s: s[0] < 10.0, lambda s: (s[0] + fdl.pmax(s[0], "i"), s[1] + 1), (x, 0))

    def model(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, n = x.copy(), np.zeros(len(x), np.int32)
        while (x < 10).any():
            x, n = np.where(x < 10, x + x.max(), x), n + (x < 10)
        return x, n

    x = np.array([1.0, 2.0, 9.0, 30.0, -40.0])
    for g in (mapped(f), fdl.jit(mapped(f))):
        y, n = g(x)
        close(y, model(x)[0])
        assert n.tolist() == model(x)[1].tolist()
    slope = fdl.jvp(lambda x: mapped(f)(x)[0], (x,), (np.ones(5),))[1]
    close(slope, (model(x + 1e-6)[0] - model(x - 1e-6)[0]) / 2e-6, 1e-6)


def test_normalisation_over_a_batch() -> None:
    """The way it is used: a function of one example that needs the batch's mean."""

    def layer(x: Any) -> Any:
        mean = fdl.pmean(x, "batch")
        return (x - mean) / fnp.sqrt(fdl.pmean((x - mean) ** 2, "batch") + 1e-5)

    x = RNG.normal(size=(16, 5)).astype(np.float32)
    f = fdl.jit(fdl.vmap(layer, axis_name="batch"))
    np.testing.assert_allclose(f(x), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), rtol=2e-5, atol=2e-6)
    g = fdl.jit(fdl.grad(lambda x: (f(x) * np.arange(5)).sum()))(x)
    np.testing.assert_allclose(np.asarray(g).sum(0), 0, atol=1e-4)


# --- errors and text ------------------------------------------------------------------------------

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "no vmap": (lambda: fdl.psum(1.0, "i"), NameError, ["psum", "'i'", "no vmap", "axis_name"]),
    "another name": (
        lambda: fdl.vmap(mapped(lambda x: fdl.pmean(x, "k")), axis_name="j")(X), NameError, ["'k'", "known here: 'i', 'j'"],
    ),
    "in a jit": (lambda: fdl.jit(lambda x: fdl.axis_index("i") + x)(1.0), NameError, ["axis_index", "'i'"]),
    "not a name": (lambda: mapped(lambda x: fdl.psum(x, 0))(X), TypeError, ["psum"]),
    "twice": (lambda: mapped(lambda x: fdl.psum(x, ("i", "i")))(X), ValueError, ["twice", "i"]),
    "axis_name": (lambda: fdl.vmap(lambda x: x, axis_name=3), TypeError, ["axis_name", "3"]),
    "gather axis": (lambda: mapped(lambda x: fdl.all_gather(x, "i", axis=3))(X), ValueError, ["all_gather", "axis 3", "-3 to 2"]),
    "gather scalar": (lambda: mapped(lambda x: fdl.all_gather(x[0, 0], "i", tiled=True))(X), ValueError, ["tiled", "0-d"]),
    "scatter size": (lambda: mapped(lambda x: fdl.psum_scatter(x, "i", scatter_dimension=1))(X), ValueError, ["psum_scatter", "3", "4"]),
    "scatter tiled": (lambda: mapped(lambda x: fdl.psum_scatter(x.T, "i", tiled=True))(X), ValueError, ["a multiple of 4"]),
    "exchange size": (lambda: mapped(lambda x: fdl.all_to_all(x, "i", 1, 0))(X), ValueError, ["all_to_all", "axis 1", "4"]),
    "perm twice": (lambda: mapped(lambda x: fdl.ppermute(x, "i", [(0, 1), (2, 1)]))(X), ValueError, ["ppermute", "(2, 1)"]),
    "perm range": (lambda: mapped(lambda x: fdl.ppermute(x, "i", [(0, 4)]))(X), ValueError, ["ppermute", "0 to 3"]),
    "shuffle": (lambda: mapped(lambda x: fdl.pshuffle(x, "i", [0, 0, 1, 2]))(X), ValueError, ["pshuffle", "permutation"]),
    "no array": (lambda: mapped(lambda x: fdl.psum({"a": "b"}, "i"))(X), TypeError, ["psum", "'b'"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_messages(name: str) -> None:
    call, kind, parts = ERRORS[name]
    with pytest.raises(kind) as caught:
        call()
    missing = [p for p in parts if p not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    assert "test_collectives.py" in str(caught.value) or kind is TypeError


def test_text() -> None:
    programs = []

    def f(x: Any) -> Any:
        programs.append(fdl.make_ir(lambda v: fdl.ppermute(fdl.psum(v, "i"), "i", PERM) * fdl.axis_index("i"))(x))
        return x

    mapped(f)(X)
    (p,) = programs
    assert parse(str(p)) == p
    assert 'psum[axis="i", lanes=4]' in str(p) and 'axis_index[axis="i", lanes=4]' in str(p)


def test_every_collective_is_linear_or_a_number() -> None:
    for name in COLLECTIVES - {"axis_index"}:
        prim = lookup(name)
        assert prim.jvp and prim.transpose and prim.batch
        with pytest.raises(AxisNameError, match=name):
            prim.reference(np.ones(3), axis="i", lanes=3)


def test_an_axis_is_a_size() -> None:
    axis = Axis(3, "i")
    assert axis == 3 and (axis, 2) == (3, 2) and f"{(axis,)}" == "(3,)" and axis.name == "i"
    again = pickle.loads(pickle.dumps(axis))
    assert again == 3 and again.name == "i"


# --- vmap itself ----------------------------------------------------------------------------------


def test_axes_of_arguments_and_results() -> None:
    a, b = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(4, 3))
    f = fdl.vmap(lambda d, s, *, k: {"u": d["x"] * s, "v": k}, in_axes=[{"x": -2, "y": None}, 1], out_axes={"u": -1, "v": 0})
    out = f({"x": a, "y": 5.0}, b, k=np.arange(3.0))
    close(out["u"], np.moveaxis(np.stack([a[:, i] * b[:, i] for i in range(3)]), 0, -1))
    assert out["v"].tolist() == [0.0, 1.0, 2.0]
    assert fdl.vmap(lambda: 1.0, axis_size=3)().tolist() == [1.0] * 3
    assert tree.leaves(fdl.vmap(lambda x: (x, None, 2.0), out_axes=(0, None, None))(np.ones(2)))[1] == 2.0


def test_sizes_that_differ_are_named() -> None:
    tables = {f"w{k}": np.ones(3) for k in range(9)} | {"bad": np.ones(4)}
    with pytest.raises(ValueError, match=r"10 arguments, such as .*, have 3, but params\['bad'\] has 4") as caught:
        fdl.vmap(lambda params, x: x)(tables, np.ones(3))
    assert "test_collectives.py" in str(caught.value)
