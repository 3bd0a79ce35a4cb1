"""Fourier transforms: `fdl.numpy.fft` against NumPy, derivatives, compiled against eager, vmap."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.backends import fourier
from fdl.numpy import fft as F
from fdl.testing import check_grads
from fdl.tracer.errors import DTypeError, ShapeError
from fdl.tracer.ops.fft import fft as transform

REAL_INPUT = ("rfft", "ihfft")
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2")
NORMS = (None, "backward", "ortho", "forward")


def draw(*shape: int, dtype: Any = np.complex128, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def operand(name: str, *shape: int) -> np.ndarray:
    return draw(*shape, dtype=np.float64 if name in (*REAL_INPUT, "rfftn", "rfft2") else np.complex128)


def same(a: Any, b: Any, tol: float = 1e-12) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1.0, float(np.max(np.abs(b), initial=0))))


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ONE)
def test_one_axis(name: str) -> None:
    x = operand(name, 3, 5, 6)
    for norm in NORMS:
        for n in (None, 1, 4, 9):
            for axis in (-1, 1, 0):
                same(getattr(F, name)(x, n=n, axis=axis, norm=norm), getattr(np.fft, name)(x, n=n, axis=axis, norm=norm))


@pytest.mark.parametrize("name", SEVERAL)
def test_several_axes(name: str) -> None:
    x = operand(name, 3, 5, 6)
    for norm in NORMS:
        for s, axes in ((None, None), ((3, 8), (0, 2)), ((4, 3), (-1, 0)), (None, (2, 1)), (None, (1,))):
            how = {"s": s, "norm": norm} | ({} if axes is None else {"axes": axes})
            same(getattr(F, name)(x, **how), getattr(np.fft, name)(x, **how))


@given(
    st.sampled_from(ONE),
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.integers(1, 9),
    st.sampled_from(NORMS),
    st.data(),
)
def test_any_shape(name: str, shape: list[int], n: int, norm: str | None, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = operand(name, *shape)
    same(getattr(F, name)(x, n=n, axis=axis, norm=norm), getattr(np.fft, name)(x, n=n, axis=axis, norm=norm))


def test_inverses() -> None:
    x = draw(4, 7)
    same(F.ifftn(F.fftn(x, norm="ortho"), norm="ortho"), x)
    r = x.real
    same(F.irfftn(F.rfftn(r), s=r.shape), r)
    same(F.ihfft(F.hfft(x[:, :4], n=7), n=7).imag[:, 1:], x[:, 1:4].imag)


def test_dtypes() -> None:
    assert F.fft(np.ones(4, np.float32)).dtype == np.complex64
    assert F.rfft(np.ones(4, np.float32)).dtype == np.complex64
    assert F.irfft(np.ones(4, np.complex64)).dtype == np.float32
    assert F.fft([1, 2, 3]).dtype == np.complex64
    assert F.hfft(np.ones(4)).dtype == np.float64
    x = draw(64, dtype=np.float32)
    same(F.rfft(x), np.fft.rfft(x.astype(np.float64)).astype(np.complex64), 1e-5)


def test_stacks_without_elements() -> None:
    assert F.fft(np.zeros((0, 4))).shape == (0, 4)
    assert F.irfft(np.zeros((0, 4), complex), n=5).shape == (0, 5)
    assert fdl.jit(F.rfft)(np.zeros((0, 4))).shape == (0, 3)


def test_frequencies_and_shifts() -> None:
    for n in (1, 4, 5):
        same(F.fftfreq(n, d=0.5, dtype=np.float64), np.fft.fftfreq(n, 0.5))
        same(F.rfftfreq(n, d=0.5, dtype=np.float64), np.fft.rfftfreq(n, 0.5))
    assert F.fftfreq(4).dtype == np.float32
    x = draw(4, 5)
    for axes in (None, 0, (0, 1), (-1,)):
        same(F.fftshift(x, axes=axes), np.fft.fftshift(x, axes))
        same(F.ifftshift(x, axes=axes), np.fft.ifftshift(x, axes))


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.fft(np.float64(1.0)), ShapeError, "scalar has no axis"),
    (lambda: F.fft(np.ones(3), n=0), ShapeError, r"lengths \(0,\) .* at least 1"),
    (lambda: F.fft(np.ones(3), axis=1), ShapeError, "axis 1 is out of range"),
    (lambda: F.fft(np.ones(3), norm="unit"), ShapeError, "norm 'unit', expected 'backward', 'ortho' or 'forward'"),
    (lambda: F.hfft(np.ones(3), norm="unit"), ShapeError, "norm 'unit'"),
    (lambda: F.rfft(np.ones(3, complex)), DTypeError, r"rfft: .* complex128, expected real numbers. Use x.real, or fft"),
    (lambda: F.fft(np.ones(3, np.float16)), DTypeError, "float16, expected 32 bits"),
    (lambda: F.fftn(np.ones((2, 3)), s=(2,), axes=(0, 1)), ShapeError, r"1 lengths for the axes \(0, 1\)"),
    (lambda: F.fftn(np.ones(3), s=(2, 2)), ShapeError, "2 lengths for an array of shape"),
    (lambda: F.fftfreq(0), ShapeError, "n = 0"),
    (lambda: F.fftfreq(4, dtype=int), DTypeError, "real floating-point"),
    (lambda: transform(np.ones(3, complex), "fft", (4,)), ShapeError, r"shape \(3,\) for lengths \(4,\): expected it to end in \(4,\)"),
    (lambda: transform(np.ones(3, complex), "dct", (3,)), ShapeError, "kind 'dct'"),
    (lambda: transform(np.ones(3), "irfft", (4,)), DTypeError, "expected complex64 or complex128"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[t[:30] for _, _, t in ERRORS])
def test_errors(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()


# --- derivatives, compiled code, vmap -------------------------------------------------------------


@pytest.mark.parametrize("n", [None, 5, 6])
@pytest.mark.parametrize("name", ONE)
def test_derivatives(name: str, n: int | None) -> None:
    def f(x: Any) -> Any:
        y = getattr(F, name)(x, n=n, norm="ortho")
        return y * y

    check_grads(f, (operand(name, 2, 5),), order=2)


@pytest.mark.parametrize("name", ("fftn", "ifftn", "rfftn", "irfftn"))
def test_derivatives_over_several_axes(name: str) -> None:
    check_grads(lambda x: getattr(F, name)(x) ** 2, (operand(name, 3, 2, 4),), order=2)


def test_transposes_are_transforms() -> None:
    x = draw(6)
    close = np.testing.assert_allclose
    (t,) = fdl.linear_transpose(F.fft, x)(x)
    close(np.asarray(t), np.fft.fft(x))
    # Stored values of JAX 0.10.2, whose convention for complex cotangents this is.
    (t,) = fdl.linear_transpose(lambda y: F.irfft(y, n=4), np.zeros(3, complex))(np.array([1.0, 2, 3, 4]))
    close(np.asarray(t), [2.5, -1 - 1j, -0.5], atol=1e-15)
    (t,) = fdl.linear_transpose(lambda y: F.rfft(y, n=4), np.zeros(4))(np.array([1 + 2j, 2, 3 - 1j]))
    close(np.asarray(t), [6, -2, 2, -2])
    g = fdl.grad(lambda z: fnp.sum(fnp.abs(F.fft(z)[1]) ** 2))(np.array([1 + 2j, 3 - 1j]))
    close(np.asarray(g), [-4 - 6j, 4 + 6j])


@pytest.mark.parametrize("name", (*ONE, "fft2", "irfftn"))
def test_compiled_is_eager(name: str) -> None:
    x = operand(name, 3, 4, 5)
    same(fdl.jit(getattr(F, name))(x), getattr(F, name)(x))


def test_compiled_derivative_of_a_filter_inside_a_loop() -> None:
    def loss(h: Any, x: Any) -> Any:
        step = lambda c, _: (F.irfft(F.rfft(c) * F.rfft(h), n=8), fnp.sum(c))  # noqa: E731
        last, sums = fdl.scan(step, x, None, length=3)
        return fnp.sum(last**2) + fnp.sum(sums)

    h, x = draw(8, dtype=np.float64), draw(8, dtype=np.float64, seed=1)
    eager = fdl.grad(loss)(h, x)
    same(fdl.jit(fdl.grad(loss))(h, x), eager, 1e-10)
    check_grads(loss, (h, x), order=1)


def test_vmap_over_each_axis() -> None:
    x = draw(3, 4, 5)
    for axis in range(3):
        moved = np.moveaxis(x, axis, 0)
        same(fdl.vmap(F.fft, in_axes=axis)(x), np.fft.fft(moved))
        same(fdl.vmap(F.irfft, in_axes=axis)(x), np.fft.irfft(moved))
    same(fdl.vmap(fdl.vmap(F.fft))(x), np.fft.fft(x))


# --- large transforms -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fft", "ifft", "rfft", "irfft"])
@pytest.mark.parametrize("lengths", [(257,), (16, 20)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scipys_transforms_are_numpys(kind: str, lengths: tuple[int, ...], dtype: Any) -> None:
    """In value, dtype and shape; the same bits with any number of threads; the input as it was."""
    rng, half = np.random.default_rng(0), (*lengths[:-1], lengths[-1] // 2 + 1)
    shape = (fourier.LARGE // math.prod(lengths) + 300, *(half if kind == "irfft" else lengths))
    x = rng.normal(size=shape).astype(dtype)
    x = x if kind == "rfft" else x + 1j * rng.normal(size=shape).astype(dtype)
    before = x.copy()
    large, again = (fourier.transform(x, kind, lengths, threads) for threads in (1, 2))
    assert large.tobytes() == again.tobytes() and x.tobytes() == before.tobytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fourier, "LARGE", 1 << 60)
        expected = fourier.transform(x, kind, lengths, 1)
    assert large.dtype == expected.dtype and large.shape == expected.shape
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(large, expected, atol=tolerance * float(np.abs(expected).max()))


def test_without_scipy_numpys_transforms_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.fft", None)
    fourier._scipy.cache_clear()
    x = fnp.asarray(np.random.default_rng(0).normal(size=(200, 256)).astype(np.float32))
    try:
        got = fdl.jit(fnp.fft.fft)(x)
    finally:
        fourier._scipy.cache_clear()
    np.testing.assert_allclose(got, np.fft.fft(np.asarray(x)), atol=1e-4)
