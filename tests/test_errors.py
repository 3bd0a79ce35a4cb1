"""What a user sees who writes a wrong program: the message's parts, the line, and that nothing is left broken."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer.errors import FdlError
from fdl.tracer.trace import is_evaluating

X = np.arange(6, dtype=np.float32).reshape(2, 3)
leaks: list[Any] = []


def leak_then_use() -> Any:
    fdl.jit(lambda x: leaks.append(x * 2))(1.0)
    return leaks.pop() + 1.0


def leak_into_another_trace() -> Any:
    fdl.jit(lambda x: leaks.append(fnp.sin(x)))(1.0)
    return fdl.jit(lambda y: y + leaks.pop())(1.0)


def leak_from_grad() -> Any:
    fdl.grad(lambda x: (leaks.append(x), x)[1])(1.0)
    return leaks.pop() * 2.0


def leak_from_vmap() -> Any:
    fdl.vmap(lambda x: (leaks.append(x), x)[1])(fnp.ones(3))
    return leaks.pop() * 2.0


def leak_from_scan() -> Any:
    fdl.scan(lambda c, x: (leaks.append(c), (c, x))[1], 0.0, fnp.ones(3))
    return fnp.exp(leaks.pop())


def loss(params: Any, x: Any) -> Any:
    return (x @ params["w"]).sum()


def read_donated() -> Any:
    x = fnp.ones(3)
    fdl.jit(lambda v: v + 1, donate_argnums=0)(x)
    return x + 1


def branch(x: Any) -> Any:
    if x > 0:
        return x
    return -x


def by_name(f: Callable[..., Any], name: str) -> Callable[..., Any]:
    f.__name__ = name
    return f


GOOD = {"w": fnp.ones((3, 2))}
# name: (what is called, the exception's built-in type, parts of the message)
TABLE: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    # shapes
    "broadcast": (lambda: fnp.ones((2, 3)) + fnp.ones((2,)), ValueError, ["add", "(2, 3)", "(2,)", "do not broadcast"]),
    "matmul": (lambda: X @ fnp.ones((2, 3)), ValueError, ["matmul", "(2, 3)", "3 columns", "2 rows"]),
    "matmul of a scalar": (lambda: fnp.matmul(fnp.ones(3), 2.0), ValueError, ["matmul", "scalar"]),
    "matmul in jit": (lambda: fdl.jit(lambda a, b: a @ b)(X, X), ValueError, ["matmul", "inner sizes differ", "(2, 3)"]),
    "reshape": (lambda: fnp.ones(6).reshape(4, -1), ValueError, ["reshape", "(6,)", "(4, -1)"]),
    "reshape fixed": (lambda: fnp.ones(6).reshape(4, 2), ValueError, ["reshape", "(6,)", "(4, 2)"]),
    "axis": (lambda: fnp.sum(X, axis=2), ValueError, ["sum", "axis 2", "2 axes"]),
    "axes repeat": (lambda: fnp.sum(X, axis=(0, -2)), ValueError, ["sum", "repeat"]),
    "concatenate": (lambda: fnp.concatenate([X, fnp.ones((2, 4))], 0), ValueError, ["concatenate", "(2, 3)", "(2, 4)"]),
    "stack": (lambda: fnp.stack([X, fnp.ones(2)]), ValueError, ["stack", "(2, 3)", "(2,)"]),
    "einsum": (lambda: fnp.einsum("ij,jk->ik", X, X), ValueError, ["einsum", "'j'", "3", "2"]),
    "empty max": (lambda: fnp.max(fnp.ones((0, 3)), axis=0), ValueError, ["max", "(0, 3)", "empty"]),
    "ragged": (lambda: fnp.asarray([[1.0], [1.0, 2.0]]), ValueError, ["ragged"]),
    "broadcast_to": (lambda: fnp.broadcast_to(X, (3, 2)), ValueError, ["(2, 3)", "(3, 2)"]),
    "at set": (lambda: fnp.zeros(3).at[0:2].set(fnp.ones(3)), ValueError, ["(3,)", "(2,)"]),
    # dtypes and kinds of arguments
    "not an array": (lambda: fdl.jit(loss)({"w": "text"}, X), TypeError, ["jit(loss)", "params['w']", "'text'", "str"]),
    "not an array under grad": (lambda: fdl.grad(loss)({"w": [None, {}, object]}, X), TypeError, ["grad(loss)", "params['w'][2]"]),
    "not an array under vmap": (lambda: fdl.vmap(loss)(GOOD, "abc"), TypeError, ["vmap(loss)", "x", "'abc'"]),
    "a NumPy array of objects": (lambda: fdl.jit(loss)({"w": np.array([{}])}, X), TypeError, ["params['w']", "dtype object"]),
    "an output that is no array": (lambda: fdl.jit(lambda x: {"a": [x, "no"]})(1.0), TypeError, ["output['a'][1]", "'no'"]),
    "integer gradient": (lambda: fdl.grad(loss)({"w": np.ones((3, 2), int)}, X), TypeError, ["grad(loss)", "params['w']",
        "int64", "argnums"]),
    "a gradient of a vector": (lambda: fdl.grad(lambda x: x * 2)(X), ValueError, ["grad", "scalar", "(2, 3)"]),
    "a gradient of a tree": (lambda: fdl.grad(lambda x: (x, x))(1.0), ValueError, ["grad", "one scalar", "has_aux"]),
    "a gradient of an integer": (lambda: fdl.grad(lambda x: fnp.argmax(x))(X), TypeError, ["grad", "int32"]),
    "has_aux": (lambda: fdl.grad(by_name(lambda x: x, "f"), has_aux=True)(1.0), TypeError, ["f", "has_aux", "(output, aux)"]),
    "argnums": (lambda: fdl.grad(loss, argnums=2)(GOOD, X), ValueError, ["grad(loss)", "argnums=2", "2 positional"]),
    "no function": (lambda: fdl.grad(3), TypeError, ["grad", "function", "3"]),
    "jit of no function": (lambda: fdl.jit([1]), TypeError, ["jit", "function", "[1]"]),
    "complex to real": (lambda: fnp.asarray(1j, "f32"), TypeError, ["complex", "float32"]),
    "unknown dtype": (lambda: fnp.ones(3, "f31"), TypeError, ["f31"]),
    "bitwise on floats": (lambda: fnp.ones(3) & 1.0, TypeError, ["and", "float32"]),
    "an index that is a float": (lambda: fnp.ones(3)[1.0], TypeError, ["index", "integer"]),
    "assignment": (lambda: fnp.ones(3).__setitem__(0, 1.0), TypeError, ["immutable", ".at[index].set"]),
    # tracers
    "bool of a tracer": (lambda: fdl.jit(branch)(1.0), TypeError, ["bool()", "jit(branch)", "fdl.cond", "static_argnums"]),
    "bool under vmap": (lambda: fdl.vmap(branch)(fnp.ones(3)), TypeError, ["bool()", "vmap(branch)", "where"]),
    "float of a tracer": (lambda: fdl.jit(lambda x: float(x))(1.0), TypeError, ["float()", "static"]),
    "index by a tracer": (lambda: fdl.jit(lambda i: [1, 2][i])(1), TypeError, ["index", "static"]),
    "range of a tracer": (lambda: fdl.jit(lambda n: list(range(n)))(3), TypeError, ["index", "static"]),
    "NumPy on a tracer": (lambda: fdl.jit(lambda x: np.linalg.norm(x))(X), TypeError, ["norm", "fdl.numpy"]),
    "asarray of a tracer": (lambda: fdl.jit(lambda x: np.asarray(x))(X), TypeError, ["NumPy array", "fdl.numpy"]),
    "a NumPy array indexed by a tracer": (lambda: fdl.jit(lambda i: X[i])(1), TypeError, ["fdl.numpy.asarray(x)[i]"]),
    "a traced mask": (lambda: fdl.jit(lambda x: x[x > 1])(X), TypeError, ["mask", "where"]),
    "leak from jit": (leak_then_use, RuntimeError, ["escaped from jit", "made at", "leak_then_use"]),
    "leak between traces": (leak_into_another_trace, RuntimeError, ["escaped from jit", "made at"]),
    "leak from grad": (leak_from_grad, RuntimeError, ["escaped from grad"]),
    "leak from vmap": (leak_from_vmap, RuntimeError, ["escaped from vmap"]),
    "leak from scan": (leak_from_scan, RuntimeError, ["escaped from scan"]),
    # jit
    "donated": (read_donated, RuntimeError, ["donated", "jit", "read_donated", "donate_argnums"]),
    "unhashable static": (
        lambda: fdl.jit(by_name(lambda x, sizes: x, "f"), static_argnums=1)(1.0, [2]), TypeError, ["jit(f)", "sizes", "[2]",
            "list", "tuple"],
    ),
    "unhashable static by name": (
        lambda: fdl.jit(by_name(lambda x, sizes: x, "f"), static_argnames="sizes")(1.0, sizes={}), TypeError, ["sizes", "{}", "hashable"],
    ),
    "a dict with keys of two types": (lambda: fdl.jit(lambda d: 1.0)({1: 2.0, "a": 3.0}), ValueError, ["keys", "sortable"]),
    "too large an int": (lambda: fdl.jit(lambda x: x)(2**70), OverflowError, ["64 bits"]),
    "backend": (lambda: setattr(fdl.config, "backend", "gpu"), ValueError, ["backend", "llvm", "'gpu'"]),
    "jit backend": (lambda: fdl.jit(lambda x: x, backend="gpu")(1.0), ValueError, ["backend", "llvm", "'gpu'"]),
    # vmap
    "vmap sizes": (lambda: fdl.vmap(lambda a, b: a)(fnp.ones(3), {"k": fnp.ones(4)}), ValueError, ["a has 3", "b['k'] has 4"]),
    "vmap of a scalar": (lambda: fdl.vmap(lambda a: a)(1.0), ValueError, ["argument a", "()", "axis 0"]),
    "vmap axis": (lambda: fdl.vmap(lambda a: a, in_axes=2)(X), ValueError, ["argument a", "(2, 3)", "axis 2"]),
    "vmap number of axes": (lambda: fdl.vmap(lambda a, b: a, in_axes=(0,))(X, X), ValueError, ["in_axes has 1", "2 positional"]),
    "vmap nested axes": (lambda: fdl.vmap(loss, in_axes=({"v": 0}, 0))(GOOD, X), ValueError, ["in_axes", "params"]),
    "vmap nothing": (lambda: fdl.vmap(lambda a: a, in_axes=None)(X), ValueError, ["nothing is mapped", "axis_size"]),
    "vmap list": (lambda: fdl.vmap(lambda a: a, in_axes=[0])(X), TypeError, ["in_axes", "list"]),
    "vmap out_axes": (lambda: fdl.vmap(lambda a: a, out_axes=None)(X), ValueError, ["out_axes", "None"]),
    "vmap out axis": (lambda: fdl.vmap(lambda a: a, out_axes=3)(X), ValueError, ["out_axes=3", "2 axes"]),
    # jvp and vjp
    "jvp tangent": (lambda: fdl.jvp(lambda x: x, (X,), (fnp.ones(3),)), ValueError, ["tangent", "(3,)", "(2, 3)"]),
    "jvp tree": (lambda: fdl.jvp(loss, (GOOD, X), ({"v": 1.0}, X)), ValueError, ["tangents", "'w'"]),
    "jvp dtype": (lambda: fdl.jvp(lambda x: x, (X,), (X.astype("f8"),)), TypeError, ["float64", "float32"]),
    "jvp tuple": (lambda: fdl.jvp(lambda x: x, 1.0, 1.0), TypeError, ["tuples"]),
    "cotangent": (lambda: fdl.vjp(lambda x: {"y": x}, X)[1](X), ValueError, ["cotangent", "'y'"]),
    "cotangent shape": (lambda: fdl.vjp(lambda x: x, X)[1](X.T), ValueError, ["cotangent", "(3, 2)", "(2, 3)"]),
    "reverse through while": (
        lambda: fdl.grad(lambda x: fdl.while_loop(lambda s: s < 9.0, lambda s: s * 2, x))(1.0), RuntimeError, ["while_loop",
            "fdl.scan", "jvp"],
    ),
    # control flow
    "cond pred": (lambda: fdl.cond(X > 1, lambda: 1, lambda: 2), ValueError, ["cond", "scalar", "(2, 3)", "where"]),
    "cond shapes": (lambda: fdl.cond(True, by_name(lambda: X, "yes"), by_name(lambda: X[0], "no")), ValueError, ["cond",
        "yes", "f32[2,3]", "no", "f32[3]"]),
    "cond dtypes": (lambda: fdl.cond(True, lambda: X, lambda: X > 1), ValueError, ["cond", "f32[2,3]", "bool[2,3]"]),
    "cond structures": (lambda: fdl.cond(True, lambda: {"a": 1.0}, lambda: [1.0]), ValueError, ["cond", "structures"]),
    "switch index": (lambda: fdl.switch(0.5, [lambda: 1.0]), TypeError, ["switch", "integer"]),
    "switch empty": (lambda: fdl.switch(0, []), ValueError, ["switch", "at least one"]),
    "scan shapes": (lambda: fdl.scan(by_name(lambda c, x: (c[:1], x), "f"), fnp.ones(2), X), ValueError, ["scan", "f", "f32[2]", "f32[1]"]),
    "scan dtypes": (lambda: fdl.scan(lambda c, x: (c > 0, x), fnp.ones(2), X), ValueError, ["scan", "f32[2]", "bool[2]"]),
    "scan structure": (lambda: fdl.scan(lambda c, x: ({"b": c["a"]}, x), {"a": 1.0}, X), ValueError, ["scan", "carry", "'a'"]),
    "scan pair": (lambda: fdl.scan(lambda c, x: c, 0.0, X), ValueError, ["scan", "pair"]),
    "scan lengths": (lambda: fdl.scan(lambda c, x: (c, None), 0.0, {"a": X, "b": X.T}), ValueError, ["xs['a']: 2", "xs['b']: 3"]),
    "scan nothing": (lambda: fdl.scan(lambda c, x: (c, None), 0.0), ValueError, ["scan", "length"]),
    "scan scalar": (lambda: fdl.scan(lambda c, x: (c, None), 0.0, 1.0), ValueError, ["xs", "0-d"]),
    "while test": (lambda: fdl.while_loop(lambda s: s, lambda s: s, 1.0), TypeError, ["while_loop", "one bool", "f32[]"]),
    "while carry": (lambda: fdl.while_loop(lambda s: s.sum() > 0, lambda s: s[:1], fnp.ones(3)), ValueError, ["while_loop",
        "f32[3]", "f32[1]"]),
    "fori bounds": (lambda: fdl.fori_loop(0, "x", lambda i, c: c, 0.0), TypeError, ["fori_loop", "'x'"]),
    "fori float bounds": (lambda: fdl.fori_loop(0, 2.5, lambda i, c: c, 0.0), TypeError, ["fori_loop", "2.5"]),
    "in a loop's body": (lambda: fdl.scan(lambda c, x: (c + x @ c, x), fnp.ones(2), X), ValueError, ["matmul", "(3,)", "(2,)"]),
    # indices
    "index": (lambda: fnp.ones(3)[3], IndexError, ["index 3", "axis 0", "size 3"]),
    "index static array": (lambda: X[0][fnp.asarray([0])] + fnp.ones((2, 3))[:, np.array([0, -4])], IndexError, ["index -4",
        "axis 1", "size 3"]),
    "index array": (lambda: fnp.ones((2, 3))[fnp.asarray([0, 2])], IndexError, ["index 2", "axis 0", "size 2"]),
    "too many": (lambda: fnp.ones(3)[0, 0], IndexError, ["too many", "2", "(3,)"]),
    "index in jit": (lambda: fdl.jit(lambda x, i: x[i])(fnp.ones(3), 7), IndexError, ["index 7", "axis 0", "size 3"]),
    "update in jit": (lambda: fdl.jit(lambda x, i: x.at[i].set(1.0))(fnp.ones(3), -4), IndexError, ["index", "axis 0", "size 3"]),
    "index mode": (lambda: fnp.ones(3).at[0].get(mode="never"), ValueError, ["mode", "'never'", "clip"]),
    "callback shape": (lambda: fdl.pure_callback(by_name(lambda x: x[:1], "g"), X, X), ValueError, ["pure_callback(g)",
        "(1, 3)", "f32[2,3]"]),
    "eval_shape": (lambda: fdl.eval_shape(loss, {"w": object()}, X), TypeError, ["loss", "params['w']"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_messages(name: str) -> None:
    call, kind, parts = TABLE[name]
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    missing = [p for p in parts if p not in message]
    assert not missing, f"{missing} not in: {message}"
    # Every error of fdl's own that is raised on the way through the user's code names the user's line.
    if (
        isinstance(caught.value, FdlError)
        and "sortable" not in message
        and "pure_callback" not in message
        and "while_loop has" not in message
    ):
        assert "test_errors.py" in message, message
    # And nothing is left broken.
    assert is_evaluating() and not leaks
    assert float(fdl.jit(lambda x: fdl.grad(lambda v: v * v)(x))(3.0)) == 6.0
    assert (fnp.ones(2) + 1.0).tolist() == [2.0, 2.0]


def test_the_table_is_large() -> None:
    assert len(TABLE) >= 25


def line_of(f: Callable[..., Any], text: str) -> int:
    lines, start = inspect.getsourcelines(f)
    return start + next(i for i, line in enumerate(lines) if text in line)


def test_the_line_is_the_user_s_own() -> None:
    def model(x: Any) -> Any:
        y = fnp.sin(x)
        z = y @ fnp.ones((4, 4))  # the wrong line
        return z.sum()

    line = line_of(test_the_line_is_the_user_s_own, "# the wrong line")
    for f in (model, fdl.jit(model), fdl.grad(model), fdl.vmap(model), fdl.jit(fdl.vmap(fdl.grad(model)))):
        with pytest.raises(ValueError, match=rf"test_errors\.py:{line} \(model\)"):
            f(fnp.ones((2, 3)) if f is not model else X)


def test_the_leak_names_where_it_was_made() -> None:
    def f(x: Any) -> Any:
        leaks.append(fnp.exp(x))  # made here
        return x

    fdl.jit(f)(1.0)
    with pytest.raises(
        RuntimeError, match=rf"made at .*test_errors\.py:{line_of(test_the_leak_names_where_it_was_made, '# made here')}"
    ):
        leaks.pop() + 1.0


# --- bad indices in compiled code -----------------------------------------------------------------


def lookup_rows(table: Any, indices: Any) -> Any:
    def step(total: Any, i: Any) -> Any:
        row = table[i]  # out of bounds
        return total + row.sum(), row

    return fdl.scan(step, 0.0, indices)


@pytest.fixture
def restore_threads() -> Any:
    before = fdl.get_num_threads()
    yield
    fdl.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_index_error_in_a_compiled_loop(threads: int, restore_threads: Any) -> None:
    fdl.set_num_threads(threads)
    f = fdl.jit(lookup_rows)
    table = fnp.ones((5, 3))
    line = line_of(lookup_rows, "# out of bounds")
    for _ in range(3):
        with pytest.raises(IndexError) as e:
            f(table, np.array([0, 4, 9, 7], np.int32))
        assert "index 9" in str(e.value) and "axis 0" in str(e.value) and "size 5" in str(e.value)
        assert f"test_errors.py:{line} (step)" in str(e.value)
        assert float(f(table, np.array([0, 4, -1, 1], np.int32))[0]) == 12.0


@pytest.mark.parametrize("threads", [1, 2])
def test_index_error_in_a_parallel_kernel(threads: int, restore_threads: Any) -> None:
    """The error is that of the first bad element, whichever thread meets one first."""
    fdl.set_num_threads(threads)
    f = fdl.jit(lambda x, i: fnp.sqrt(x[i]) * 2)
    i = np.zeros(300_000, np.int32)
    i[[70_001, 150_000, 299_999]] = [11, 22, 33]
    for _ in range(5):
        with pytest.raises(IndexError, match=r"index 11 is out of bounds for axis 0 of size 10\b"):
            f(fnp.ones(10), i)
    assert f(fnp.ones(10), i * 0).shape == i.shape


def test_the_same_error_everywhere() -> None:
    indices = np.array([1, -6, 9], np.int32)
    messages = set()
    for run in (lookup_rows, fdl.jit(lookup_rows), fdl.jit(lookup_rows, backend="reference")):
        with pytest.raises(IndexError) as e:
            run(fnp.ones((5, 3)), indices)
        assert f"test_errors.py:{line_of(lookup_rows, '# out of bounds')} (step)" in str(e.value)
        messages.add(str(e.value).split(" of size 5")[0])
    assert messages == {"gather: index -6 is out of bounds for axis 0"}


def test_the_first_error_in_program_order() -> None:
    f = fdl.jit(lambda x, i, j: (x[i] + 1, x[j] * 2))
    for _ in range(2):
        with pytest.raises(IndexError, match="index 5 "):
            f(fnp.ones(3), 5, 6)
        with pytest.raises(IndexError, match="index 6 "):
            f(fnp.ones(3), 1, 6)


def test_donated_arrays_after_a_failure() -> None:
    f = fdl.jit(lambda x, i: x.at[i].set(0.0), donate_argnums=0)
    for _ in range(2):  # the first call, and one on the compiled path
        x = fnp.ones(3)
        with pytest.raises(IndexError):
            f(x, 5)
        assert x.is_deleted()
        with pytest.raises(RuntimeError, match="donated"):
            x.sum()
        assert f(fnp.ones(3), 1).tolist() == [1.0, 0.0, 1.0]


# --- nothing left broken --------------------------------------------------------------------------


def test_an_exception_of_the_user_s_own_passes_through() -> None:
    class Mine(Exception):
        pass

    def bad(x: Any) -> Any:
        raise Mine("mine")

    for f in (fdl.jit(bad), fdl.grad(bad), fdl.vmap(bad), fdl.jit(fdl.grad(fdl.jit(bad))), fdl.make_ir(bad),
              lambda x: fdl.scan(lambda c, v: bad(c), 0.0, x), lambda x: fdl.cond(True, bad, bad, x),
              lambda x: fdl.jvp(bad, (x,), (x,)), lambda x: fdl.jit(lambda v: fdl.pure_callback(bad, v, v))(x)):  # fmt: skip
        with pytest.raises(Mine, match="mine"):
            f(fnp.ones(3))
        assert is_evaluating()


def test_a_failed_trace_is_not_remembered() -> None:
    tries = []

    def flaky(x: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise KeyError("first")
        return x * 2

    f = fdl.jit(flaky)
    with pytest.raises(KeyError):
        f(2.0)
    assert float(f(2.0)) == 4.0


def test_arguments_nested_otherwise() -> None:
    f = fdl.jit(loss)
    f(GOOD, X)
    with pytest.raises(TypeError):
        f([fnp.ones((3, 2))], X)  # the function's own error: list indices must be integers
    with pytest.raises(KeyError):
        f({"v": fnp.ones((3, 2))}, X)
    assert float(f(GOOD, X)) == 30.0
