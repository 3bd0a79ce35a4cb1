"""einsum and the products of arrays against NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_rest import agree, check_grads, check_vmap, same, sample, traced

import fdl
import fdl.numpy as fnp
from fdl.numpy.contractions import greedy_path, optimal_path
from fdl.tracer.errors import ShapeError

EINSUMS = [
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iij,jk", (3, 3, 4), (4, 2)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("ba", (2, 3)),
    (",", (), ()),
    ("i...,i->...", (3, 2, 4), (3,)),
    ("...,...", (2, 3), (3,)),
    ("...i->...", (2, 3)),
    ("ij,ij->ij", (1, 3), (2, 3)),
    ("ii->i", (1, 1)),
    ("ab,bc,cd,de,ef", (2, 3), (3, 4), (4, 5), (5, 2), (2, 3)),
    ("iii->i", (3, 3, 3)),
    ("ij...,jk...->ik...", (2, 3, 1, 4), (3, 2, 5, 1)),
    ("i,j,k->kji", (2,), (3,), (4,)),
    ("ij,jk->", (2, 0), (0, 3)),
    ("Ab,bA", (2, 3), (3, 2)),
    ("a,a,a->a", (3,), (3,), (3,)),
    ("abc,ab->c", (2, 3, 4), (2, 3)),
    ("i,i", (1,), (4,)),
    ("... a->a...", (2, 3)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("iji->j", (2, 3, 2)),
    ("abab->ba", (2, 3, 2, 3)),
    ("ij,kl,ij->kl", (2, 3), (3, 2), (2, 3)),
    ("...ii->...i", (2, 3, 3)),
]


@pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
def test_einsum(case: tuple[Any, ...]) -> None:
    arrays = [sample(shape, k) for k, shape in enumerate(case[1:])]
    agree("einsum", case[0], *arrays)
    for how in (False, "greedy", "optimal", True):
        same(fnp.einsum(case[0], *arrays, optimize=how), np.einsum(case[0], *arrays))
    path = fnp.einsum_path(case[0], *arrays)[0]
    same(fnp.einsum(case[0], *arrays, optimize=path), np.einsum(case[0], *arrays))
    same(fnp.einsum(case[0], *arrays, optimize=path[1:]), np.einsum(case[0], *arrays))


@settings(max_examples=60)
@given(st.data())
def test_random_einsums(data: Any) -> None:
    sizes = dict(zip("abcde", (2, 3, 1, 4, 2), strict=True))
    terms = data.draw(st.lists(st.text("abcde", max_size=4), min_size=1, max_size=4))
    used = sorted(set("".join(terms)))
    arrow = data.draw(st.booleans())
    result = "".join(data.draw(st.permutations(used))[: data.draw(st.integers(0, len(used)))]) if arrow else ""
    spec = ",".join(terms) + ("->" + result if arrow else "")
    arrays = [sample(tuple(sizes[c] for c in t), k) for k, t in enumerate(terms)]
    want = np.einsum(spec, *arrays)
    for how in ("auto", "greedy", False):
        same(fnp.einsum(spec, *arrays, optimize=how), want)
    numbers = [[ord(c) for c in t] for t in terms]
    operands = [v for pair in zip(arrays, numbers, strict=True) for v in pair]
    same(fnp.einsum(*operands, *([[ord(c) for c in result]] if arrow else [])), want)


def test_einsum_forms() -> None:
    a, b = sample((2, 3)), sample((3, 4), 1)
    same(fnp.einsum(a, [0, 1], b, [1, 2], [2, 0]), np.einsum(a, [0, 1], b, [1, 2], [2, 0]))
    same(fnp.einsum(a, [..., 1], b, [1, 2]), np.einsum(a, [..., 1], b, [1, 2]))
    assert fnp.einsum("ij,j->i", np.array([[True, False], [False, False]]), np.array([True, True])).tolist() == [True, False]
    assert fnp.einsum("i,i", np.ones(3, "f4"), np.ones(3, "f4"), preferred_element_type="f64").dtype == np.float64
    assert fnp.einsum("ij,jk", np.ones((2, 2), "i1"), np.ones((2, 2), "i1")).dtype == np.int8
    z = sample((2, 3)) + 1j * sample((2, 3), 1)
    same(fnp.einsum("ij,kj", z, a), np.einsum("ij,kj", z, a))


def test_einsum_contracts_without_large_intermediates() -> None:
    p = fdl.make_ir(lambda x, y, z: fnp.einsum("ij,jk,kl->il", x, y, z))(np.ones((5, 90)), np.ones((90, 70)), np.ones((70, 5)))
    assert [e.primitive.name for e in p.equations if e.primitive.name != "transpose"] == ["dot_general", "dot_general"]
    assert max(v.type.size for e in p.equations for v in e.outputs) == 5 * 70
    p = fdl.make_ir(lambda x: fnp.einsum("ii->", x))(np.ones((50, 50)))
    assert not any(e.primitive.name in ("gather", "dot_general") for e in p.equations)


def test_paths() -> None:
    # The best order of a chain of matrices is the textbook's (Cormen et al., Introduction to Algorithms, 15.2): 15125 multiplications.
    dims = [30, 35, 15, 5, 10, 20, 25]
    letters = "abcdefg"
    sizes = dict(zip(letters, dims, strict=True))
    terms = tuple(frozenset(letters[k : k + 2]) for k in range(6))

    def cost(path: Any) -> int:
        left, total = list(terms), 0
        for i, j in path:
            pair = left[i] | left[j]
            others = frozenset("ag").union(*(t for k, t in enumerate(left) if k not in (i, j)))
            total += int(np.prod([sizes[c] for c in pair]))
            left = [t for k, t in enumerate(left) if k not in (i, j)] + [pair & others]
        return total

    best = optimal_path(terms, frozenset("ag"), tuple(sorted(sizes.items())))
    assert cost(best) == 15125
    assert 15125 <= cost(greedy_path(terms, frozenset("ag"), tuple(sorted(sizes.items())))) < 2 * 15125
    path, text = fnp.einsum_path("ij,jk,kl->il", np.ones((2, 9)), np.ones((9, 3)), np.ones((3, 2)), optimize="optimal")
    assert path == ["einsum_path", (0, 1), (0, 1)] and "largest intermediate" in text
    many = [np.eye(2)] * 11
    spec = ",".join(a + b for a, b in itertools.pairwise("abcdefghijkl"))
    same(fnp.einsum(spec, *many), np.eye(2))


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("ij,jk", np.ones((2, 3)), np.ones((4, 2))), "index 'j' has sizes 3 and 4"),
        (("ij", np.ones(3)), "does not fit an operand of shape"),
        (("i,j", np.ones(3)), "names 2 operands, but 1 were given"),
        (("i->ij", np.ones(3)), "output 'ij' must use"),
        (("i1", np.ones((3, 3))), "no letter"),
        (("i->ii", np.ones(3)), "output 'ii' must use"),
        ((np.ones(3), [-1]), "labels are integers"),
        (("i......", np.ones(3)), "no letter"),
        (("...i,...i", np.ones((2, 3)), np.ones((4, 3))), r"an axis under '\.\.\.' has sizes 2 and 4"),
    ],
)
def test_einsum_errors(args: Any, text: str) -> None:
    with pytest.raises(ShapeError, match=text) as e:
        fnp.einsum(*args)
    assert "test_numpy_rest_products.py" in str(e.value)


def test_einsum_bad_paths() -> None:
    for path, text in (([(0, 5)], "does not fit 2 remaining"), ([(0,)], "leaves 2 of 2"), ("fast", "expected 'auto'")):
        with pytest.raises(ShapeError, match=text):
            fnp.einsum("i,i", np.ones(2), np.ones(2), optimize=path)


def test_products() -> None:
    x, y, v, w = sample((2, 3, 4)), sample((4, 3, 2), 1), sample((3,), 2), sample((4,), 3)
    agree("tensordot", x, y, ((1, 2), (1, 0)), compiled=True)
    for axes in (0, 1, (-1, 0), ([0], [2])):
        agree("tensordot", x, y, axes)
    for a, b in ((x, x), (v, sample(3, 5)), (x, 2.0), (w, x)):
        agree("inner", a, b)
    for a, b in ((x, w), (x, sample((4, 5))), (x, 2.0), (w, w), (x, sample((6, 4, 2)))):
        agree("dot", a, b)
    agree("vdot", x, x)
    agree("outer", x, w)
    agree("vecdot", x, w)
    same(fnp.vecdot(y, sample((3, 1)), axis=-2), np.vecdot(np.moveaxis(y, -2, -1), sample((3, 1)).T))
    agree("matvec", x, sample((2, 4)))
    agree("matvec", x, w)
    agree("vecmat", sample((2, 3)), x)
    agree("vecmat", v, x)
    z = sample((3,)) + 1j * sample((3,), 1)
    for name in ("vdot", "vecdot", "dot", "inner", "outer"):
        same(getattr(fnp, name)(z, 2j * z), getattr(np, name)(z, 2j * z))
    same(fnp.vecmat(z, sample((3, 2))), np.vecmat(z, sample((3, 2))))
    bits = np.array([[True, False], [True, True]])
    for name in ("matmul", "dot", "inner", "tensordot"):
        args = (bits, ~bits) if name != "tensordot" else (bits, ~bits, 1)
        same(getattr(fnp, name)(*args), getattr(np, name)(*args))
    for shapes in (((3,), (3,)), ((2, 3), (3,)), ((4, 1, 3), (5, 3))):
        agree("cross", *(sample(n, k) for k, n in enumerate(shapes)))
    for n, m in ((2, 3), (3, 2)):
        full = [np.pad(sample(k, k), (0, 3 - k)) for k in (n, m)]
        same(fnp.cross(full[0][:n], full[1][:m]), np.cross(*full))
    agree("cross", sample((3, 5)), sample((3, 5), 1), axis=0)
    agree("cross", sample((3, 5)), sample((5, 3), 1), axisa=0, axisc=0)
    same(fnp.cross(sample((4, 2)), sample((4, 2), 1)), np.linalg.det(np.stack([sample((4, 2)), sample((4, 2), 1)], 1)))
    for a, b in (((2,), (3,)), ((2, 3), (4,)), ((2,), (3, 2, 2)), ((2, 2), (2, 2)), ((), (3,))):
        agree("kron", sample(a), sample(b, 1))
    for shape in ((3, 4), (4, 3), (2, 3, 3), (0, 2)):
        for k in (-5, -2, 0, 1, 3, 9):
            agree("diagonal", sample(shape), k, trace=False)
            agree("trace", sample(shape), k, trace=False)
    agree("diagonal", x, 1, 2, 0, compiled=True)
    agree("trace", x, -1, 2, 1)
    assert fnp.trace(np.ones((3, 3), "i1")).dtype == np.int32 and fnp.trace(np.ones((2, 2)), dtype="f4").dtype == np.float32
    for f, text in (
        (lambda: fnp.vecdot(np.ones(3), np.ones(4)), "sizes along axis -1 differ"),
        (lambda: fnp.cross(np.ones(4), np.ones(3)), "expected 2 or 3"),
        (lambda: fnp.tensordot(np.ones(3), np.ones(4), 1), "do not pair"),
        (lambda: fnp.tensordot(np.ones(3), np.ones(4), 2), "expected 0 to 1"),
        (lambda: fnp.matvec(np.ones((2, 3)), np.ones(2)), "to be equal"),
        (lambda: fnp.diagonal(np.ones(3)), "at least 2 axes"),
        (lambda: fnp.vdot(np.ones(3), np.ones(2)), "differ in size"),
    ):
        with pytest.raises(ShapeError, match=text):
            f()


def test_derivatives_and_vmap() -> None:
    x, y = sample((3, 3)), sample((3, 3), 1)
    for f in (
        lambda x: fnp.einsum("ii,ij,kj->k", x, x, y),
        lambda x: fnp.kron(x, y[:2]),
        lambda x: fnp.cross(x, y),
        lambda x: fnp.diagonal(x, 1),
        lambda x: fnp.vecdot(x, x * y),
        lambda x: fnp.matvec(x, x[0]),
        lambda x: fnp.outer(x[0], x),
        lambda x: fnp.einsum("...i,...i->...", x, y) + fnp.trace(x),
    ):
        check_grads(f, x)
    xs, ys = sample((4, 3, 3)), sample((4, 3, 3), 1)
    for f in (
        lambda x, y: fnp.einsum("ii,ij,kj->k", x, x, y), fnp.kron, fnp.cross, lambda x, y: fnp.tensordot(x, y, 2), fnp.vecdot,
        lambda x, y: fnp.diagonal(x @ y, -1),
    ):  # fmt: skip
        check_vmap(f, xs, ys)
    same(traced(lambda x, y: fnp.einsum("bij,bjk->bik", x, y), xs, ys, backend="llvm"), xs @ ys)
