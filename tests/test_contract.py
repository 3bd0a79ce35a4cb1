"""What a compiled call promises: errors, threads, interrupts, re-entrance, callbacks, arguments of every layout, and forks."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import nn, random
from fdl.tracer import tree
from fdl.tracer.errors import DonatedError
from fdl.tracer.ops.convolve import conv
from fdl.tracer.primitive import lookup
from fdl.tracer.trace import bind

F32 = np.float32
HERE = Path(__file__).name


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = fdl.get_num_threads()
    yield
    fdl.set_num_threads(before)


def on_threads(call: Callable[[], Any], counts: tuple[int, ...] = (1, 2, 4)) -> list[Any]:
    """What `call` gives for each number of threads."""
    out = []
    for n in counts:
        fdl.set_num_threads(n)
        out.append(call())
    return out


def message(call: Callable[[], Any]) -> str:
    """The text of the IndexError that `call` raises."""
    with pytest.raises(IndexError) as caught:
        call()
    return str(caught.value)


def line_of(function: Callable[..., Any], offset: int = 1) -> str:
    """The file and line `offset` lines after the one that defines `function`."""
    return f"{HERE}:{function.__code__.co_firstlineno + offset} ({function.__name__})"


# --- index errors ---------------------------------------------------------------------------------

X = np.arange(5, dtype=F32)


def look_up(x: Any, i: Any) -> Any:
    return fnp.tanh(x[i]) * 2


def add_up(x: Any, i: Any) -> Any:
    return x.at[i].add(1.0)


@pytest.mark.parametrize("f", [look_up, add_up])
def test_index_error_in_a_parallel_kernel(f: Callable[..., Any]) -> None:
    i = np.zeros(300_000, np.int32)
    i[[299_999, 200_000, 123_457, 123_456]] = [77, 999, 88, -77]
    g = fdl.jit(f)
    for x, index in ((X, i), (fnp.asarray(X), fnp.asarray(i))):
        texts = on_threads(lambda x=x, index=index: message(lambda: g(x, index)))  # type: ignore[misc]
        assert len(set(texts)) == 1
        assert "index -77 is out of bounds for axis 0 of size 5" in texts[0] and line_of(f) in texts[0]
    i[:] = 4
    assert np.isfinite(np.asarray(g(X, i))).all()


def test_the_first_of_several_failing_equations_is_reported() -> None:
    """In program order, though the later one fails at an earlier element, and both may be one kernel."""

    def f(x: Any, i: Any, j: Any) -> Any:
        y = x[i]
        return y + x[j]

    i, j = np.zeros(200_000, np.int32), np.zeros(200_000, np.int32)
    i[150_000], j[3] = 6, 7
    g = fdl.jit(f)
    texts = on_threads(lambda: message(lambda: g(X, i, j)))
    assert len(set(texts)) == 1 and "index 6 " in texts[0] and line_of(f) in texts[0]
    i[150_000] = 0
    texts = on_threads(lambda: message(lambda: g(X, i, j)))
    assert len(set(texts)) == 1 and "index 7 " in texts[0] and line_of(f, 2) in texts[0]


@pytest.mark.parametrize("width", [1, 7, 3000])
@pytest.mark.parametrize("loop", ["scan", "fori_loop", "while", "reverse", "vmap"])
def test_index_error_in_a_loop(loop: str, width: int) -> None:
    """At the lowest iteration, and there the first in program order; for small and large bodies."""
    x = fnp.asarray(X)
    steps = 40

    def step(i: Any, j: Any) -> Any:
        a = x[i]
        return (a + x[j]).sum()

    def scan(i: Any, j: Any, reverse: bool = False) -> Any:
        return fdl.scan(lambda c, n: (c + step(*n), c), np.zeros((), F32), (i, j), reverse=reverse)[0]

    def fori(i: Any, j: Any) -> Any:
        return fdl.fori_loop(0, i.shape[0], lambda k, c: c + step(i[k], j[k]), np.zeros((), F32))

    def repeated(i: Any, j: Any) -> Any:
        return fdl.while_loop(
            lambda s: s[0] < i.shape[0], lambda s: (s[0] + 1, s[1] + step(i[s[0]], j[s[0]])), (0, np.zeros((), F32))
        )[1]

    g = fdl.jit(
        {
            "scan": scan,
            "fori_loop": fori,
            "while": repeated,
            "reverse": lambda i, j: scan(i[::-1], j[::-1], True),
            "vmap": lambda i, j: fdl.vmap(scan)(i[None], j[None]),
        }[loop]
    )

    def failure(*bad: tuple[str, int, int, int]) -> str:
        indices = {name: np.zeros((steps, width), np.int32) for name in "ij"}
        for name, row, column, value in bad:
            indices[name][row, column] = value
        texts = on_threads(lambda: message(lambda: g(indices["i"], indices["j"])))
        assert len(set(texts)) == 1
        return str(texts[0])

    middle = width // 2
    # One equation fails in several iterations.
    text = failure(("j", 30, 0, 31), ("j", 10, width - 1, 11), ("j", 11, 0, 12))
    assert "index 11 " in text and line_of(step, 2) in text
    # Two equations fail in the same iteration, the later one also at an earlier element.
    text = failure(("i", 10, width - 1, 9), ("j", 10, 0, 11), ("i", 12, 0, 13), ("j", 12, middle, -14))
    assert "index 9 " in text and line_of(step) in text
    if width > 1:
        assert "index -77 " in failure(("i", 10, 0, -77), ("i", 10, width - 1, 9))
    # The very first and last iteration.
    assert "index 5 " in failure(("i", 0, 0, 5), ("j", steps - 1, 0, 6))
    assert "index 6 " in failure(("j", steps - 1, middle, 6))
    i = j = np.zeros((steps, width), np.int32)
    assert float(np.asarray(g(i * 0, j * 0)).sum()) == 0


def test_index_error_beyond_a_traced_bound() -> None:
    def f(n: Any) -> Any:
        x = fnp.asarray(X)
        return fdl.fori_loop(0, n, lambda k, c: c + x[k], np.zeros((), F32))

    g = fdl.jit(f)
    assert float(g(5)) == 10
    assert "index 5 is out of bounds for axis 0 of size 5" in message(lambda: g(9))
    assert float(g(4)) == 6


def test_index_error_in_a_derivative_and_a_branch() -> None:
    def f(x: Any, i: Any, flag: Any) -> Any:
        return fdl.cond(flag, lambda: (x[i] ** 2).sum(), lambda: x.sum())

    g = fdl.jit(fdl.grad(f))
    i = np.array([0, 5, -6], np.int32)
    assert np.asarray(g(X, i, False)).tolist() == [1] * 5
    texts = on_threads(lambda: message(lambda: g(X, i, True)))
    assert len(set(texts)) == 1 and "index 5 " in texts[0]
    assert np.asarray(g(X, i % 5, True)).tolist() == [0, 0, 0, 0, 8]  # elements 0, 0 and 4


# --- donation -------------------------------------------------------------------------------------


def test_a_donated_array_is_gone_after_the_call_also_when_it_failed() -> None:
    """At the first call and at those of the compiled call path, for a whole tree."""
    f = fdl.jit(lambda p, i: {"w": p["w"].at[i].set(0.0), "b": p["b"] + 1}, donate_argnums=0)
    good, bad = np.array([1], np.int32), np.array([9], np.int32)
    for index, again in ((bad, False), (good, False), (good, True), (bad, True)):
        p = {"w": fnp.ones(5), "b": fnp.zeros(3)}
        if index is bad:
            assert "index 9 " in message(lambda p=p: f(p, bad))  # type: ignore[misc]
        else:
            assert np.asarray(f(p, index)["w"]).tolist() == [1, 0, 1, 1, 1]
        for leaf in tree.leaves(p):
            assert leaf.is_deleted(), (index, again)
            with pytest.raises(DonatedError, match=r"donated.*jit") as caught:
                leaf + 1
            assert HERE in str(caught.value)
            with pytest.raises(DonatedError):
                np.asarray(leaf)


def test_a_donated_array_is_no_argument() -> None:
    f = fdl.jit(lambda x: x * 2, donate_argnums=0)
    x = fnp.ones(4)
    f(x)
    for again in (f, fdl.jit(lambda x: x + 1), lambda x: fdl.grad(lambda y: y.sum())(x), lambda x: fnp.sum(x)):
        with pytest.raises(DonatedError, match="donated"):
            again(x)
    assert np.asarray(f(fnp.ones(4))).tolist() == [2] * 4


# --- the same bits for any number of threads ------------------------------------------------------


def mixed(x: Any, image: Any, filters: Any, big: Any, index: Any, key: Any) -> Any:
    y = fnp.tanh(x @ x.T / 17)
    z = conv(image, filters, strides=(1, 2), padding=((1, 1), (1, 1)), lhs_dilation=(1, 1), rhs_dilation=(1, 1))
    k1, k2 = random.split(key)
    noise = random.normal(k1, (300, 301))
    return {
        "matmul": y,
        "conv": z.mean(axis=(0, 1, 2)),
        "sums": (
            big.sum(),
            (big * big).mean(),
            big.max(),
            fnp.logsumexp(big),
            big.reshape(1000, -1).sum(0),
            big.reshape(1000, -1).sum(1),
        ),
        "softmax": nn.softmax(y * 9).sum(axis=0),
        "scatter": fnp.zeros((64, 70)).at[index].add(x[:, :70][index % x.shape[0]]),
        "sort": fnp.sort(noise, axis=-1)[::7].sum(axis=0),
        "argsort": fnp.argsort(big[:70_000]),
        "noise": noise.std(),
        "cumsum": fnp.cumsum(noise, axis=0)[-1],
        "permutation": random.permutation(k2, 5000),
        "scan": fdl.scan(lambda c, row: (fnp.tanh(c * 0.9 + row), (c * row).sum()), y[0], y),
    }


def mixed_arguments() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(257, 190)).astype(F32)
    image, filters = rng.normal(size=(8, 30, 31, 5)).astype(F32), (rng.normal(size=(3, 3, 5, 17)) * 0.2).astype(F32)
    return x, image, filters, rng.normal(size=1_000_000).astype(F32), rng.integers(0, 64, 5000).astype(np.int32), random.key(7)


def test_the_same_bits_for_any_number_of_threads() -> None:
    args = mixed_arguments()

    def loss(x: Any, image: Any, filters: Any, big: Any, index: Any, key: Any) -> Any:
        out = mixed(x, image, filters, big, index, key)
        floats = [v for v in tree.leaves(out) if np.issubdtype(v.dtype, np.floating)]
        return sum((v * v).mean() for v in floats)

    forward, backward = fdl.jit(mixed), fdl.jit(fdl.grad(loss, argnums=(0, 1, 2, 3)))
    runs = on_threads(lambda: [np.asarray(v) for v in tree.leaves((forward(*args), backward(*args)))], (1, 2, 3, 4, 2, 1))
    paths = [tree.path_str(p) for p, _ in tree.flatten_with_paths((forward(*args), backward(*args)))[0]]
    for other in runs[1:]:
        for path, a, b in zip(paths, runs[0], other, strict=True):
            assert a.tobytes() == b.tobytes(), path
    assert all(np.isfinite(v).all() for v in runs[0])


# --- memory ---------------------------------------------------------------------------------------


def test_temporaries_that_share_memory() -> None:
    """Each sum is made in a temporary, and all of those have the same place in the arena, one after another."""
    how: dict[str, Any] = {"window": (), "strides": (), "padding": (), "dilation": (), "op": "max"}
    f = fdl.jit(lambda x, *updates: [bind(lookup("window_scatter"), x, u, **how) for u in updates])
    assert [float(y) for y in f(*map(F32, range(9)))] == list(range(1, 9))


# --- interrupts -----------------------------------------------------------------------------------

INTERRUPTED = """
    import os, signal, sys, threading, time
    import numpy as np
    import fdl, fdl.numpy as fnp

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored

    def step(w, x):
        g = fdl.grad(lambda w: (fnp.tanh(x @ w) ** 2).sum())(w)
        return w - 1e-6 * g, (g * g).sum()

    def scan(w, xs):
        return fdl.scan(lambda c, _: fdl.scan(step, c, xs), w, None, 10**7)

    def endless(w, xs):
        return fdl.while_loop(lambda s: s[0] < 2**60, lambda s: (s[0] + 1, step(s[1], xs[0])[0]), (np.int64(0), w))

    def tiny(w, xs):
        return fdl.while_loop(lambda i: i < 2**60, lambda i: i + 1, np.int64(0))

    size = {"scan": 64, "endless": 256, "tiny": 4}
    rng = np.random.default_rng(0)
    for name in sys.argv[1:]:
        n = size[name]
        w, xs = fnp.asarray(rng.normal(size=(n, n)).astype(np.float32)), fnp.asarray(rng.normal(size=(16, 32, n)).astype(np.float32))
        f = fdl.jit(globals()[name])
        sent = []
        def interrupt():
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        for path in ("first call", "again"):
            f.lower(w, xs).plan  # compiles
            timer = threading.Timer(0.4, interrupt)
            timer.start()
            try:
                f(w, xs)
            except KeyboardInterrupt:
                late = time.perf_counter() - sent[-1]
                assert late < 1, (name, path, late)
            else:
                raise SystemExit(f"{name}, {path}: not interrupted")
            timer.join()
            assert not w.is_deleted()
        # The process goes on, with all its threads.
        y = np.asarray(fdl.jit(lambda w: fnp.tanh(w @ w).sum(0))(w))
        assert np.allclose(y, np.tanh(np.asarray(w) @ np.asarray(w)).sum(0), rtol=1e-3, atol=1e-3)
    print("fine")
"""


def script(body: str, *args: str, **environment: str) -> None:
    """Runs Python code in a process of its own, which must print "fine"."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(body), *args],
        env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip() == "fine", done.stdout + done.stderr[-3000:]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a process of one's own")
@pytest.mark.parametrize("count", ["1", "2"])
def test_ctrl_c_in_a_compiled_epoch(count: str) -> None:
    script(INTERRUPTED, "scan", "endless", "tiny", FDL_NUM_THREADS=count)


# --- re-entrance ----------------------------------------------------------------------------------


def test_two_threads_call_the_same_function() -> None:
    """With different data and results of their own, through the compiled call path and native loops that share one pool."""

    def f(w: Any, x: Any) -> Any:
        y = fnp.tanh(x @ w)
        c, ys = fdl.scan(lambda c, row: (c * 0.5 + row, c.sum()), y[0], y)
        return {"y": y, "c": c, "ys": ys, "s": nn.softmax(x @ w).sum(0)}

    g, small = fdl.jit(f), fdl.jit(lambda x: x * 2 + 1)
    rng = np.random.default_rng(0)
    data = [tuple(fnp.asarray(rng.normal(size=s).astype(F32)) for s in ((96, 96), (300, 96))) for _ in range(3)]
    expected = [[np.asarray(v).tobytes() for v in tree.leaves(g(*d))] for d in data]
    errors: list[str] = []
    start = threading.Barrier(3)

    def work(k: int) -> None:
        start.wait()
        x = fnp.full((7,), float(k))
        for n in range(150):
            if [np.asarray(v).tobytes() for v in tree.leaves(g(*data[k]))] != expected[k]:
                errors.append(f"thread {k}, call {n}")
            if np.asarray(small(x)).tolist() != [2.0 * k + 1] * 7:
                errors.append(f"thread {k}, small call {n}")

    workers = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not errors, errors[:5]


def test_threads_that_trace_and_compile_at_once() -> None:
    fs = [fdl.jit(lambda x, k=k: fnp.sin(x) * (k % 2) + x.sum()) for k in range(4)]
    got: dict[tuple[int, int, int], float] = {}

    def work(t: int) -> None:
        for k, f in enumerate(fs):
            for n in (3, 5):
                got[t, k, n] = float(f(np.ones(n, F32))[0])

    workers = [threading.Thread(target=work, args=(t,)) for t in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for (_, k, n), v in got.items():
        assert v == pytest.approx(np.sin(1.0) * (k % 2) + n, rel=1e-6)
    assert len(got) == 24


# --- callbacks ------------------------------------------------------------------------------------


def test_a_callback_may_call_compiled_functions() -> None:
    """The one that it is called from too, others, eager operations and transformations."""
    other = fdl.jit(lambda x: fnp.cumsum(x * 2))
    depths: list[int] = []

    def host(x: np.ndarray, depth: np.ndarray) -> np.ndarray:
        depths.append(int(depth))
        assert type(x) is np.ndarray
        if depth > 0:
            return np.asarray(f(x, int(depth) - 1)) + 1
        y = np.asarray(other(x)) + np.asarray(fnp.sort(fnp.asarray(x)) @ fnp.eye(4))
        return np.asarray(y + np.asarray(fdl.grad(lambda v: (v * v).sum())(x)), F32)

    @fdl.jit
    def f(x: Any, depth: Any) -> Any:
        y = fdl.pure_callback(host, x, x * 1, depth)
        return y + fnp.exp(x - x)

    x = np.array([3, 1, 2, 0], F32)
    base = np.cumsum(2 * x) + np.sort(x) + 2 * x
    for _ in range(3):
        depths.clear()
        assert np.asarray(f(x, 3)).tolist() == (base + 3 + 4).tolist()
        assert depths == [3, 2, 1, 0]


def test_a_callback_inside_a_loop_and_under_vmap() -> None:
    seen: list[float] = []

    def host(c: np.ndarray) -> np.ndarray:
        seen.append(float(c))
        return np.asarray(c * 2 + np.asarray(fdl.jit(lambda v: v + 1)(c)), F32)

    f = fdl.jit(lambda x: fdl.scan(lambda c, _: (fdl.pure_callback(host, c, c) - c, c), x, None, 4))
    c, ys = f(np.array(1, F32))
    assert float(c) == 31 and np.asarray(ys).tolist() == [1, 3, 7, 15] and seen == [1, 3, 7, 15]
    g = fdl.jit(fdl.vmap(lambda x: fdl.pure_callback(host, x, x)))
    assert np.asarray(g(np.array([0, 1, 2], F32))).tolist() == [1, 4, 7]


class OwnError(Exception):
    """Raised in a callback."""


def test_an_exception_in_a_callback_arrives_as_it_is() -> None:
    calls: list[int] = []

    def host(x: np.ndarray) -> np.ndarray:
        calls.append(1)
        if x.sum() < 0:
            raise OwnError("from the callback", 42)
        return x * 2

    f = fdl.jit(lambda x: fdl.pure_callback(host, x, x).sum())
    loop = fdl.jit(lambda x: fdl.scan(lambda c, _: (fdl.pure_callback(host, c, c) - 3, None), x, None, 100)[0])
    for _ in range(3):
        with pytest.raises(OwnError) as caught:
            f(np.full(3, -1, F32))
        assert caught.value.args == ("from the callback", 42)
        assert any(entry.name == "host" for entry in caught.traceback)
        assert float(f(np.ones(3, F32))) == 6
        calls.clear()
        with pytest.raises(OwnError):
            loop(np.full(2, 2, F32))
        assert len(calls) == 3  # 2, 1, -1
        assert np.asarray(loop(np.full(2, 3, F32))).tolist() == [3, 3]


def test_a_callback_that_returns_something_else() -> None:
    f = fdl.jit(lambda x: fdl.pure_callback(lambda v: v[:1], x, x))
    with pytest.raises(ValueError, match=r"expected f32\[3\]"):
        f(np.ones(3, F32))


def test_an_index_error_inside_a_callback_and_one_after_it() -> None:
    inner = fdl.jit(lambda x, i: x[i])
    outer = fdl.jit(lambda x, i: fdl.pure_callback(lambda v, k: np.asarray(inner(v, k)), x[0], x, i) + x[i + 1])
    with pytest.raises(IndexError, match="index 7 "):
        outer(X, 7)
    with pytest.raises(IndexError, match="index 5 "):
        outer(X, 4)
    assert float(outer(X, 2)) == 5


# --- arguments ------------------------------------------------------------------------------------


def test_numpy_arguments_may_change_after_the_call() -> None:
    """Results, residuals, arrays made of them, and what was closed over are not views of the user's memory."""
    x = np.arange(6, dtype=F32)
    original = x.copy()
    identity = fdl.jit(lambda x: (x, x.reshape(2, 3), x * 1, x[2:]))
    results = [identity(x) for _ in range(3)]
    array, eager = fnp.asarray(x), fnp.reshape(x, (3, 2))
    y, pull = fdl.vjp(lambda x: (fnp.sin(x), x * x), x)
    jitted_y, jitted_pull = fdl.vjp(fdl.jit(lambda x: (fnp.sin(x), x * x)), x)
    linear_y, push = fdl.linearize(lambda x: x * x, x)
    value, slope = fdl.jit(fdl.value_and_grad(lambda x: (x * x).sum()))(x)
    x[:] = -1000
    for r in results:
        for leaf in r:
            assert (np.asarray(leaf) >= 0).all()
        assert np.asarray(r[0]).tolist() == original.tolist() and np.asarray(r[3]).tolist() == original[2:].tolist()
    assert np.asarray(array).tolist() == original.tolist() == np.asarray(eager).ravel().tolist()
    for out, p in ((y, pull), (jitted_y, jitted_pull)):
        np.testing.assert_allclose(out[0], np.sin(original), rtol=1e-6)
        (ct,) = p((np.ones(6, F32), np.ones(6, F32)))
        np.testing.assert_allclose(ct, np.cos(original) + 2 * original, rtol=1e-6)
    assert np.asarray(push(np.ones(6, F32))).tolist() == (2 * original).tolist()
    assert np.asarray(linear_y).tolist() == (original**2).tolist() and float(value) == 55
    assert np.asarray(slope).tolist() == (2 * original).tolist()


def test_what_a_result_shows_cannot_be_written() -> None:
    y = fdl.jit(lambda x: x + 1)(np.zeros(4, F32))
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(y)[0] = 3
    assert np.asarray(y).tolist() == [1] * 4


def layouts(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """`x` in every kind of memory."""
    yield "plain", x
    wide = np.zeros(tuple(3 * n for n in x.shape), x.dtype)
    wide[tuple(slice(1, None, 3) for _ in x.shape)] = x
    yield "strided", wide[tuple(slice(1, None, 3) for _ in x.shape)]
    yield "fortran", np.asfortranarray(x)
    yield "reversed", x[::-1].copy()[::-1]
    raw = np.zeros(x.nbytes + 1, np.uint8)
    odd = raw[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    assert x.itemsize == 1 or not odd.flags.aligned
    yield "misaligned", odd
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "broadcast", np.broadcast_to(x, (1, *x.shape))[0]
    yield "subclass", x.view(np.ma.MaskedArray).data


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int64, np.bool_])
def test_arguments_in_any_layout(dtype: Any) -> None:
    x = (np.arange(20).reshape(4, 5) % 7).astype(dtype)
    f = fdl.jit(lambda x: (x, fnp.where(x > 1, x, x.T.reshape(4, 5)), x.sum()))
    first = [np.asarray(v) for v in f(x)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # the slow path, and the compiled one
            for name, given in layouts(x):
                for a, b in zip(first, f(given), strict=True):
                    assert a.tobytes() == np.asarray(b).tobytes() and a.dtype == b.dtype, name
                assert np.asarray(fnp.asarray(given)).tobytes() == x.tobytes(), name
                assert np.array_equal(given, x), name


def test_byte_swapped_arguments() -> None:
    """They are copied on entry, in calls as in single operations."""
    x = np.linspace(-1, 1, 7, dtype=np.float32)
    swapped = x.astype(x.dtype.newbyteorder())
    f = fdl.jit(lambda a, b: a * b)
    for _ in range(2):
        assert np.asarray(f(x, swapped)).tolist() == (x * x).tolist()
        assert np.asarray(f(x, fnp.asarray(swapped))).tolist() == (x * x).tolist()
    assert np.asarray(fnp.sin(swapped) + swapped).tobytes() == np.asarray(fnp.sin(x) + x).tobytes()


def test_arrays_without_elements() -> None:
    def f(x: Any, w: Any, i: Any) -> Any:
        c, ys = fdl.scan(lambda c, row: (c + row.sum(), row * 2), np.zeros((), F32), x)
        return {
            "map": fnp.tanh(x) + 1, "sum": x.sum(), "axis": x.sum(0), "matmul": x @ w, "thin": w.T @ x.T @ x,
            "scan": (c, ys), "gather": w[i], "scatter": w.at[i].add(1.0), "sort": fnp.sort(x, axis=0), "flip": x[::-1],
            "join": fnp.concatenate([x, x]), "normal": random.normal(random.key(0), (0, 3)), "prod": fnp.prod(x),
        }  # fmt: skip

    x, w, i = np.zeros((0, 4), F32), np.ones((4, 3), F32), np.zeros(0, np.int32)
    g = fdl.jit(f)
    for _ in range(3):
        out = g(x, w, i)
        shapes = tree.map(lambda v: v.shape, out)
        assert (
            shapes["map"] == (0, 4) and shapes["matmul"] == (0, 3) and shapes["thin"] == (3, 4) and shapes["gather"] == (0, 3)
        )
        assert float(out["sum"]) == 0 and float(out["prod"]) == 1 and np.asarray(out["thin"]).tolist() == [[0] * 4] * 3
        assert np.asarray(out["scatter"]).tolist() == w.tolist() and float(out["scan"][0]) == 0
    slope = fdl.jit(fdl.grad(lambda w, x: (x @ w).sum() + (w * w).sum()))(w, x)
    assert np.asarray(slope).tolist() == (2 * w).tolist()
    empty = np.zeros((3, 0), F32)
    assert np.asarray(fdl.jit(lambda a: a.sum(1))(empty)).tolist() == [0] * 3
    assert np.asarray(fdl.jit(fdl.vmap(lambda r: r * 2))(x)).shape == (0, 4)
    with pytest.raises(IndexError, match="size 0"):
        fdl.jit(lambda a, k: a[k])(np.zeros(0, F32), np.array([0]))


# --- nesting --------------------------------------------------------------------------------------


def test_jit_of_jit_of_grad_of_jit() -> None:
    inner = fdl.jit(lambda x: (fnp.sin(x) * x).sum())
    f = fdl.jit(fdl.jit(fdl.grad(inner)))
    x = np.linspace(-2, 2, 9)
    for _ in range(3):
        np.testing.assert_allclose(f(x), np.cos(x) * x + np.sin(x), rtol=1e-12, atol=1e-14)
    g = fdl.jit(fdl.vmap(fdl.jit(fdl.grad(fdl.jit(fdl.grad(fdl.jit(lambda x: fdl.jit(fnp.sin)(x) * x)))))))
    np.testing.assert_allclose(g(x), 2 * np.cos(x) - x * np.sin(x), rtol=1e-12, atol=1e-14)


def test_a_jitted_function_that_calls_itself_with_a_static_depth() -> None:
    @fdl.jit
    def leaf(x: Any) -> Any:
        return x * 2

    def power(x: Any, n: int) -> Any:
        return leaf(x) if n == 0 else again(x, n - 1) * x

    again = fdl.jit(power, static_argnums=1)
    assert float(again(3.0, 4)) == 2 * 3.0**5
    assert float(fdl.grad(again)(3.0, 4)) == 2 * 5 * 3.0**4


# --- forks ----------------------------------------------------------------------------------------


def _in_a_child(queue: Any, f: Any, args: tuple[Any, ...], expected: bytes) -> None:
    ok = [np.asarray(v).tobytes() for v in tree.leaves(f(*args))]
    fresh = fdl.jit(lambda x: fnp.tanh(x @ x.T).sum(0))(np.eye(300, dtype=F32))
    queue.put((b"".join(ok) == expected, bool(np.isfinite(np.asarray(fresh)).all())))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # fork with threads, from 3.12 on
def test_a_forked_child_calls_compiled_functions() -> None:
    fdl.set_num_threads(3)
    f, args = fdl.jit(mixed), mixed_arguments()
    expected = b"".join(np.asarray(v).tobytes() for v in tree.leaves(f(*args)))
    context = multiprocessing.get_context("fork")
    for _ in range(2):
        queue: Any = context.Queue()
        child = context.Process(target=_in_a_child, args=(queue, f, args, expected))
        child.start()
        assert queue.get(timeout=20) == (True, True)
        child.join(20)
        assert child.exitcode == 0
        assert b"".join(np.asarray(v).tobytes() for v in tree.leaves(f(*args))) == expected
