"""Types in the place of arrays: `eval_shape`, `ShapeDtypeStruct`, ahead-of-time compilation; types and ordered dicts in pytrees."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree
from fdl.tracer.errors import DTypeError, ShapeError


@dataclass
class Like:
    """What other libraries describe arrays with."""

    shape: tuple[int, ...]
    dtype: Any


class Duck:
    shape, dtype = (2, 3), np.dtype("float16")


def test_a_type_is_what_eval_shape_returns() -> None:
    t = fdl.ShapeDtypeStruct([2, np.int64(3)], float)
    assert t == fdl.eval_shape(lambda: fnp.zeros((2, 3))) and (t.shape, t.dtype, t.ndim, t.size) == ((2, 3), "float32", 2, 6)
    assert fdl.eval_shape(fnp.matmul, t, fdl.ShapeDtypeStruct((3,), "f8")) == fdl.ShapeDtypeStruct((2,), "float64")


def test_what_has_a_shape_and_a_dtype_stands_for_an_array() -> None:
    assert fdl.eval_shape(lambda d: d["x"].sum(0), {"x": Duck()}) == fdl.ShapeDtypeStruct((3,), "float16")
    (x_bar,) = fdl.linear_transpose(lambda x: 2 * x.sum(0), Duck())(fnp.ones(3, "float16"))
    assert x_bar.shape == (2, 3) and x_bar.dtype == "float16" and (np.asarray(x_bar) == 2).all()


def test_lowering_without_arrays() -> None:
    params = {"w": fdl.ShapeDtypeStruct((3, 2), "float32"), "b": fdl.ShapeDtypeStruct((2,), "float32")}
    f = fdl.jit(lambda p, x, n: (x @ p["w"] + p["b"]) * n, static_argnames="n")
    lowered = f.lower(params, Duck(), n=2)
    compiled = lowered.compile()
    assert lowered.out_types == fdl.ShapeDtypeStruct((2, 2), "float32")
    assert lowered.as_text() == str(lowered.program)
    arrays = {"w": fnp.ones((3, 2)), "b": fnp.ones(2)}
    x = fnp.ones((2, 3), "float16")
    assert compiled(arrays, x).tolist() == f(arrays, x, n=2).tolist() == [[8.0, 8.0], [8.0, 8.0]]
    assert f.trace_count == 1  # the call found what had been lowered
    with pytest.raises(TypeError, match=r"p\['w'\] has dtype float64, and was compiled for float32"):
        compiled({**arrays, "w": np.ones((3, 2))}, x)


def test_types_are_leaves() -> None:
    """The way to make arrays like those that a function would return."""
    shapes = fdl.eval_shape(lambda x: {"a": x, "b": (x.sum(), None)}, fnp.ones(3))
    zeros = tree.map(lambda t: fnp.zeros(t.shape, t.dtype), shapes)
    assert tree.structure(zeros) == tree.structure(shapes) and zeros["a"].shape == (3,)


def test_ordered_dicts_keep_their_order() -> None:
    given = collections.OrderedDict(b=fnp.ones(2), a=fnp.zeros(()))
    for f in (lambda d: d, fdl.jit(lambda d: d), fdl.grad(lambda d: d["b"].sum() + d["a"])):
        back = f(given)
        assert type(back) is collections.OrderedDict and list(back) == ["b", "a"]
    flat, s = tree.flatten_with_paths(given)
    assert ["".join(p) for p, _ in flat] == ["['b']", "['a']"]
    assert s != tree.structure(collections.OrderedDict(a=1, b=2))


def test_defaultdicts_keep_their_factory() -> None:
    given = collections.defaultdict(list, {"b": fnp.ones(2), "a": fnp.zeros(())})
    back = fdl.jit(lambda d: d)(given)
    assert type(back) is collections.defaultdict and back.default_factory is list and list(back) == ["a", "b"]
    assert back["new"] == [] and back["b"].tolist() == [1.0, 1.0]
    with pytest.raises(DTypeError, match=r"argument d\['b'\]\[0\] is 'x' of type str"):
        fdl.jit(lambda d: d)(collections.defaultdict(list, b=["x"]))


def test_errors() -> None:
    with pytest.raises(TypeError, match=r"ShapeDtypeStruct: shape: expected a tuple of ints, got 3 of type int\.\n  at .*without_values"):
        fdl.ShapeDtypeStruct(3, "f4")
    with pytest.raises(ShapeError, match=r"ShapeDtypeStruct: shape: expected sizes that are not negative, got \(-1,\)"):
        fdl.ShapeDtypeStruct((-1,), "f4")
    with pytest.raises(TypeError, match="not a data type: 'f3'"):
        fdl.ShapeDtypeStruct((1,), "f3")
    with pytest.raises(DTypeError, match=r"jit\(<lambda>\): argument x is f32\[2\], a type without a value: expected an array or a number"):
        fdl.jit(lambda x: x)(fdl.ShapeDtypeStruct((2,), "f4"))
