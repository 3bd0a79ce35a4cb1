"""`fdl.numpy.linalg` against NumPy, its derivatives against differences, compiled code against eager, with and without LAPACK."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy

import fdl
import fdl.numpy as fnp
from fdl.backends import lapack
from fdl.backends.executable import NativeExecutable, single
from fdl.backends.loops.lower import lower
from fdl.numpy import linalg as L
from fdl.testing import check_grads
from fdl.tracer.errors import DTypeError, FdlError, MissingRuleError, ShapeError
from fdl.tracer.ir import Type
from fdl.tracer.ops import factor, schur
from fdl.tracer.primitive import lookup

FIELDS = [np.float64, np.complex128]


def draw(*shape: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def adjoint(x: Any) -> np.ndarray:
    return np.swapaxes(np.asarray(x).conj(), -1, -2)


def definite(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    x = draw(*shape, dtype=dtype)
    return (x @ adjoint(x) + np.eye(shape[-1])).astype(dtype)


def close(a: Any, b: Any, tol: float = 1e-10, what: str = "") -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, (what, a.shape, b.shape)
    np.testing.assert_allclose(
        a, b, rtol=tol, atol=tol * max(1.0, float(np.max(np.abs(b[np.isfinite(b)]), initial=0))), err_msg=what
    )


def all_close(a: Any, b: Any, tol: float = 1e-10, what: str = "") -> None:
    a, b = leaves(a), leaves(b)
    assert len(a) == len(b), what
    for x, y in zip(a, b, strict=True):
        close(x, y, tol, what)


def leaves(x: Any) -> list[Any]:
    return [v for part in x for v in leaves(part)] if isinstance(x, (tuple, list)) else [x]


# --- values ---------------------------------------------------------------------------------------

STACKS = [(3, 4, 4), (2, 5, 3), (2, 3, 5), (1, 1), (0, 3, 3), (2, 0, 0), (3, 0), (0, 3)]


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("shape", STACKS, ids=str)
def test_decompositions_of_any_shape(shape: tuple[int, ...], dtype: Any) -> None:
    x = draw(*shape, dtype=dtype)
    m, n = shape[-2:]
    k = min(m, n)
    for mode in ("reduced", "complete"):
        q, r = L.qr(x, mode=mode)
        all_close((q, r), tuple(np.linalg.qr(x, mode)), what=mode)  # type: ignore[call-overload]
    close(L.qr(x, mode="r"), np.linalg.qr(x, "r"))
    for full in (True, False):
        u, s, vh = L.svd(x, full_matrices=full)
        assert type(L.svd(x)).__name__ == "SVDResult"
        assert (u.shape[-1], vh.shape[-2]) == ((m, n) if full else (k, k))
        close(np.asarray(u)[..., :k] * np.asarray(s)[..., None, :] @ np.asarray(vh)[..., :k, :], x)
        close(adjoint(u) @ np.asarray(u), np.broadcast_to(np.eye(u.shape[-1]), (*shape[:-2], u.shape[-1], u.shape[-1])))
        close(s, np.linalg.svd(x, compute_uv=False))
    close(L.svdvals(x), np.linalg.svd(x, compute_uv=False))
    close(L.pinv(x), np.linalg.pinv(x))
    if k:
        assert np.asarray(L.matrix_rank(x)).tolist() == np.asarray(np.linalg.matrix_rank(x)).tolist()
    if m != n:
        return
    close(L.inv(x), np.linalg.inv(x))
    close(L.det(x), np.linalg.det(x))
    all_close(L.slogdet(x), tuple(np.linalg.slogdet(x)))
    h = x + adjoint(x)
    w, v = L.eigh(h)
    close(np.asarray(v) * np.asarray(w)[..., None, :], h @ np.asarray(v))
    close(w, np.linalg.eigvalsh(h))
    close(L.eigvalsh(h), w)
    u, s, vh = L.svd(h, hermitian=True)
    close(np.asarray(u) * np.asarray(s)[..., None, :] @ np.asarray(vh), h)
    close(L.svd(h, compute_uv=False, hermitian=True), s)
    w, v = L.eig(x)
    assert w.dtype == v.dtype == np.complex128
    close(np.asarray(v) * np.asarray(w)[..., None, :], x @ np.asarray(v))
    close(L.eigvals(x), np.linalg.eigvals(x))
    p = definite(*shape, dtype=dtype)
    for upper in (False, True):
        close(L.cholesky(p, upper=upper), np.linalg.cholesky(p, upper=upper))
        noise = p + np.tril(x, -1) if upper else p + np.triu(x, 1)
        close(L.cholesky(noise, upper=upper, symmetrize_input=False), np.linalg.cholesky(p, upper=upper))
    close(L.eigh(np.tril(h), "L", symmetrize_input=False)[0], np.linalg.eigvalsh(h))
    close(L.eigvalsh(np.triu(h), "U", symmetrize_input=False), np.linalg.eigvalsh(h))
    for power in (0, 1, 3, -2):
        close(L.matrix_power(x, power), np.linalg.matrix_power(x, power), 1e-8)


@pytest.mark.parametrize("dtype", FIELDS)
def test_norms(dtype: Any) -> None:
    x = draw(3, 4, 5, dtype=dtype)
    for keep in (False, True):
        for ord in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
            close(L.matrix_norm(x, ord=ord, keepdims=keep), np.linalg.matrix_norm(x, ord=ord, keepdims=keep), what=f"{ord}")
            close(L.norm(x, ord, (2, 0), keep), np.linalg.norm(x, ord, (2, 0), keep), what=f"{ord}")
        for ord in (0, 1, 2, 3, 0.5, -1, -2.5, math.inf, -math.inf):
            how = {"axis": (0, 2), "ord": ord, "keepdims": keep}
            close(L.vector_norm(x, **how), np.linalg.vector_norm(x, **how), what=f"{ord}")  # type: ignore[call-overload]
            close(L.norm(x, ord, 1, keep), np.linalg.norm(x, ord, 1, keep), what=f"{ord}")
        close(L.norm(x, keepdims=keep), np.linalg.norm(x, keepdims=keep))
    close(L.vector_norm(x), np.linalg.vector_norm(x))
    assert float(L.norm(np.zeros((0,)))) == 0.0
    square = draw(2, 3, 3, dtype=dtype)
    for p in (None, 1, -1, 2, -2, "fro", "nuc", math.inf, -math.inf):
        close(L.cond(square, p), np.linalg.cond(square, p), what=f"{p}")  # type: ignore[arg-type]
    assert L.matrix_rank(np.array([[1.0, 2.0], [2.0, 4.0]])).tolist() == 1
    assert L.matrix_rank(np.diag([1.0, 1e-3]), rtol=1e-2).tolist() == 1
    assert L.matrix_rank(np.diag([5.0, 1e-3]), tol=1e-4).tolist() == 2


@pytest.mark.parametrize("dtype", FIELDS)
def test_systems(dtype: Any) -> None:
    a = draw(3, 4, 4, dtype=dtype)
    for b in (draw(4, dtype=dtype), draw(4, 2, dtype=dtype), draw(3, 4, 2, dtype=dtype), draw(5, 1, 4, 1, dtype=dtype)):
        close(L.solve(a, b), np.linalg.solve(a, b))
    close(L.solve(a[0], np.zeros((4, 0))), np.zeros((4, 0)))
    for m, n in ((6, 3), (3, 6), (4, 4)):
        x, y = draw(m, n, dtype=dtype), draw(m, 2, dtype=dtype)
        found, expected = L.lstsq(x, y), np.linalg.lstsq(x, y)
        close(found[0], expected[0])
        assert int(found[2]) == expected[2]
        close(found[3], expected[3])
        if expected[1].size:
            close(found[1], expected[1])
        close(L.lstsq(x, y[:, 0])[0], expected[0][:, 0])
    low = draw(5, 2, dtype=dtype) @ draw(2, 4, dtype=dtype)
    close(L.lstsq(low, draw(5, dtype=dtype))[0], np.linalg.lstsq(low, draw(5, dtype=dtype))[0])
    assert int(L.lstsq(low, draw(5, dtype=dtype))[2]) == 2
    close(L.pinv(low, rtol=1e-8), np.linalg.pinv(low, rtol=1e-8))
    t = draw(2, 3, 6, dtype=dtype)
    close(L.tensorsolve(t, draw(2, 3, dtype=dtype)), np.linalg.tensorsolve(t, draw(2, 3, dtype=dtype)))
    turned, right = draw(3, 2, 6, dtype=dtype), draw(3, 6, dtype=dtype)[:, :2]
    close(L.tensorsolve(turned, right, axes=(2,)), np.linalg.tensorsolve(turned, right, axes=(2,)))
    close(L.tensorinv(draw(6, 2, 3, dtype=dtype), 1), np.linalg.tensorinv(draw(6, 2, 3, dtype=dtype), 1))


def test_products() -> None:
    x, y, z, v, w = draw(3, 7), draw(7, 2), draw(2, 5), draw(7), draw(5)
    close(L.multi_dot([x, y, z]), np.linalg.multi_dot([x, y, z]))
    close(L.multi_dot([v, y, z, w]), np.linalg.multi_dot([v, y, z, w]))
    close(L.multi_dot([x, y]), x @ y)
    t = draw(2, 4, 3)
    close(L.trace(t, offset=1), np.linalg.trace(t, offset=1))
    close(L.diagonal(t, offset=-1), np.linalg.diagonal(t, offset=-1))
    close(L.outer(v, w), np.linalg.outer(v, w))
    close(L.cross(t, t[:, ::-1]), np.linalg.cross(t, t[:, ::-1]))
    close(L.vecdot(t, t), np.linalg.vecdot(t, t))
    close(L.matmul(t, t.mT), t @ t.mT)
    close(L.matrix_transpose(t), t.mT)
    close(L.tensordot(t, t, axes=((0, 1), (0, 1))), np.tensordot(t, t, axes=((0, 1), (0, 1))))


def test_order_of_a_chain_of_products_is_the_cheapest() -> None:
    sizes = [10, 100, 5, 50, 1]
    program = fdl.make_ir(lambda *xs: L.multi_dot(xs))(*(np.ones((m, n), np.float32) for m, n in itertools.pairwise(sizes)))
    shapes = [tuple(a.type.shape for a in e.inputs) for e in program.equations if e.primitive.name == "dot_general"]
    assert shapes == [((5, 50), (50, 1)), ((100, 5), (5, 1)), ((10, 100), (100, 1))]


def test_dtypes() -> None:
    assert L.inv([[2, 0], [0, 1]]).dtype == np.float32  # integers become float32
    assert L.eig(np.eye(2, dtype=np.float32))[0].dtype == np.complex64
    assert L.svd(np.eye(2, dtype=np.complex64))[1].dtype == np.float32
    x = draw(5, 5, dtype=np.float32)
    close(L.solve(x, x[0]), np.linalg.solve(x.astype(np.float64), x[0]), 1e-3)
    q, r = L.qr(x)
    close(np.asarray(q) @ np.asarray(r), x, 1e-5)


# --- matrices without an answer -------------------------------------------------------------------


def test_failures_are_nan_and_stay_with_their_matrix() -> None:
    stack = np.stack([np.eye(3), -np.eye(3), np.full((3, 3), np.nan), 2 * np.eye(3)])
    functions: list[Callable[[Any], Any]] = [
        L.cholesky, lambda x: L.eigh(x)[1], lambda x: L.svd(x)[0], lambda x: L.eig(x)[1], L.eigvalsh, L.svdvals, L.eigvals, L.pinv,
    ]  # fmt: skip
    for f in functions:
        for run in (f, fdl.jit(f)):
            y = np.asarray(run(stack))
            assert np.isnan(y[2]).any() and np.isfinite(y[[0, 3]]).all()
    low = np.asarray(L.cholesky(stack))[1]
    assert np.isnan(low[np.tril_indices(3)]).all() and (low[np.triu_indices(3, 1)] == 0).all()
    with_inf = np.array([[1.0, np.inf], [0.0, 1.0]])
    assert np.isnan(np.asarray(fdl.jit(L.svdvals)(with_inf))).all()


def test_singular_systems() -> None:
    zero = np.zeros((2, 2))
    for run in (L.solve, fdl.jit(L.solve)):
        assert not np.isfinite(np.asarray(run(zero, np.ones(2)))).any()
    for run in (L.det, fdl.jit(L.det)):
        assert float(run(np.ones((5, 5)))) == 0.0
    sign, size = fdl.jit(L.slogdet)(np.ones((2, 2)))
    assert float(sign) == 0.0 and float(size) == -math.inf
    assert float(L.cond(zero)) == math.inf and float(L.cond(np.ones((2, 2)), 1)) == math.inf
    assert math.isnan(float(L.cond(np.full((2, 2), np.nan))))
    lu, pivots, order = factor.lu(np.zeros((3, 3)))
    assert not np.asarray(lu).any() and pivots.tolist() == [0, 1, 2] == order.tolist()


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: L.solve(np.ones((2, 3)), np.ones(2)), ShapeError, r"solve: .*\(2, 3\), expected square matrices"),
    (lambda: L.solve(np.eye(3), np.ones((2, 3))), ShapeError, r"expected 3 rows.*b\[\.\.\., None\]"),
    (lambda: L.inv(np.ones(3)), ShapeError, r"inv: .* \(3,\), expected square"),
    (lambda: L.cholesky(np.eye(2, dtype=np.float16)), DTypeError, r"cholesky: .* float16, expected float32.*\.astype"),
    (lambda: L.qr(np.eye(2), mode="raw"), ShapeError, "mode 'raw', expected 'reduced'"),
    (lambda: L.eigh(np.eye(2), "X"), ShapeError, "UPLO 'X'"),
    (lambda: L.norm(np.ones((2, 2, 2)), 1), ShapeError, "3 axes .* expected one or two"),
    (lambda: L.norm(np.ones((2, 2)), 3), ShapeError, "ord 3, expected 'fro'"),
    (lambda: L.vector_norm(np.ones(2), ord="fro"), ShapeError, "expected a number"),  # type: ignore[arg-type]
    (lambda: L.vector_norm(np.ones((2, 0)), ord=-math.inf, axis=1), ShapeError, "no extremum"),
    (lambda: L.multi_dot([np.eye(2)]), ShapeError, "two or more"),
    (lambda: L.multi_dot([np.eye(2), np.ones(2), np.eye(2)]), ShapeError, "first and last may be vectors"),
    (lambda: L.lstsq(np.eye(2), np.ones(3)), ShapeError, r"a has shape \(2, 2\), b \(3,\)"),
    (lambda: L.tensorinv(np.ones((2, 3)), 1), ShapeError, "tensorinv"),
    (lambda: L.tensorsolve(np.ones((2, 3)), np.ones(2)), ShapeError, "tensorsolve: a has shape"),
    (lambda: L.cross(np.ones(2), np.ones(2)), ShapeError, "3 elements"),
    (lambda: L.outer(np.eye(2), np.ones(2)), ShapeError, "expected vectors"),
    (lambda: L.matrix_power(np.ones((2, 3)), 2), ShapeError, r"expected \(\.\.\., n, n\)"),
    (lambda: L.matrix_power(np.eye(2), 1.5), DTypeError, "n must be an int, got 1.5"),  # type: ignore[arg-type]
    (lambda: L.cond(np.ones((0, 2))), ShapeError, "empty matrix"),
    (lambda: factor.lu_solve(np.eye(2), np.eye(2), np.zeros(3, np.int32), np.eye(2)), ShapeError, r"permutation \(3,\)"),
    (lambda: fdl.grad(lambda x: schur.schur(x)[0].sum())(fnp.eye(2, dtype=np.float64)), MissingRuleError, "schur"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[t[:30] for _, _, t in ERRORS])
def test_errors(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()


# --- compiled -------------------------------------------------------------------------------------

COMPILED: dict[str, Callable[..., Any]] = {
    "solve": lambda a: L.solve(a, a[..., :2] + 1),
    "inv": L.inv,
    "cholesky": lambda a: L.cholesky(a @ fnp.conj(a.mT) + fnp.eye(4, dtype=a.dtype)),
    "det": L.det,
    "slogdet": L.slogdet,
    "qr": lambda a: L.qr(a[..., :, :3], mode="complete"),
    "eigh": lambda a: (L.eigh(a + fnp.conj(a.mT))[0], abs(L.eigh(a + fnp.conj(a.mT))[1])),
    "svd": lambda a: L.svd(a[..., :3])[1],
    "pinv": lambda a: L.pinv(a[..., :3]),
    "eig": lambda a: (L.eigvals(a), abs(L.eig(a)[1])),
    "norms": lambda a: (L.norm(a), L.matrix_norm(a, ord="nuc"), L.cond(a)),
    "powers": lambda a: L.matrix_power(a, -3),
}


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_is_eager(name: str, dtype: Any) -> None:
    x = draw(2, 4, 4, dtype=dtype)
    all_close(fdl.jit(COMPILED[name])(x), COMPILED[name](fnp.asarray(x)), 1e-9, name)


def test_large_matrices_and_many_small_ones() -> None:
    x = draw(180, 180)
    b = draw(180, 3)
    close(fdl.jit(L.solve)(x, b), np.linalg.solve(x, b), 1e-8)
    close(factor.lu_p.reference(x)[0], factor.lu(x)[0], 1e-9)
    many = draw(500, 3, 3)
    close(fdl.jit(L.inv)(many), np.linalg.inv(many), 1e-7)


def test_inside_loops() -> None:
    def step(c: Any, x: Any) -> tuple[Any, Any]:
        p = x @ x.T + fnp.eye(3, dtype=x.dtype)
        return L.solve(p, c), L.cholesky(p)

    xs, c = draw(4, 3, 3), draw(3)
    last, factors = fdl.jit(lambda c, xs: fdl.scan(step, c, xs))(c, xs)
    for x, found in zip(xs, np.asarray(factors), strict=True):
        p = x @ x.T + np.eye(3)
        c = np.linalg.solve(p, c)
        close(found, np.linalg.cholesky(p))
    close(last, c)


def test_the_same_bits_for_any_number_of_threads() -> None:
    p = lookup("svd")
    x = draw(64, 12, 9)
    run = NativeExecutable(single(p, [Type(x.shape, x.dtype)], {"full_matrices": True, "compute_uv": True}))
    one, two = run([x], max_threads=1), run([x], max_threads=2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_openblas_has_its_threads_back_after_a_call() -> None:
    controls = lapack.thread_controls()
    if controls is None:
        return  # SciPy has another library here, which is left alone
    count = ctypes.CFUNCTYPE(ctypes.c_int)(controls[1])
    before = count()
    np.asarray(fdl.jit(L.svdvals)(draw(40, 20, 20)))
    assert count() == before


def test_programs_name_what_they_call() -> None:
    x = draw(3, 3)
    run = NativeExecutable(single(lookup("cholesky"), [Type(x.shape, x.dtype)], {}))
    assert not run.callbacks
    calls = [s for s in run.routine.body if "dpotrf" in str(s)]
    assert calls
    assert lapack.version() == scipy.__version__
    with pytest.raises(KeyError, match="no routine 'dnothing'"):
        lapack.address("dnothing")


def test_a_target_that_is_no_cpu_calls_back() -> None:
    program = single(lookup("qr"), [Type((3, 3), np.dtype(np.float64))], {"full_matrices": False})
    kinds = {type(s).__name__ for s in lower(program, "cuda").body}
    assert "Callback" in kinds and "Call" not in kinds


@pytest.fixture
def without_scipy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lapack, "available", lambda: False)
    monkeypatch.setattr(schur, "_optional_scipy", lambda: None)
    yield


@pytest.mark.parametrize("dtype", FIELDS)
def test_without_scipy(dtype: Any, without_scipy: None) -> None:
    x, b = draw(2, 3, 3, dtype=dtype), draw(2, 3, 1, dtype=dtype)

    def f(x: Any, b: Any) -> Any:
        return L.solve(x, b), L.svdvals(x), L.eigvals(x), L.det(L.qr(x)[1])

    expected = (
        np.linalg.solve(x, b),
        np.linalg.svd(x, compute_uv=False),
        np.linalg.eigvals(x),
        np.linalg.det(np.linalg.qr(x)[1]),
    )
    all_close(fdl.jit(f)(x, b), expected)
    run = NativeExecutable(single(lookup("cholesky"), [Type(x.shape, np.dtype(dtype))], {}))
    assert len(run.callbacks) == 1
    p = definite(2, 3, 3, dtype=dtype)
    close(run([p])[0], np.linalg.cholesky(p))
    close(schur.sqrtm(p) @ schur.sqrtm(p), p.astype(complex))
    y = schur.sylvester(p, p, x)
    close(p @ np.asarray(y) + np.asarray(y) @ p, x)
    with pytest.raises(FdlError, match=r"schur needs SciPy.*pip install fdl\[scipy\]"):
        schur.schur(x)


# --- derivatives ----------------------------------------------------------------------------------


def hermitian(x: Any) -> Any:
    return x + fnp.conj(fnp.matrix_transpose(x))


def _definite(x: Any) -> Any:
    return x @ fnp.conj(fnp.matrix_transpose(x)) + fnp.eye(x.shape[-1], dtype=x.dtype)


def _eigh(x: Any) -> Any:
    w, v = L.eigh(hermitian(x))
    p = v[..., :, 1:2]
    return w, p @ fnp.conj(p.mT)


def _svd(x: Any) -> Any:
    u, s, vh = L.svd(x, full_matrices=False)
    return s, u[..., :, :1] @ vh[..., :1, :]


def _complement(x: Any) -> Any:
    u = L.svd(x)[0][..., :, 3:]
    q = L.qr(x, mode="complete")[0][..., :, 3:]
    return u @ fnp.conj(u.mT), q @ fnp.conj(q.mT)


DIFFERENTIABLE: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "cholesky": (lambda x: L.cholesky(_definite(x)), ((3, 3),)),
    "cholesky of a stack": (lambda x: L.cholesky(_definite(x), upper=True), ((2, 2, 2),)),
    "qr": (L.qr, ((4, 3),)),
    "qr, wide": (L.qr, ((3, 4),)),
    "eigh": (_eigh, ((3, 3),)),
    "svd": (_svd, ((4, 3),)),
    "svd, wide": (_svd, ((3, 4),)),
    "complements": (_complement, ((5, 3),)),
    "eig": (L.eig, ((3, 3),)),
    "solve": (L.solve, ((3, 3), (3, 2))),
    "solve, a vector": (L.solve, ((2, 3, 3), (3,))),
    "inv": (L.inv, ((3, 3),)),
    "pinv": (L.pinv, ((4, 3),)),
    "pinv, wide": (L.pinv, ((3, 4),)),
    "pinv, square": (L.pinv, ((3, 3),)),
    "lstsq": (lambda a, b: L.lstsq(a, b)[:2], ((4, 3), (4, 2))),
    "det 2": (L.det, ((2, 2),)),
    "det 3": (L.det, ((3, 3),)),
    "det 4": (L.det, ((4, 4),)),
    "slogdet": (L.slogdet, ((4, 4),)),
    "norm": (lambda x: (L.norm(x), L.vector_norm(x, ord=3), L.matrix_norm(x, ord="nuc"), L.matrix_norm(x, ord=2)), ((3, 4),)),
    "cond": (L.cond, ((3, 3),)),
    "powers": (lambda x: (L.matrix_power(x, 3), L.matrix_power(x, -1)), ((3, 3),)),
    "sqrtm": (lambda x: schur.sqrtm(_definite(x)), ((3, 3),)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_to_second_order(name: str, dtype: Any) -> None:
    f, shapes = DIFFERENTIABLE[name]
    check_grads(f, tuple(draw(*s, dtype=dtype, seed=3) for s in shapes), order=2)


def test_adjugate_of_a_singular_matrix() -> None:
    x = draw(4, 4)
    x[3] = x[0] + x[1]
    close(fdl.grad(L.det)(x), cofactors(x), 1e-8)
    close(fdl.grad(L.det)(np.zeros((3, 3))), np.zeros((3, 3)))
    close(fdl.grad(L.det)(np.diag([0.0, 1.0, 2.0])), np.diag([2.0, 0.0, 0.0]))


def cofactors(x: np.ndarray) -> np.ndarray:
    """The derivative of det, by its definition."""
    n = len(x)
    minors = [[np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(n)] for i in range(n)]
    return np.array([[(-1) ** (i + j) * minors[i][j] for j in range(n)] for i in range(n)])


def _rank(n: int, r: int, dtype: Any = np.float64) -> np.ndarray:
    return draw(n, r, dtype=dtype, seed=r) @ draw(r, n, dtype=dtype, seed=r + 1)


def _without_column(n: int, k: int) -> np.ndarray:
    x = draw(n, n, seed=k)
    x[:, k] = 0
    return x


SINGULAR = {
    **{f"a zero column {k}": _without_column(4, k) for k in range(4)},
    **{f"a zero column {k} of 7": _without_column(7, k) for k in (0, 3, 6)},
    "equal columns": draw(5, 5, seed=1)[:, [0, 0, 1, 2, 3]],
    "opposite columns": draw(5, 5, seed=1)[:, [0, 1, 0, 2, 3]] * [1, 1, -1, 1, 1],
    "equal rows": draw(5, 5, seed=2)[[0, 1, 2, 3, 1]],
    "a diagonal": np.diag([1.0, 0.0, 2.0, 3.0]),
    "a nilpotent": np.eye(6, k=1),
    "a Laplacian": 2 * np.eye(6) - np.roll(np.eye(6), 1, 0) - np.roll(np.eye(6), -1, 0),
    "rank n - 1": _rank(6, 5),
    "rank n - 1, complex": _rank(5, 4, np.complex128),
    "rank n - 2": _rank(6, 4),
    "rank n - 2, a diagonal": np.diag([0.0, 1.0, 0.0, 3.0, 2.0]),
    "rank 2": np.arange(16.0).reshape(4, 4),
    "rank 1": np.ones((5, 5)),
    "rank 0": np.zeros((4, 4)),
    "regular, badly scaled": np.diag([1e-20, 1.0, 1e10, 3.0]),
    "regular, a permutation": np.eye(5)[[2, 0, 1, 4, 3]],
}


@pytest.mark.parametrize("run", [lambda f: f, fdl.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("what", SINGULAR)
def test_the_derivative_of_det_at_any_rank(what: str, run: Any) -> None:
    x = SINGULAR[what]
    holomorphic = np.iscomplexobj(x)
    wanted = cofactors(x)
    tolerance = 1e-12 * max(1.0, np.abs(x).max()) ** (len(x) - 1)
    np.testing.assert_allclose(run(fdl.grad(L.det, holomorphic=holomorphic))(x), wanted, rtol=1e-9, atol=tolerance)
    dot = draw(*x.shape, dtype=x.dtype, seed=9)
    np.testing.assert_allclose(run(lambda x: fdl.jvp(L.det, (x,), (dot,))[1])(x), (wanted * dot).sum(), rtol=1e-9, atol=10 * tolerance)
    if not holomorphic and np.abs(x).max() < 100:
        h = 1e-4
        difference = (np.linalg.det(x + h * dot) - np.linalg.det(x - h * dot)) / (2 * h)
        assert float(fdl.jvp(L.det, (x,), (dot,))[1]) == pytest.approx(difference, rel=1e-5, abs=1e-5)


def test_the_derivative_of_det_of_a_stack_of_several_ranks() -> None:
    x = np.stack([v for v in SINGULAR.values() if v.shape == (4, 4)])
    wanted = np.stack([cofactors(v) for v in x])
    for f in (fdl.vmap(fdl.grad(L.det)), fdl.grad(lambda v: L.det(v).sum()), fdl.jit(fdl.vmap(fdl.grad(L.det)))):
        for slope, matrix, expected in zip(np.asarray(f(x)), x, wanted, strict=True):
            np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-12 * max(1.0, np.abs(matrix).max()) ** 3)


def test_norms_at_zero_have_derivative_zero() -> None:
    for f in (L.norm, L.vector_norm, lambda x: L.vector_norm(x, ord=3), lambda x: L.norm(fnp.stack([x, x]))):
        assert fdl.grad(f)(np.zeros(3)).tolist() == [0, 0, 0]
        assert fdl.jit(fdl.grad(f))(np.zeros(3)).tolist() == [0, 0, 0]


def test_equal_eigenvalues_give_finite_derivatives() -> None:
    # What depends on the eigenvalues as a whole has its true derivative there too.
    x = np.eye(3)
    close(fdl.grad(lambda x: fnp.sum(L.eigvalsh(x)))(x), np.eye(3))
    close(fdl.grad(lambda x: fnp.sum(L.svdvals(x)))(x), np.eye(3))
    assert np.isfinite(np.asarray(fdl.grad(lambda x: fnp.sum(L.eigh(x)[1] ** 2))(x))).all()
    close(fdl.jacfwd(L.pinv)(x), fdl.jacfwd(L.inv)(x))  # a matrix function, with a rule of its own


def test_the_derivative_of_solve_factorizes_once() -> None:
    def count(f: Callable[..., Any], *args: Any) -> int:
        text = str(fdl.make_ir(f)(*args))
        return text.count("= lu ") + text.count("= lu[")

    a, b = fnp.asarray(draw(3, 3)), fnp.asarray(draw(3))
    assert count(L.solve, a, b) == 1
    assert count(fdl.grad(lambda a: fnp.sum(L.solve(a, b))), a) == 1
    assert count(lambda a: fdl.jvp(L.solve, (a, b), (a, b))[1], a) == 1


# --- vmap -----------------------------------------------------------------------------------------

MAPPED: dict[str, Callable[..., Any]] = {
    "solve": lambda a: L.solve(a, a[:, 0]),
    "cholesky": lambda a: L.cholesky(a @ a.T + fnp.eye(3, dtype=a.dtype)),
    "det": L.det,
    "slogdet": lambda a: L.slogdet(a)[1],
    "qr": lambda a: L.qr(a)[1],
    "eigh": lambda a: L.eigh(a)[0],
    "svd": lambda a: L.svd(a)[1],
    "eigvals": L.eigvals,
    "pinv": L.pinv,
    "sqrtm": lambda a: schur.sqrtm(a @ a.T),
}


@pytest.mark.parametrize("name", MAPPED)
def test_vmap_over_each_axis(name: str) -> None:
    f = MAPPED[name]
    lanes = draw(4, 3, 3)
    expected = np.stack([np.asarray(f(fnp.asarray(x))) for x in lanes])
    for axis in range(3):
        close(fdl.vmap(f, in_axes=axis)(np.moveaxis(lanes, 0, axis)), expected, what=str(axis))
    close(fdl.jit(fdl.vmap(f))(lanes), expected)


def test_vmap_of_right_hand_sides_folds_them() -> None:
    a, b = draw(3, 3), draw(5, 3, 2)
    program = fdl.make_ir(lambda b: fdl.vmap(lambda b: L.solve(a, b))(b))(b)
    assert [e.outputs[0].type.shape for e in program.equations if e.primitive.name == "lu_solve"] == [(3, 10)]
    close(fdl.vmap(lambda b: L.solve(a, b))(b), np.linalg.solve(a, b))
    grads = fdl.vmap(fdl.grad(lambda a: fnp.sum(L.inv(a))))(draw(4, 3, 3))
    close(grads[2], fdl.grad(lambda a: fnp.sum(L.inv(a)))(draw(4, 3, 3)[2]))
