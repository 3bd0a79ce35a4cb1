"""`fdl.scipy`'s signal, fft, ndimage, interpolate, optimize, sparse, cluster and integrate against SciPy, with derivatives."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy
import scipy.cluster.vq
import scipy.interpolate
import scipy.ndimage
import scipy.signal
import scipy.stats

import fdl
import fdl.numpy as fnp
from fdl import scipy as fs
from fdl.testing import check_grads
from fdl.tracer.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)


def close(x: Any, wanted: Any, tolerance: float = 1e-11) -> None:
    np.testing.assert_allclose(np.asarray(x), wanted, rtol=tolerance, atol=tolerance)


# --- signal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("shapes", [((7,), (3,)), ((7,), (4,)), ((3,), (7,)), ((5, 6), (2, 3)), ((4, 5, 3), (2, 2, 3))])
def test_convolutions(name: str, mode: str, shapes: Any) -> None:
    a, b = RNG.normal(size=shapes[0]), RNG.normal(size=shapes[1])
    wanted = getattr(scipy.signal, name)(a, b, mode)
    close(getattr(fs.signal, name)(a, b, mode), wanted)
    close(getattr(fs.signal, name)(a, b, mode, method="fft"), wanted)


def test_convolutions_of_complex_and_whole_numbers() -> None:
    a, b = RNG.normal(size=6) + 1j * RNG.normal(size=6), RNG.normal(size=3) + 1j * RNG.normal(size=3)
    for name in ("convolve", "correlate"):
        close(getattr(fs.signal, name)(a, b), getattr(scipy.signal, name)(a, b))
        close(getattr(fs.signal, name)(a, b, method="fft"), getattr(scipy.signal, name)(a, b))
    whole = fs.signal.convolve(np.arange(5), np.array([1, 2]))
    assert whole.dtype == np.int64 and whole.tolist() == [0, 1, 4, 7, 10, 8]


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
def test_matrices(name: str, mode: str, boundary: str) -> None:
    for k in ((2, 3), (3, 4), (1, 1)):
        a, b = RNG.normal(size=(5, 6)), RNG.normal(size=k)
        close(getattr(fs.signal, name)(a, b, mode, boundary, 0.5), getattr(scipy.signal, name)(a, b, mode, boundary, 0.5))


def test_fftconvolve_along_some_axes() -> None:
    a, b = RNG.normal(size=(3, 6, 5)), RNG.normal(size=(3, 2, 1))
    close(fs.signal.fftconvolve(a, b, "same", axes=1), scipy.signal.fftconvolve(a, b, "same", axes=1))
    check_grads(lambda a, b: fs.signal.convolve(a, b, "same"), (RNG.normal(size=(4, 3)), RNG.normal(size=(2, 2))), order=2)
    check_grads(lambda a, b: fs.signal.fftconvolve(a, b), (RNG.normal(size=5), RNG.normal(size=3)), order=1)


@pytest.mark.parametrize("bp", [0, [3, 7], [1]])
def test_detrend(bp: Any) -> None:
    x = RNG.normal(size=(4, 10, 2))
    close(fs.signal.detrend(x, 1, bp=bp), scipy.signal.detrend(x, 1, bp=bp))
    close(fs.signal.detrend(x, 0, "constant"), scipy.signal.detrend(x, 0, "constant"))


SPECTRA: list[dict[str, Any]] = [
    {}, {"nperseg": 16}, {"nperseg": 16, "noverlap": 4, "nfft": 21}, {"nperseg": 15, "scaling": "spectrum", "detrend": "linear"},
    {"nperseg": 12, "window": "blackman", "average": "median", "detrend": False}, {"nperseg": 8, "return_onesided": False, "fs": 100.0},
    {"nperseg": 10, "window": "hamming", "fs": 8.0},
]  # fmt: skip


@pytest.mark.parametrize("options", SPECTRA)
def test_spectra(options: dict[str, Any]) -> None:
    x, y = RNG.normal(size=(2, 300)), RNG.normal(size=(2, 300))
    both = options | {"return_onesided": False}
    for got, wanted in (
        (fs.signal.welch(x, **options), scipy.signal.welch(x, **options)),
        (fs.signal.csd(x, y, **options), scipy.signal.csd(x, y, **options)),
        (fs.signal.welch(x.T, axis=0, **options), scipy.signal.welch(x.T, axis=0, **options)),
        (fs.signal.welch(x + 1j * y, **both), scipy.signal.welch(x + 1j * y, **both)),
    ):
        close(got[0], wanted[0], 1e-6)
        close(got[1], wanted[1], 1e-10)


@pytest.mark.parametrize("boundary", ["zeros", "even", "odd", "constant", None])
def test_short_time_transform(boundary: str | None) -> None:
    x = RNG.normal(size=(2, 61))
    how: dict[str, Any] = {"nperseg": 16, "noverlap": 12, "fs": 4.0}
    for got, wanted in zip(
        fs.signal.stft(x, boundary=boundary, **how), scipy.signal.stft(x, boundary=boundary, **how), strict=True
    ):
        close(got, wanted, 1e-6 if np.ndim(wanted) == 1 else 1e-11)
    z = fs.signal.stft(x, **how)[2]
    t, back = fs.signal.istft(z, **how)
    close(t, np.arange(back.shape[-1]) / 4)
    close(back, scipy.signal.istft(np.asarray(z), **how)[1])
    close(back[:, :61], x)
    moved = np.moveaxis(np.asarray(z), (1, 2), (2, 0))
    close(
        fs.signal.istft(moved, time_axis=0, freq_axis=2, **how)[1],
        scipy.signal.istft(moved, time_axis=0, freq_axis=2, **how)[1],
    )


def test_short_time_transform_of_complex_signals() -> None:
    x = RNG.normal(size=40) + 1j * RNG.normal(size=40)
    z = fs.signal.stft(x, nperseg=8, return_onesided=False)[2]
    close(z, scipy.signal.stft(x, nperseg=8, return_onesided=False)[2])
    close(fs.signal.istft(z, nperseg=8, input_onesided=False)[1][:40], x)
    check_grads(lambda x: fnp.abs(fs.signal.stft(x, nperseg=8)[2]) ** 2, (RNG.normal(size=20),), order=1)


# --- cosine transforms ----------------------------------------------------------------------------


@pytest.mark.parametrize("type", [2, 3])
@pytest.mark.parametrize("norm", [None, "ortho", "forward", "backward"])
@pytest.mark.parametrize("name", ["dct", "idct"])
def test_cosine_transforms(name: str, norm: str | None, type: int) -> None:
    x = RNG.normal(size=(3, 6, 5))
    for axis in (0, 1, -1):
        for n in (None, 4, 9):
            close(getattr(fs.fft, name)(x, type, n, axis, norm), getattr(scipy.fft, name)(x, type, n, axis, norm))
    several, theirs = getattr(fs.fft, name + "n"), getattr(scipy.fft, name + "n")
    close(several(x, type, None, None, norm), theirs(x, type, None, None, norm))
    close(several(x, type, (4, 7), (0, 2), norm), theirs(x, type, (4, 7), (0, 2), norm))
    close(several(x, type, (4, 7), None, norm), theirs(x, type, (4, 7), None, norm))  # the last two axes
    check_grads(lambda x: several(x, type, norm=norm), (x[0],), order=1)


# --- images, grids, codes -------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(("mode", "theirs"), [
    ("constant", "grid-constant"), ("nearest", "nearest"), ("wrap", "grid-wrap"), ("mirror", "mirror"), ("reflect", "reflect"),
])  # fmt: skip
def test_map_coordinates(mode: str, theirs: str, order: int) -> None:
    for x in (RNG.normal(size=(5, 4)), RNG.normal(size=(1, 3))):
        c = RNG.uniform(-8, 14, (2, 30))
        close(
            fs.ndimage.map_coordinates(x, c, order, mode, 0.7),
            scipy.ndimage.map_coordinates(x, c, order=order, mode=theirs, cval=0.7),
        )
    whole = RNG.integers(0, 99, (5, 4))
    wanted = np.round(scipy.ndimage.map_coordinates(whole.astype(float), c, order=order, mode=theirs))
    close(fs.ndimage.map_coordinates(whole, c, order, mode), wanted)


def test_map_coordinates_has_derivatives() -> None:
    x, c = RNG.normal(size=(5, 4)), RNG.uniform(0.1, 0.9, (2, 7)) + RNG.integers(-2, 5, (2, 7))
    for mode in ("constant", "mirror", "wrap"):
        check_grads(lambda x, c, m=mode: fs.ndimage.map_coordinates(x, c, 1, m), (x, c), order=2)


@pytest.mark.parametrize("method", ["linear", "nearest"])
@pytest.mark.parametrize("fill", [np.nan, None, -1.0])
def test_regular_grid(method: str, fill: float | None) -> None:
    lines = (np.array([0.0, 0.5, 2.0, 3.0]), np.array([-1.0, 1.0, 1.5]))
    values = RNG.normal(size=(4, 3, 2))
    x = RNG.uniform(-2, 4, (5, 6, 2))
    wanted = scipy.interpolate.RegularGridInterpolator(lines, values, method, bounds_error=False, fill_value=fill)(x)
    close(fs.interpolate.RegularGridInterpolator(lines, values, method, fill_value=fill)(x), wanted)
    if fill is None and method == "linear":
        check_grads(
            lambda v, x: fs.interpolate.RegularGridInterpolator(lines, v, fill_value=None)(x),
            (values, RNG.uniform(0.1, 0.4, (3, 2))),
            order=2,
        )


def test_vq() -> None:
    for a, b in ((RNG.normal(size=(9, 3)), RNG.normal(size=(4, 3))), (RNG.normal(size=9), RNG.normal(size=4))):
        for got, wanted in zip(fs.cluster.vq.vq(a, b), scipy.cluster.vq.vq(a, b), strict=True):
            close(got, wanted)


def test_trapezoid() -> None:
    assert fs.integrate.trapezoid is fnp.trapezoid


# --- linear systems -------------------------------------------------------------------------------

A = RNG.normal(size=(9, 9)) + 6 * np.eye(9)
S = A @ A.T + np.eye(9)
B = RNG.normal(size=9)


@pytest.mark.parametrize(("name", "matrix"), [("cg", S), ("bicgstab", A), ("gmres", A)])
def test_solvers(name: str, matrix: np.ndarray) -> None:
    solver = getattr(fs.sparse.linalg, name)
    wanted = np.linalg.solve(matrix, B)
    close(solver(matrix, B, tol=1e-12)[0], wanted, 1e-9)
    close(solver(lambda x: matrix @ x, B, x0=wanted + 0.1, tol=1e-12, M=np.diag(1 / np.diag(matrix)))[0], wanted, 1e-9)
    close(fdl.jit(lambda a, b: solver(a, b, tol=1e-12)[0])(matrix, B), wanted, 1e-9)
    close(
        fdl.vmap(lambda b: solver(matrix, b, tol=1e-12)[0])(np.stack([B, 0 * B, 2 * B])),
        np.stack([wanted, 0 * B, 2 * wanted]),
        1e-9,
    )

    def f(a: Any, b: Any) -> Any:
        return solver((a + a.T) / 2 if name == "cg" else a, b, tol=1e-13)[0]

    check_grads(f, (matrix, B), order=1)


def test_solvers_of_complex_systems_and_pytrees() -> None:
    h = S + 1j * (A - A.T)
    b = B + 1j * B[::-1]
    for solver, matrix in ((fs.sparse.linalg.cg, h @ h.conj().T), (fs.sparse.linalg.bicgstab, h), (fs.sparse.linalg.gmres, h)):
        close(solver(matrix, b, tol=1e-12)[0], np.linalg.solve(matrix, b), 1e-7)

    def apply(t: dict[str, Any]) -> dict[str, Any]:
        v = S @ fnp.concat([t["a"], fnp.reshape(t["b"], (5,))])
        return {"a": v[:4], "b": v[4:].reshape(5, 1)}

    x, info = fs.sparse.linalg.cg(apply, {"a": B[:4], "b": B[4:].reshape(5, 1)}, tol=1e-12)
    close(np.concatenate([np.asarray(x["a"]), np.asarray(x["b"])[:, 0]]), np.linalg.solve(S, B), 1e-9)
    assert info is None
    close(fs.sparse.linalg.gmres(A, B, tol=1e-12, restart=3)[0], np.linalg.solve(A, B), 1e-8)


# --- minimization ---------------------------------------------------------------------------------


def rosenbrock(x: Any) -> Any:
    return fnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_minimize() -> None:
    start = np.array([1.3, 0.7, 0.8, 1.9, 1.2])
    found = fs.optimize.minimize(rosenbrock, start, method="BFGS", options={"gtol": 1e-8})
    assert bool(found.success) and int(found.status) == 0
    close(found.x, np.ones(5), 1e-6)
    close(found.fun, 0, 1e-12)
    compiled = fdl.jit(lambda x: fs.optimize.minimize(rosenbrock, x, method="BFGS", options={"gtol": 1e-8}))(start)
    close(compiled.x, found.x, 1e-6)
    assert int(compiled.nit) > 5 and int(compiled.nfev) >= int(compiled.nit)
    quadratic = fs.optimize.minimize(
        lambda x, a: ((x - a) ** 2 * fnp.array([1.0, 10.0])).sum(), np.zeros(2), (np.array([3.0, -1.0]),), method="bfgs"
    )
    close(quadratic.x, [3, -1], 1e-5)
    # The estimate comes near the inverse Hessian of a quadratic function.
    assert quadratic.hess_inv.shape == (2, 2) and bool((fnp.linalg.eigvalsh(quadratic.hess_inv) > 0).all())


def test_minimize_says_what_went_wrong() -> None:
    out_of_time = fs.optimize.minimize(rosenbrock, np.array([-1.2, 1.0]), method="BFGS", options={"maxiter": 2})
    assert not bool(out_of_time.success) and int(out_of_time.status) == 1 and int(out_of_time.nit) == 2
    no_bottom = fs.optimize.minimize(lambda x: x.sum(), np.zeros(2), method="BFGS")
    assert not bool(no_bottom.success) and int(no_bottom.status) == 2
    nan = fs.optimize.minimize(lambda x: fnp.log(x).sum(), np.array([-1.0]), method="BFGS")
    assert not bool(nan.success)


# --- errors ---------------------------------------------------------------------------------------

WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: fs.signal.convolve(np.ones(3), np.ones((2, 2))),
        ShapeError,
        "convolve: arrays of shapes (3,) and (2, 2): expected equally many axes",
    ),
    (
        lambda: fs.signal.convolve(np.ones(3), np.ones(2), "whole"),
        ShapeError,
        "convolve: mode='whole': expected 'full', 'same' or 'valid'.",
    ),
    (
        lambda: fs.signal.convolve(np.ones((3, 1)), np.ones((1, 3)), "valid"),
        ShapeError,
        "in mode 'valid': one must be at least as large as the other",
    ),
    (
        lambda: fs.signal.convolve2d(np.ones((3, 3)), np.ones((2, 2)), boundary="no"),
        ShapeError,
        "convolve2d: boundary='no': expected 'fill', 'wrap' or 'symm'.",
    ),
    (
        lambda: fs.signal.detrend(np.ones(3), type="cubic"),
        ShapeError,
        "detrend: type='cubic': expected 'linear' or 'constant'.",
    ),
    (
        lambda: fs.signal.welch(np.ones(9), window="round"),
        ShapeError,
        "csd: window='round': expected an array, or one of boxcar, hann",
    ),
    (lambda: fs.signal.welch(np.ones(9), nperseg=4, noverlap=4), ShapeError, "csd: noverlap=4, nfft=4 for segments of 4"),
    (lambda: fs.fft.dct(np.ones(3), 1), ShapeError, "dct: type=1: expected 2 or 3."),
    (lambda: fs.fft.dct(np.ones(3) + 1j), DTypeError, "dct: takes real numbers, got c128[3]. Transform the parts."),
    (lambda: fs.ndimage.map_coordinates(np.ones(3), [[0.5]], 3), ShapeError, "map_coordinates: order=3: expected 0 or 1."),
    (
        lambda: fs.ndimage.map_coordinates(np.ones((3, 3)), [[0.5]], 1),
        ShapeError,
        "map_coordinates: 1 coordinates for an array of shape (3, 3): expected 2.",
    ),
    (
        lambda: fs.interpolate.RegularGridInterpolator((np.ones(2),), np.ones(3)),
        ShapeError,
        "RegularGridInterpolator: the points of axis 0 have shape (2,)",
    ),
    (
        lambda: fs.interpolate.RegularGridInterpolator((np.ones(3),), np.ones(3), "cubic"),
        ValueError,
        "RegularGridInterpolator: method='cubic'",
    ),
    (
        lambda: fs.cluster.vq.vq(np.ones((3, 2)), np.ones((3, 3))),
        ShapeError,
        "vq: obs (3, 2), code_book (3, 3): expected (n, d) and (k, d)",
    ),
    (
        lambda: fs.sparse.linalg.cg(np.ones((3, 2)), np.ones(3)),
        ShapeError,
        "cg: A has shape (3, 2), expected a square matrix or a function.",
    ),
    (lambda: fs.sparse.linalg.cg(np.eye(3), np.arange(3)), DTypeError, "cg: b must have floating-point elements."),
    (
        lambda: fs.optimize.minimize(rosenbrock, np.ones(2), method="Newton"),
        ValueError,
        "minimize: method='Newton': expected 'BFGS'.",
    ),
    (
        lambda: fs.optimize.minimize(rosenbrock, np.ones(2), method="BFGS", options={"eps": 1}),
        ValueError,
        "minimize: unknown options eps: expected gtol",
    ),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_call(number: int) -> None:
    call, error, text = WRONG[number]
    with pytest.raises(error, match=re.escape(text)) as caught:
        call()
    assert f"{__file__}:" in str(caught.value)


# --- descriptions of samples ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["average", "min", "max", "dense", "ordinal"])
def test_rankdata(method: str) -> None:
    for x in (RNG.integers(0, 5, (4, 9)), RNG.integers(0, 5, (4, 9)) / 2):
        close(fs.stats.rankdata(x, method), scipy.stats.rankdata(x, method).ravel())
        for axis in (0, 1):
            close(fs.stats.rankdata(x, method, axis=axis), scipy.stats.rankdata(x, method, axis=axis))
    assert np.isnan(np.asarray(fs.stats.rankdata([1.0, np.nan, 0.0], method))).all()
    assert fs.stats.rankdata(np.zeros((0,)), method).shape == (0,)


def test_mode() -> None:
    x = RNG.integers(0, 4, (5, 8))
    for axis in (0, 1, None):
        for keepdims in (False, True):
            got, wanted = fs.stats.mode(x, axis, keepdims=keepdims), scipy.stats.mode(x, axis, keepdims=keepdims)
            np.testing.assert_array_equal(np.asarray(got.mode), wanted.mode)
            np.testing.assert_array_equal(np.asarray(got.count), wanted.count)
    got = fs.stats.mode(np.array([1.0, np.nan, 2.0, 2.0, np.nan]))
    assert np.isnan(float(got.mode)) and int(got.count) == 2
    with pytest.raises(ShapeError, match="mode: axis 0 of an array of shape"):
        fs.stats.mode(np.zeros(0))


def test_sem() -> None:
    x = RNG.normal(size=(5, 4))
    for axis in (0, 1, None):
        close(fs.stats.sem(x, axis), scipy.stats.sem(x, axis))
        close(fs.stats.sem(x, axis, ddof=0, keepdims=True), scipy.stats.sem(x, axis, ddof=0, keepdims=True))
    check_grads(lambda x: fs.stats.sem(x, 1), (x,), order=2)


# --- one device -----------------------------------------------------------------------------------


def test_values_to_and_from_the_device() -> None:
    host = np.ones(2)
    there = fdl.device_put({"a": host, "b": 2}, "cpu")
    host[0] = 5
    assert there["a"].tolist() == [1, 1] and fdl.block_until_ready(there) is there
    back = fdl.device_get(there)
    assert isinstance(back["a"], np.ndarray) and back["a"].flags.writeable and int(back["b"]) == 2
    with pytest.raises(ShapeError, match="device_put: device 'tpu' is not known"):
        fdl.device_put(host, "tpu")
    with pytest.raises(TypeError, match="needs the value of a traced array"):
        fdl.jit(fdl.device_get)(host)
