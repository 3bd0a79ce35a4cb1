"""`fdl.scipy.linalg` against SciPy, with derivatives, compiled code and vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg as sl

import fdl
import fdl.numpy as fnp
from fdl.scipy import linalg as S
from fdl.testing import check_grads
from fdl.tracer.errors import ShapeError

FIELDS = [np.float64, np.complex128]


def draw(*shape: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def definite(n: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    x = draw(n, n, dtype=dtype, seed=seed)
    return np.asarray(x @ x.conj().T + np.eye(n))


def close(a: Any, b: Any, tol: float = 1e-10) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, (a.shape, b.shape)
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1.0, float(np.max(np.abs(b), initial=0))))


def all_close(a: Any, b: Any, tol: float = 1e-10) -> None:
    for x, y in zip(a, b, strict=True):
        close(x, y, tol)


# --- factors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("lower", [False, True])
def test_cholesky_and_triangular_systems(lower: bool, dtype: Any) -> None:
    p, b = definite(4, dtype), draw(4, 2, dtype=dtype)
    triangle = np.tril(p) if lower else np.triu(p)
    close(S.cholesky(triangle, lower), sl.cholesky(triangle, lower))
    for right in (b, b[:, 0]):
        close(S.cho_solve(S.cho_factor(triangle, lower), right), sl.cho_solve(sl.cho_factor(triangle, lower), right))
        for trans in (0, 1, 2, "N", "T", "C"):
            for unit in (False, True):
                expected = sl.solve_triangular(p, right, trans=trans, lower=lower, unit_diagonal=unit)
                close(S.solve_triangular(p, right, trans, lower, unit), expected)
    for kind, x in (("gen", p), ("her", p), ("pos", p), ("sym", (b @ b.T + np.eye(4)))):
        half = x if kind == "gen" else np.tril(x) if lower else np.triu(x)
        close(S.solve(half, b, lower=lower, assume_a=kind), np.linalg.solve(x, b))


@pytest.mark.parametrize("dtype", FIELDS)
def test_lu(dtype: Any) -> None:
    x, b = draw(4, 4, dtype=dtype), draw(4, 2, dtype=dtype)
    all_close(S.lu_factor(x), sl.lu_factor(x))
    for trans in (0, 1, 2):
        for right in (b, b[:, 0]):
            close(S.lu_solve(S.lu_factor(x), right, trans), sl.lu_solve(sl.lu_factor(x), right, trans))
    stack = draw(2, 4, 4, dtype=dtype)
    close(S.lu_solve(S.lu_factor(stack), b), np.linalg.solve(stack, b))
    for shape in ((4, 4), (5, 3), (3, 5), (2, 4, 3)):
        y = draw(*shape, dtype=dtype)
        p, low, up = S.lu(y)
        close(np.asarray(p) @ np.asarray(low) @ np.asarray(up), y)
        if y.ndim == 2:
            all_close((p, low, up), sl.lu(y))
            all_close(S.lu(y, permute_l=True), sl.lu(y, permute_l=True))
            all_close(S.lu(y, p_indices=True), sl.lu(y, p_indices=True))
    close(S.det(x), np.linalg.det(x))
    close(S.inv(x), np.linalg.inv(x))
    close(fdl.jit(lambda x, b: S.lu_solve(S.lu_factor(x), b))(x, b), np.linalg.solve(x, b))


# --- orthogonal and spectral ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELDS)
def test_orthogonal_and_spectral(dtype: Any) -> None:
    for shape in ((4, 4), (5, 3), (3, 5)):
        x = draw(*shape, dtype=dtype)
        for mode in ("full", "economic", "r"):
            all_close(S.qr(x, mode=mode), sl.qr(x, mode=mode))
        for side in ("left", "right"):
            all_close(S.polar(x, side), sl.polar(x, side))
        close(S.svd(x, compute_uv=False), sl.svd(x, compute_uv=False))
        assert len(S.svd(x)) == 3
    a, b = definite(4, dtype), definite(4, dtype, seed=1)
    for lower in (False, True):
        cut = np.tril if lower else np.triu
        close(S.eigh(cut(a), lower=lower, eigvals_only=True), sl.eigh(a, eigvals_only=True))
        w, v = S.eigh(cut(a), cut(b), lower=lower)
        close(w, sl.eigh(a, b, eigvals_only=True))
        v = np.asarray(v)
        close(a @ v, b @ v * np.asarray(w), 1e-9)
        close(v.conj().T @ b @ v, np.eye(4))
        close(S.eigh(cut(a), cut(b), lower=lower, eigvals_only=True), w)
    x = draw(4, 4, dtype=dtype)
    all_close(S.schur(x), sl.schur(x))
    all_close(S.schur(x, "complex"), sl.schur(x, "complex"))
    all_close(S.hessenberg(x, calc_q=True), sl.hessenberg(x, calc_q=True))
    close(S.hessenberg(x), sl.hessenberg(x))
    close(fdl.jit(S.schur)(np.stack([x, x]))[0][1], sl.schur(x)[0])


def test_eigh_tridiagonal() -> None:
    for n in (1, 2, 5):
        d, e = draw(n), draw(max(n - 1, 0), seed=1)
        dense = np.diag(d) + (np.diag(e, 1) + np.diag(e, -1) if n > 1 else 0)
        w, v = S.eigh_tridiagonal(d, e)
        close(w, np.linalg.eigvalsh(dense))
        close(dense @ np.asarray(v), np.asarray(v) * np.asarray(w))
        close(S.eigh_tridiagonal(d, e, eigvals_only=True), w)
    found, wanted = (
        f(d, e, select="i", select_range=(1, 3), eigvals_only=True) for f in (S.eigh_tridiagonal, sl.eigh_tridiagonal)
    )
    close(found, wanted)


# --- functions of matrices ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELDS)
def test_expm(dtype: Any) -> None:
    x = draw(4, 4, dtype=dtype)
    for scale in (0.0, 1e-3, 0.3, 1.0, 10.0):
        close(S.expm(scale * x), sl.expm(scale * x), 1e-9)
    turn = 100 * (x - x.conj().T)  # a rotation: eleven squarings
    close(S.expm(turn), sl.expm(turn), 1e-8)
    close(S.expm(np.triu(x), upper_triangular=True), sl.expm(np.triu(x)))
    stack = np.stack([x, 20 * x, 0 * x])
    expected = np.stack([sl.expm(v) for v in stack])
    for found in (S.expm(stack), fdl.jit(S.expm)(stack), fdl.vmap(S.expm)(stack)):
        for a, b in zip(np.asarray(found), expected, strict=True):
            close(a, b, 1e-8)
    assert np.isnan(np.asarray(S.expm(1e9 * x))).all()
    assert S.expm(np.zeros((2, 0, 0))).shape == (2, 0, 0)
    e = draw(4, 4, dtype=dtype, seed=1)
    all_close(S.expm_frechet(x, e), sl.expm_frechet(x, e))
    close(S.expm_frechet(x, e, compute_expm=False), sl.expm_frechet(x, e, compute_expm=False))
    single = S.expm(x.astype(np.float32 if dtype is np.float64 else np.complex64))
    close(single, sl.expm(x), 1e-5)


@pytest.mark.parametrize("dtype", FIELDS)
def test_sqrtm_and_sylvester(dtype: Any) -> None:
    p = definite(4, dtype)
    close(S.sqrtm(p), sl.sqrtm(p))
    close(S.sqrtm(-p) @ S.sqrtm(-p), -p)
    close(S.sqrtm(np.array([[0.0, 1.0], [-1.0, 0.0]])), np.sqrt(0.5) * np.array([[1, 1], [-1, 1]]))
    b, c = draw(2, 2, dtype=dtype), draw(4, 2, dtype=dtype)
    close(S.solve_sylvester(p, b, c), sl.solve_sylvester(p, b, c))
    close(fdl.jit(S.solve_sylvester)(np.stack([p, 2 * p]), b, c)[0], sl.solve_sylvester(p, b, c))
    with np.errstate(all="ignore"):
        assert np.isnan(np.asarray(S.sqrtm(np.full((2, 2), np.nan)))).all()


DIFFERENTIABLE: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "expm": (S.expm, ((3, 3),)),
    "expm_frechet": (S.expm_frechet, ((2, 2), (2, 2))),
    "sqrtm": (lambda x: S.sqrtm(x @ fnp.conj(x.mT)), ((3, 3),)),
    "sylvester": (S.solve_sylvester, ((3, 3), (2, 2), (3, 2))),
    "cho_solve": (
        lambda x, b: S.cho_solve(S.cho_factor(x @ fnp.conj(x.mT) + fnp.eye(3, dtype=x.dtype)), b),
        ((3, 3), (3, 2)),
    ),
    "lu_solve": (lambda x, b: S.lu_solve(S.lu_factor(x), b, 1), ((3, 3), (3,))),
    "lu": (lambda x: S.lu(x)[1:], ((3, 3),)),
    "solve_triangular": (lambda x, b: S.solve_triangular(x, b, "C"), ((3, 3), (3,))),
    "eigh": (lambda a, b: S.eigh(a @ fnp.conj(a.mT), b @ fnp.conj(b.mT) + fnp.eye(3, dtype=b.dtype))[0], ((3, 3), (3, 3))),
    "polar": (S.polar, ((3, 3),)),
    "toeplitz": (lambda c, r: S.toeplitz(c, r) ** 2, ((3,), (4,))),
    "companion": (S.companion, ((4,),)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_to_second_order(name: str, dtype: Any) -> None:
    f, shapes = DIFFERENTIABLE[name]
    # The Fréchet derivative is a derivative of expm already.
    check_grads(f, tuple(draw(*s, dtype=dtype, seed=5) for s in shapes), order=1 if name == "expm_frechet" else 2)


def test_compiled_gradient_of_expm() -> None:
    x = draw(3, 3)
    g = fdl.grad(lambda x: fnp.sum(S.expm(3 * x) ** 2))
    close(fdl.jit(g)(x), g(x), 1e-9)


# --- matrices with a name -------------------------------------------------------------------------


def test_matrices_of_given_elements() -> None:
    c, r, z = draw(4), draw(6, seed=1), draw(4, dtype=np.complex128)
    close(S.toeplitz(c), sl.toeplitz(c))
    close(S.toeplitz(z), sl.toeplitz(z))
    close(S.toeplitz(c, r), sl.toeplitz(c, r))
    close(S.hankel(c), sl.hankel(c))
    close(S.hankel(c, r), sl.hankel(c, r))
    close(S.circulant(c), sl.circulant(c))
    close(S.companion(c), sl.companion(c))
    close(S.leslie(c, r[:3]), sl.leslie(c, r[:3]))
    close(S.fiedler(c), sl.fiedler(c))
    close(S.block_diag(draw(2, 3), draw(1, 2), c, 2.0), sl.block_diag(draw(2, 3), draw(1, 2), c, 2.0))
    close(S.block_diag(), sl.block_diag())
    for mode in ("full", "valid", "same"):
        for n in (1, 3, 4, 7):
            close(S.convolution_matrix(c, n, mode), sl.convolution_matrix(c, n, mode))
    assert S.block_diag([[1]], [[2]]).dtype == np.int32


def test_matrices_of_a_size() -> None:
    for n in (1, 2, 3, 5):
        close(S.hilbert(n), sl.hilbert(n), 1e-6)
        close(S.invhilbert(n), sl.invhilbert(n), 1e-6)
        for scale in (None, "sqrtn", "n"):
            close(S.dft(n, scale), sl.dft(n, scale), 1e-6)
        for kind in ("symmetric", "lower", "upper"):
            close(S.pascal(n, kind), sl.pascal(n, kind))
            close(S.invpascal(n, kind), sl.invpascal(n, kind))
    for n in (2, 5):
        for full in (False, True):
            close(S.helmert(n, full), sl.helmert(n, full), 1e-6)
    assert np.asarray(S.hadamard(8)).tolist() == sl.hadamard(8).tolist()


ERRORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: S.qr(np.eye(2), pivoting=True), "no column pivoting. Use svd"),
    (lambda: S.qr(np.eye(2), mode="reduced"), "mode 'reduced', expected 'full'"),
    (lambda: S.solve(np.eye(2), np.ones(2), assume_a="banded"), "assume_a 'banded'"),
    (lambda: S.solve(np.eye(2), np.ones(3)), "expected 2 rows"),
    (lambda: S.solve_triangular(np.eye(2), np.ones(2), "H"), "trans 'H'"),
    (lambda: S.eigh(np.eye(2), np.eye(2), type=2), "type 2, expected 1"),
    (lambda: S.eigh_tridiagonal(np.ones(3), np.ones(3)), "one element less in e"),
    (lambda: S.eigh_tridiagonal(np.ones(3), np.ones(2), select="v"), "select 'v'"),
    (lambda: S.polar(np.eye(2), "up"), "side 'up'"),
    (lambda: S.schur(np.eye(2), "r"), "output 'r'"),
    (lambda: S.expm_frechet(np.eye(2), np.eye(3)), "expected one shape"),
    (lambda: S.toeplitz(np.eye(2)), "expected a vector"),
    (lambda: S.hadamard(3), "power of two"),
    (lambda: S.pascal(3, "left"), "kind 'left'"),
    (lambda: S.invpascal(3, "left"), "kind 'left'"),
    (lambda: S.dft(3, "N"), "scale 'N'"),
    (lambda: S.convolution_matrix(np.ones(2), 0), "n = 0"),
    (lambda: S.leslie(np.ones(3), np.ones(3)), "one less"),
    (lambda: S.companion(np.ones(1)), "at least 2"),
    (lambda: S.block_diag(np.ones((1, 1, 1))), "expected matrices"),
]


@pytest.mark.parametrize(("call", "text"), ERRORS, ids=[t[:30] for _, t in ERRORS])
def test_errors(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        call()
