"""Complex numbers in every layer: formulas against NumPy and C99, gradients, control flow, and the borders of compiled code.

`test_backends` holds compiled code to the reference on the table's rows, `test_primitive_rules` derivatives to differences; here is what is
special to complex numbers: infinities and signed zeros, branch cuts, conventions of gradients, memory.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from primitive_table import cases

import fdl
import fdl.numpy as fnp
from fdl.tracer import dtypes, tree
from fdl.tracer.array import as_numpy
from fdl.tracer.check import check_program
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index, shape
from fdl.tracer.parse import parse
from fdl.tracer.passes.complex import is_concerned, real_program
from fdl.tracer.passes.complex.split import RULES
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.primitive import lookup
from fdl.tracer.trace import bind
from tests.listings import loops_of

Array = np.ndarray[Any, Any]
INF, NAN = math.inf, math.nan
RNG = np.random.default_rng(5)

UNARY = "sign sqrt rsqrt exp expm1 log log1p logistic sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh abs neg conj".split()


def complexes(*s: int, dtype: Any = np.complex128) -> Array:
    return (RNG.normal(size=s) + 1j * RNG.normal(size=s)).astype(dtype)


def special(dtype: Any) -> Array:
    """All pairs of special parts."""
    real = np.finfo(dtypes.real_of(np.dtype(dtype)))
    parts = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, INF, -INF, NAN, real.max, -real.max, real.tiny, real.smallest_subnormal]
    parts += [1e-10, 3.1, -100.0, 1e20]
    z = np.empty(len(parts) ** 2, dtype)
    z.real, z.imag = np.repeat(parts, len(parts)), np.tile(parts, len(parts))
    return z


def samples(dtype: Any) -> Array:
    """Numbers of every size, some beside 1, some beside the unit circle."""
    n = 300
    turn, small = np.exp(2j * np.pi * RNG.random(n)), 10.0 ** RNG.integers(-12, 0, n)
    sizes = np.exp(RNG.normal(size=n) * 8)
    return np.concatenate(
        [complexes(n), turn * sizes, 1 + complexes(n) * small, turn * (1 + RNG.normal(size=n) * small)]
    ).astype(dtype)


def same(a: Array, b: Array) -> Array:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def worst(actual: Array, expected: Array) -> float:
    """The largest error in ulp of the expected modulus, of the elements that are finite."""
    finite = np.isfinite(expected)
    a, b = np.where(finite, actual, 0), np.where(finite, expected, 0)
    info = np.finfo(expected.dtype)
    size = np.maximum(np.abs(b.real), np.abs(b.imag))
    off = np.maximum(np.abs(a.real - b.real), np.abs(a.imag - b.imag))
    return float(np.max(off / (info.eps * np.maximum(size, info.tiny))))


# --- values ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[np.complex64, np.complex128], ids=["c64", "c128"])
def unary(request: pytest.FixtureRequest) -> tuple[Array, int, dict[str, tuple[Array, Array]]]:
    """Operands, how many of them are special, and by name the compiled result and the reference's."""
    ordinary, extreme = samples(request.param), special(request.param)
    z = np.concatenate([extreme, ordinary])
    compiled = fdl.jit(lambda z: [bind(lookup(n), z) for n in UNARY])(z)
    found = {n: (as_numpy(y), np.asarray(lookup(n).reference(z))) for n, y in zip(UNARY, compiled, strict=True)}
    return z, extreme.size, found


@pytest.mark.parametrize("name", UNARY)
def test_compiled_functions_are_within_some_ulp(unary: Any, name: str) -> None:
    z, _, found = unary
    actual, expected = found[name]
    if name == "logistic":  # near a pole the sum 1 + exp(-z) cancels
        with np.errstate(all="ignore"):
            keep = ~(np.abs(1 + np.exp(-np.where(np.isfinite(z), z, 0).astype(np.complex128))) < 0.7)
        actual, expected = actual[keep], expected[keep]
    assert actual.dtype == expected.dtype
    assert worst(actual, expected) <= (8 if name == "logistic" else 4)


@pytest.mark.parametrize("name", UNARY)
def test_infinities_and_nans_are_the_references(unary: Any, name: str) -> None:
    z, _, found = unary
    actual, expected = (np.asarray(x, np.complex128) for x in found[name])
    open_sign = np.zeros(z.shape, bool)
    if name in ("sinh", "sin"):  # C99 leaves the sign of the infinity open
        y, x = (z.imag, z.real) if name == "sinh" else (z.real, z.imag)
        open_sign = np.isinf(x) & ~np.isfinite(y)
    for a, b in ((actual.real, expected.real), (actual.imag, expected.imag)):
        wild = ~np.isfinite(b)
        ok = same(a, b) | (open_sign & same(np.abs(a), np.abs(b)))
        assert ok[wild].all(), (name, z[wild & ~ok][:5], actual[wild & ~ok][:5], expected[wild & ~ok][:5])
        assert np.isfinite(a[~wild]).all(), (name, z[~wild & ~np.isfinite(a)][:5])


@pytest.mark.parametrize("name", "sqrt log asin acos atan asinh acosh atanh sin cos sinh cosh conj neg".split())
def test_zeros_keep_their_signs(unary: Any, name: str) -> None:
    z, n, found = unary
    actual, expected = (x[:n] for x in found[name])
    for a, b in ((actual.real, expected.real), (actual.imag, expected.imag)):
        at = (b == 0) & (a == 0) & np.isfinite(expected)
        at &= (np.abs(z[:n].real) != np.finfo(z.real.dtype).max) & (np.abs(z[:n].imag) != np.finfo(z.real.dtype).max)
        assert (np.signbit(a) == np.signbit(b))[at].all(), (name, z[:n][at & (np.signbit(a) != np.signbit(b))])


@pytest.mark.parametrize("name", "sqrt exp log sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh".split())
def test_the_reference_is_pythons(name: str) -> None:
    function, numbers = getattr(cmath, name), special(np.complex128)
    numbers = np.concatenate([numbers[np.isfinite(numbers)], complexes(50)])
    numbers = numbers[(np.abs(numbers.real) < 1e19) & (np.abs(numbers.imag) < 1e19)]
    actual = as_numpy(getattr(e, name)(numbers))
    for z, y in zip(numbers, actual, strict=True):
        try:
            expected = function(complex(z))
        except (ValueError, OverflowError):
            assert not np.isfinite(y) or abs(y) > 1e300
            continue
        assert abs(y - expected) <= 4e-15 * abs(expected) + 1e-300, (name, z, y, expected)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_quotients_and_products(dtype: Any) -> None:
    values = np.concatenate([special(dtype), samples(dtype)])
    a, b = values, RNG.permutation(values)
    product, quotient, equal, finite = (
        as_numpy(y) for y in fdl.jit(lambda a, b: (a * b, a / b, a == b, fnp.isfinite(a)))(a, b)
    )
    np.testing.assert_array_equal(product, e.mul_p.reference(a, b))
    np.testing.assert_array_equal(equal, a == b)
    np.testing.assert_array_equal(finite, np.isfinite(a))
    expected = e.div_p.reference(a, b)
    assert worst(quotient, expected) <= 4
    for x, y in ((quotient.real, expected.real), (quotient.imag, expected.imag)):
        wild = ~np.isfinite(y)
        assert same(x, y)[wild].all() and np.isfinite(x[~wild]).all()
    # Neither overflows nor underflows on the way, where Smith's formula and the schoolbook one would.
    big, tiny = np.finfo(dtype).max / 4, np.finfo(dtype).tiny
    hard = np.array([complex(big, big), complex(tiny, tiny), complex(big, tiny)], dtype)
    with np.errstate(all="ignore"):
        exact = (hard[:, None].astype(np.clongdouble) / hard.astype(np.clongdouble)).astype(dtype)
    assert (
        worst(as_numpy(fdl.jit(lambda a, b: a / b)(*(x.copy() for x in np.broadcast_arrays(hard[:, None], hard)))), exact) <= 4
    )


def test_powers() -> None:
    a, b = np.repeat(complexes(20), 20), np.tile(3 * complexes(20), 20)
    actual, expected = as_numpy(fdl.jit(lambda a, b: a**b)(a, b)), a**b
    allowed = np.finfo(np.float64).eps * np.abs(expected) * (8 + 4 * np.abs(b * np.log(a)))
    assert (np.abs(actual - expected) <= allowed).all()
    zeros = np.array([0, 0, 0, 0, 2 - 1j, 0], np.complex128), np.array([0, 2, 1 + 1j, 0.5, 0, -1], np.complex128)
    for power in (e.pow, fdl.jit(e.pow)):
        np.testing.assert_array_equal(as_numpy(power(*zeros)), [1, 0, 0, 0, 1, complex(NAN, NAN)])
    np.testing.assert_allclose(as_numpy(fnp.asarray([1 + 2j]) ** 3), [(1 + 2j) ** 3], rtol=1e-6)


@pytest.mark.parametrize("name", ["sqrt", "log", "asin", "acos", "acosh", "atanh"])
def test_branch_cuts_have_two_sides(name: str) -> None:
    at = {"sqrt": -2.0, "log": -2.0, "asin": 2.0, "acos": -2.0, "acosh": -0.5, "atanh": 3.0}[name]
    above, below = complex(at, 0.0), complex(at, -0.0)
    f = getattr(e, name)
    for g in (f, fdl.jit(f)):
        up, down = (complex(g(np.complex128(z))) for z in (above, below))
        assert up == pytest.approx(getattr(cmath, name)(above)) and down == up.conjugate() and up.imag * down.imag < 0
        # Derivatives, too, are those of the side.
        for z, side in ((above, 1e-9j), (below, -1e-9j)):
            slope = complex(fdl.jvp(g, (np.complex128(z),), (np.complex128(1),))[1])
            near = complex(fdl.jvp(g, (np.complex128(at + side),), (np.complex128(1),))[1])
            assert slope == pytest.approx(near, rel=1e-6)


# --- derivatives: JAX's figures -------------------------------------------------------------------

POINT = np.array([0.6 + 1.1j, -0.8 + 0.3j, 1.7 - 0.9j])
REAL_VALUED: dict[str, tuple[Callable[[Any], Any], list[complex]]] = {
    "abs2": (lambda v: (fnp.abs(v) ** 2).sum(), [1.2 - 2.2j, -1.6 - 0.6j, 3.4 + 1.8j]),
    "real_exp": (
        lambda v: fnp.exp(v * (1 - 2j)).real.sum(),
        [13.079041488349711 - 34.36670934024366j, 1.2848428563197434 + 1.3041392045108986j, 1.2953043533859507 + 1.5542973967324634j],
    ),
    "angle": (
        lambda v: fnp.angle(v).sum(),
        [-0.7006369426751593 - 0.38216560509554137j, -0.41095890410958896 + 1.095890410958904j, 0.24324324324324326 - 0.4594594594594595j],
    ),
    "dot": (
        lambda v: fnp.abs((v.conj() * v * v).sum()),
        [1.972899162069192 - 0.47907862886454744j, 2.0656400194753575 + 0.6553946441009131j, 9.904681159000994 + 4.080055795048021j],
    ),
    "log_abs": (
        lambda v: fnp.log(fnp.abs(v)).sum(),
        [0.38216560509554126 - 0.7006369426751591j, -1.0958904109589043 - 0.4109589041095891j, 0.45945945945945943 + 0.24324324324324326j],
    ),
    "quotient": (
        lambda v: ((v + 1) / (v - 1j)).imag.sum(),
        [-1.6800584368151927 + 3.4331628926223527j, 0.7596522828725819 + 0.9945962878847209j, -0.1358579881656805 - 0.16994082840236688j],
    ),
    "norm": (
        lambda v: fnp.sqrt((v * v.conj()).real.sum()),
        [0.24494897427831783 - 0.4490731195102494j, -0.3265986323710905 - 0.12247448713915891j, 0.6940220937885672 + 0.3674234614174768j],
    ),
}  # fmt: skip
HOLOMORPHIC: dict[str, tuple[Callable[[Any], Any], list[complex]]] = {
    "tanh": (
        fnp.tanh,
        [-0.08780145212654089 - 1.6340972538953036j, 0.5401606607363729 + 0.23168511184422333j, -0.022069329795751 + 0.13358479998585604j],
    ),
    "pow": (
        lambda v: v ** (1.5 - 0.5j),
        [3.008702871521934 + 0.30554068909738313j, 2.4091880075844108 + 5.359417485027488j, 1.0789454422771783 - 1.338301852427635j],
    ),
    "asin": (
        fnp.arcsin,
        [0.6317450328688409 + 0.2022740556340888j, 1.1312316771539075 - 0.49008577605905107j, 0.3206264751362403 - 0.45317263721720075j],
    ),
    "atan": (
        fnp.arctan,
        [0.0849906510283867 - 0.7479177290498045j, 0.5887044703558814 + 0.18230848114246645j, 0.163395225464191 + 0.1623342175066313j],
    ),
    "sqrt": (
        fnp.sqrt,
        [0.38409837437223737 - 0.22801350819964614j, 0.09651493472670535 - 0.5322478138658967j, 0.349881177038987 + 0.0869020896257513j],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL_VALUED)
def test_gradients_of_real_functions(name: str) -> None:
    f, expected = REAL_VALUED[name]
    np.testing.assert_allclose(as_numpy(fdl.grad(f)(POINT)), expected, rtol=1e-12)
    np.testing.assert_allclose(as_numpy(fdl.jit(fdl.grad(f))(POINT)), expected, rtol=1e-12)
    step = 1e-6  # as functions of the two parts: df/dx - i df/dy
    for k in range(3):
        unit = np.eye(3)[k]
        dx, dy = (float(f(POINT + step * d * unit) - f(POINT - step * d * unit)) / (2 * step) for d in (1, 1j))
        assert complex(dx, -dy) == pytest.approx(expected[k], rel=1e-7)


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_gradients_of_holomorphic_functions(name: str) -> None:
    f, expected = HOLOMORPHIC[name]
    slope = fdl.vmap(fdl.grad(f, holomorphic=True))
    np.testing.assert_allclose(as_numpy(slope(POINT)), expected, rtol=1e-12)
    np.testing.assert_allclose(as_numpy(fdl.jit(slope)(POINT)), expected, rtol=1e-12)


def test_gradients_say_what_they_need() -> None:
    with pytest.raises(DTypeError, match="holomorphic=True"):
        fdl.grad(lambda z: z * z)(1 + 2j)
    with pytest.raises(DTypeError, match="expected a complex one"):
        fdl.grad(lambda z: z * z, holomorphic=True)(1.0)
    with pytest.raises(DTypeError, match="expected a complex scalar"):
        fdl.grad(lambda z: z.real, holomorphic=True)(1 + 2j)


def test_a_transpose_does_not_conjugate() -> None:
    z = np.complex128(1 + 1j)
    assert complex(fdl.vjp(lambda z: z * (2 + 3j), z)[1](np.complex128(1))[0]) == 2 + 3j
    assert complex(fdl.vjp(lambda z: c.conj(z), z)[1](np.complex128(2 - 1j))[0]) == 2 + 1j
    assert complex(fdl.vjp(lambda z: c.imag(z), z)[1](np.float64(3))[0]) == -3j
    assert float(fdl.grad(lambda x: (x * (2 + 3j)).imag)(1.5)) == 3.0
    assert complex(fdl.grad(fnp.abs)(0j)) == 0


def test_the_sign_turns() -> None:
    z, t, h = np.complex128(0.6 - 1.3j), np.complex128(0.3 + 0.8j), 1e-6
    _, slope = fdl.jvp(e.sign, (z,), (t,))
    assert complex(slope) == pytest.approx(complex(e.sign(z + h * t) - e.sign(z - h * t)) / (2 * h), rel=1e-8)
    assert complex(fdl.jvp(e.sign, (np.complex128(0),), (t,))[1]) == 0


def test_second_derivatives_through_control_flow() -> None:
    def f(x: Any) -> Any:
        def step(z: Any, k: Any) -> Any:
            return fnp.exp(1j * z * k) + x, None

        return fnp.abs(fdl.scan(step, x * (0.5 + 0.2j), fnp.asarray([0.3, -0.7, 0.2], "f64"))[0]) ** 2

    x, h = np.float64(0.8), 1e-5
    first = fdl.grad(f)
    assert float(first(x)) == pytest.approx((float(f(x + h)) - float(f(x - h))) / (2 * h), rel=1e-8)
    assert float(fdl.jit(fdl.grad(first))(x)) == pytest.approx((float(first(x + h)) - float(first(x - h))) / (2 * h), rel=1e-8)


# --- programs -------------------------------------------------------------------------------------

Z, W = complexes(4, 5), complexes(5, 3)
AT = np.array([0, 2, 0])


def _updated(x: Array, at: Array, values: Any, how: Any) -> Array:
    out = x.copy()
    how.at(out, at, values)
    return out


PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "product": (lambda a, b: a @ b, lambda a, b: a @ b, (Z, W)),
    "adjoint": (lambda a: a @ a.T.conj(), lambda a: a @ a.T.conj(), (Z,)),
    "sums": (lambda a: (a.sum(0), a.mean(), a.prod(1)), lambda a: (a.sum(0), a.mean(), a.prod(1)), (Z,)),
    "running": (
        lambda a: (fnp.cumsum(a, 1), fnp.cumprod(a, 0)), lambda a: (np.cumsum(a, 1), np.cumprod(a, 0)), (Z,)
    ),
    "moved": (lambda a: (a.T, a.reshape(20)[3:11:2], a[::-1]), lambda a: (a.T, a.reshape(20)[3:11:2], a[::-1]), (Z,)),
    "chosen": (lambda a: fnp.where(a.real > 0, a, 0), lambda a: np.where(a.real > 0, a, 0), (Z,)),
    "taken": (lambda a, i: a[i], lambda a, i: a[i], (Z, AT)),
    "added": (lambda a, i: a.at[i].add(1j), lambda a, i: _updated(a, i, 1j, np.add), (Z, AT)),
    "multiplied": (lambda a, i: a.at[i].multiply(2 + 1j), lambda a, i: _updated(a, i, 2 + 1j, np.multiply), (Z, AT)),
    "sorted": (lambda a: fnp.sort(a, axis=0), lambda a: np.sort(a, axis=0), (Z.round(),)),
    "sorted with NaN": (fnp.sort, np.sort, (special(np.complex128),)),
    "parts": (lambda a: (a.real, a.imag, fnp.angle(a), abs(a)), lambda a: (a.real, a.imag, np.angle(a), abs(a)), (Z,)),
    "converted": (
        lambda a: (a.astype("c64"), a.real.astype("c64"), a.astype("bool"), a.real.astype("i32")),
        lambda a: (a.astype("c8"), a.real.astype("c8"), a.astype("bool"), a.real.astype("i4")), (Z * 3,),
    ),
    "scan": (
        lambda a: fdl.scan(lambda z, x: (z * x + 1j, z.real), fnp.ones(5, "c128"), a),
        lambda a: _scanned(a), (Z,),
    ),
    "while": (
        lambda a: fdl.while_loop(lambda s: fnp.abs(s).sum() < 1e3, lambda s: s * (1 + 0.3j) + a, a),
        lambda a: _grown(a), (Z,),
    ),
    "cond": (
        lambda a: (fdl.cond(True, lambda z: z * 2j, lambda z: z.conj(), a), fdl.cond(False, lambda z: z * 2j, lambda z: z.conj(), a)),
        lambda a: (a * 2j, a.conj()), (Z,),
    ),
    "nested": (lambda a: fdl.jit(lambda b: b * b)(a) + 1, lambda a: a * a + 1, (Z,)),
    "mapped": (lambda a: fdl.vmap(lambda r: r @ r)(a), lambda a: np.array([r @ r for r in a]), (Z,)),
    "callback": (
        lambda a: fdl.pure_callback(lambda x: np.conj(x) * 2, fdl.eval_shape(lambda x: x, a), a), lambda a: a.conj() * 2, (Z,)
    ),
    "closed over": (lambda a: a * Z + W.sum(), lambda a: a * Z + W.sum(), (Z,)),
    "itself": (lambda a: (a, a), lambda a: (a, a), (Z,)),
    "empty": (lambda a: (a * 2j, a.sum(), a.prod()), lambda a: (a * 2j, a.sum(), a.prod()), (np.zeros((0, 3), np.complex128),)),
    "constants": (
        lambda: (shape.iota((5,), dtypes.complex64, 0) * 1j, fnp.ones(2, "c64")),
        lambda: (np.arange(5, dtype="c8") * 1j, np.ones(2, "c8")), (),
    ),
    "0-d": (lambda a: (a * 2, a.conj()), lambda a: (a * 2, a.conj()), (np.complex128(1 + 2j),)),
    "large": (lambda a: a @ a.T + fnp.exp(a.sum(1)), lambda a: a @ a.T + np.exp(a.sum(1)), (complexes(70, 130) / 10,)),
}  # fmt: skip


def _scanned(a: Array) -> tuple[Array, Array]:
    z, parts = np.ones(5, np.complex128), []
    for x in a:
        parts.append(z.real)
        z = z * x + 1j
    return z, np.array(parts)


def _grown(a: Array) -> Array:
    s = a
    while np.abs(s).sum() < 1e3:
        s = s * (1 + 0.3j) + a
    return s


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_against_numpy(name: str) -> None:
    f, oracle, args = PROGRAMS[name]
    arrays = [fnp.asarray(x) for x in args]
    with np.errstate(all="ignore"):
        expected = tree.flatten(oracle(*args))[0]
    for g in (f, fdl.jit(f)):
        found = tree.flatten(g(*arrays))[0]
        for x, y in zip(found, expected, strict=True):
            assert x.shape == np.shape(y) and x.dtype == np.asarray(y).dtype, (name, x.dtype, np.asarray(y).dtype)
            np.testing.assert_allclose(
                as_numpy(x), y, rtol=1e-6 if x.dtype in (np.complex64, np.float32) else 1e-12, atol=1e-14
            )


def test_an_index_out_of_bounds_is_an_error_once() -> None:
    with pytest.raises(IndexOutOfBoundsError, match="index 7 is out of bounds for axis 0 of size 4"):
        fdl.jit(lambda a, i: a[i].imag)(Z, np.array([1, 7]))


def test_every_complex_row_has_a_rule_or_goes_through_memory() -> None:
    """What stays in registers: only these primitives read and write interleaved memory."""
    through_memory = {"interleaved", "fft", "scatter"}
    dropped = {"name"}  # by `simplify`, before the pass
    found = {k.row.name for k in cases() if k.dtype.kind == "c" and k.row.primitive.lowering is not None}
    elementwise = {n for n in found if type(lookup(n).lowering).__name__ in ("Elementwise", "View", "Reduction")}
    assert elementwise - set(RULES) - through_memory - dropped == set()


# --- the pass -------------------------------------------------------------------------------------


def test_the_pass_leaves_real_programs_alone() -> None:
    p = simplify(fdl.make_ir(lambda x: fnp.sin(x) + fdl.jit(fnp.cos)(x))(fnp.ones(3)))
    assert real_program(p) is p and not is_concerned(p)


def test_the_pass_gives_a_checked_program_of_real_types() -> None:
    def f(z: Any) -> Any:
        return fdl.scan(lambda a, x: (fnp.exp(a) * x, a.imag), z[0], z)

    p = simplify(fdl.make_ir(f)(Z))
    q = real_program(p)
    check_program(q)
    assert is_concerned(p) and not is_concerned(q)
    assert [str(t) for t in q.in_types] == ["f64[4,5,2]"] and [str(t) for t in q.out_types] == ["f64[5,2]", "f64[4,5]"]


def test_elementwise_chains_are_one_kernel() -> None:
    low = loops_of(lambda z: fnp.exp(z * (2 - 1j)) / (z + 1) + z.conj(), complexes(4000))
    assert low.count("vector") == 1 and "alloc" not in low and low.count("matmul") == 0


def test_text_round_trip() -> None:
    def f(z: Any) -> Any:
        return (z * complex(2, -0.5) + complex(INF, -0.0)) * complex(-0.0, 1e-30) + fnp.where(z == 1j, z, 3j)

    p = fdl.make_ir(f)(np.zeros(2, np.complex128))
    assert "2-0.5j:c128" in str(p) and parse(str(p)) == p
    p = fdl.make_ir(lambda z: z * 2j)(1j)
    assert "2j:c64*" in str(p) and parse(str(p)) == p


# --- the borders of compiled code -----------------------------------------------------------------


def test_arguments_of_any_layout() -> None:
    f = fdl.jit(lambda z: z * 2j)
    wide = complexes(8, 12, dtype=np.complex64)
    raw = bytearray(wide.nbytes + 1)
    misaligned = np.frombuffer(memoryview(raw)[1:], np.complex64).reshape(8, 12)
    misaligned[...] = wide
    for x in (wide, wide[::2, ::3], wide.T, wide[::-1], misaligned, wide.astype(">c8"), wide[0, 0]):
        for _ in range(2):  # the second call takes the compiled path
            np.testing.assert_array_equal(as_numpy(f(x)), np.asarray(x) * np.complex64(2j))


def test_python_scalars_are_weak() -> None:
    f = fdl.jit(lambda x, z: x * z)
    for _ in range(2):
        assert f(1.5, 2j).dtype == np.complex64 and f(1.5, 2j).weak_type
        assert f(np.float64(1.5), 2j).dtype == np.complex128
        assert f(fnp.ones(2, "f32"), 2j).dtype == np.complex64
        assert f(fnp.ones(2, "c128"), 2.0).dtype == np.complex128
        np.testing.assert_array_equal(as_numpy(f(fnp.ones(2, "f32"), 1 + 2j)), [1 + 2j, 1 + 2j])


def test_donation_and_captured_arrays() -> None:
    x, k = fnp.ones(300, "c64"), fnp.asarray(complexes(300, dtype=np.complex64))
    f = fdl.jit(lambda z: z + k, donate_argnums=0)
    np.testing.assert_array_equal(as_numpy(f(x)), 1 + as_numpy(k))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63])
def test_every_other_element(n: int) -> None:
    """Strides of 2, which complex parts have, with every remainder of a vector."""
    for dtype in (np.float32, np.float64):
        x = RNG.normal(size=2 * n).astype(dtype)
        f = fdl.jit(lambda x: (x[::2] + x[1::2], fnp.stack([x[:n], x[n:]], 1)))
        total, woven = f(x)
        np.testing.assert_array_equal(as_numpy(total), x[::2] + x[1::2])
        np.testing.assert_array_equal(as_numpy(woven), np.stack([x[:n], x[n:]], 1))


# --- arrays and fdl.numpy -------------------------------------------------------------------------


def test_arrays_have_parts() -> None:
    z = fnp.asarray(np.array([1 + 2j, -3j]))
    assert z.real.tolist() == [1, 0] and z.imag.tolist() == [2, -3] and z.conj().tolist() == [1 - 2j, 3j]
    assert complex(z[0]) == 1 + 2j and abs(z[1]).item() == 3
    assert fnp.ones(2).imag.tolist() == [0, 0] and fnp.ones(2, "i32").conj().tolist() == [1, 1]
    with pytest.raises(TypeError):
        float(z[0])
    with pytest.raises(DTypeError, match="expected bool or int or float"):
        _ = z < z


@pytest.mark.parametrize("name", ["real", "imag", "conj", "conjugate", "angle", "iscomplex", "isreal"])
def test_functions_of_parts_are_numpys(name: str) -> None:
    for x in (special(np.complex128), np.array([-1.5, 0.0, 2.0]), np.array([3, -4], np.int32)):
        found, expected = as_numpy(getattr(fnp, name)(x)), getattr(np, name)(x)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert isinstance(getattr(np, name)(fnp.asarray(x)), fdl.Array)
    assert fnp.angle(1j, deg=True).item() == pytest.approx(90)


def test_what_is_complex() -> None:
    assert fnp.iscomplexobj(1j) and not fnp.iscomplexobj(fnp.ones(2)) and fnp.isrealobj([1.0]) and not fnp.isrealobj([1j])
    z = np.array([1 + 1e-15j, 2])
    assert fnp.real_if_close(z).dtype == np.float64 and fnp.real_if_close(z * 1j).dtype == np.complex128
    assert fnp.real_if_close(z, tol=1e-20).dtype == np.complex128
    assert fnp.real_if_close(fnp.ones(2)).dtype == np.float32


def test_parts_are_checked() -> None:
    with pytest.raises(DTypeError, match="expected complex64 or complex128"):
        c.real(np.ones(2))
    with pytest.raises(DTypeError, match="parts have dtypes float32 and float64"):
        c.complex(np.ones(2, np.float32), np.ones(2))
    with pytest.raises(fdl.tracer.errors.ShapeError, match=r"shapes \(2,\) and \(3,\)"):
        c.complex(np.ones(2), np.ones(3))


def test_a_callback_is_held_to_its_complex_type() -> None:
    @fdl.jit
    def f(z: Any) -> Any:
        return fdl.pure_callback(lambda z: z.real, fdl.eval_shape(lambda z: z, z), z)

    with pytest.raises(fdl.tracer.errors.ShapeError, match=r"has shape \(3,\) and dtype float64, expected c128\[3\]"):
        f(complexes(3))


def test_products_by_one_and_differences_to_zero_keep_their_bits() -> None:
    z = special(np.complex128)
    for f in (lambda z: z * (1 + 0j), lambda z: z - 0j, lambda z: z - complex(-0.0, -0.0)):
        expected, actual = as_numpy(f(fnp.asarray(z))), as_numpy(fdl.jit(f)(z))
        np.testing.assert_array_equal(actual, expected)
    zero = np.array([0.0, -0.0])
    assert np.signbit(as_numpy(fdl.jit(lambda x: x - (-0.0))(zero))).tolist() == [False, False]


def test_a_complex_fill() -> None:
    z, at = complexes(4), np.array([[1], [9]], np.int32)
    p = fdl.make_ir(lambda z, i: index.gather(z, i, axes=(0,), mode="fill", fill=2 - 1j))(z, at)
    assert "fill=2-1j" in str(p) and parse(str(p)) == p
    f = fdl.jit(lambda z, i: index.gather(z, i, axes=(0,), mode="fill", fill=2 - 1j))
    np.testing.assert_array_equal(as_numpy(f(z, at)), [z[1], 2 - 1j])


def test_powers_of_2() -> None:
    z = np.array([0, 1, 0.5 - 2j, 3j])
    np.testing.assert_allclose(fnp.exp2(z), 2.0**z, rtol=1e-14)
    np.testing.assert_allclose(fdl.lax.exp2(z.astype(np.complex64)), 2.0**z, rtol=1e-6)
    np.testing.assert_allclose(fdl.jit(fnp.exp2)(z), 2.0**z, rtol=1e-14)
    np.testing.assert_allclose(fdl.grad(fnp.exp2, holomorphic=True)(1 + 2j), np.log(2) * 2 ** (1 + 2j), rtol=1e-6)


def test_what_is_no_array_is_not_complex() -> None:
    assert not fnp.iscomplexobj(None) and fnp.isrealobj("a") and fnp.iscomplexobj([1.0, [2j]])


def test_narrow_floats_have_no_complex_numbers() -> None:
    with pytest.raises(
        DTypeError, match=r"conj: no complex dtype has parts of float16: expected float32 or float64.\n  at .*test_complex"
    ):
        fdl.lax.conj(np.float16(1))
