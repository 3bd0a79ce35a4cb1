"""Layers, activations, losses and initialisers against NumPy's formulas, and their gradients against differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl import nn, random
from fdl.nn import initializers, losses
from fdl.tracer import tree
from fdl.tracer.errors import DTypeError, ShapeError

RNG = np.random.default_rng


def _normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    return RNG(seed).normal(size=shape).astype(dtype)


def check_gradient(f: Callable[..., Any], *args: Any, tolerance: float = 1e-6) -> None:
    """The gradient of a weighted sum of `f`'s output along random directions, against central differences in float64."""
    leaves, structure = tree.flatten(args)
    leaves = [np.asarray(x, np.float64) for x in leaves]
    weights = _normal(*f(*tree.unflatten(structure, leaves)).shape, seed=91)

    def total(*leaves: Any) -> Any:
        return (f(*tree.unflatten(structure, leaves)) * weights).sum()

    directions = [_normal(*x.shape, seed=50 + i) for i, x in enumerate(leaves)]
    grads = fdl.grad(total, argnums=tuple(range(len(leaves))))(*leaves)
    got = sum(float((g * d).sum()) for g, d in zip(grads, directions, strict=True))
    h = 1e-6
    ends = [float(total(*(x + s * h * d for x, d in zip(leaves, directions, strict=True)))) for s in (1, -1)]
    assert got == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=tolerance, abs=tolerance)


# --- activations ----------------------------------------------------------------------------------

_ERF = np.vectorize(math.erf)
ACTIVATIONS: list[tuple[Callable[..., Any], Callable[[np.ndarray], np.ndarray]]] = [
    (nn.relu, lambda x: np.maximum(x, 0)),
    (nn.leaky_relu, lambda x: np.where(x >= 0, x, 0.01 * x)),
    (nn.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    (nn.selu, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))),
    (nn.gelu, lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    (lambda x: nn.gelu(x, approximate=False), lambda x: 0.5 * x * (1 + _ERF(x / np.sqrt(2)))),
    (nn.silu, lambda x: x / (1 + np.exp(-x))),
    (nn.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    (nn.tanh, np.tanh),
    (nn.softplus, lambda x: np.logaddexp(x, 0)),
    (nn.softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    (nn.log_softmax, lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
]


@pytest.mark.parametrize(("f", "formula"), ACTIVATIONS)
def test_activation(f: Callable[..., Any], formula: Callable[[np.ndarray], np.ndarray]) -> None:
    x = 3 * _normal(4, 5)
    np.testing.assert_allclose(np.asarray(f(x)), formula(x), rtol=1e-10, atol=1e-12)
    check_gradient(f, x)
    check_gradient(fdl.grad(lambda v: f(v)[..., 0].sum()), x, tolerance=1e-5)
    assert f(fnp.asarray(x, np.float16)).dtype == np.float16


@pytest.mark.parametrize("f", [f for f, _ in ACTIVATIONS])
def test_activations_at_extremes(f: Callable[..., Any]) -> None:
    x = fnp.array([-3e4, -100.0, 0.0, 100.0, 3e4])
    slope = fdl.grad(lambda v: f(v)[2])(x)
    assert np.isfinite(np.asarray(f(x))).all() and np.isfinite(np.asarray(slope)).all()
    assert np.isfinite(np.asarray(fdl.grad(lambda v: f(v).sum())(x))).all()
    assert np.isnan(np.asarray(f(fnp.array([math.nan])))).all()


def test_relu_at_zero() -> None:
    assert float(fdl.grad(nn.relu)(0.0)) == 0.0
    assert nn.relu(fnp.array([-2, 3])).dtype == np.int32


def test_softplus_second_derivative_at_zero() -> None:
    # The textbook formula max(x, 0) + log1p(exp(-|x|)) gives 0 here, and a singular Hessian to a logistic regression.
    assert float(fdl.grad(fdl.grad(nn.softplus))(0.0)) == pytest.approx(0.25)


# --- linear and convolution -----------------------------------------------------------------------


@given(batch=st.lists(st.integers(0, 3), max_size=3).map(tuple), n=st.integers(1, 4), m=st.integers(1, 4))
def test_linear(batch: tuple[int, ...], n: int, m: int) -> None:
    x = _normal(*batch, n)
    params, state = nn.Linear(m, bias_init=initializers.constant(0.5)).init(random.key(1), x)
    assert params["w"].shape == (n, m) and params["w"].dtype == np.float64 and state == ()
    y, _ = nn.Linear(m)(params, state, x)
    np.testing.assert_allclose(np.asarray(y), x @ np.asarray(params["w"]) + 0.5, rtol=1e-12, atol=1e-12)


def test_linear_details() -> None:
    layer = nn.Linear(3, bias=False)
    params, _ = layer.init(random.key(0), np.ones((2, 4), np.int32))
    assert set(params) == {"w"} and params["w"].dtype == np.float32
    assert nn.Linear(3, dtype="float16").init(random.key(0), np.ones(4))[0]["b"].dtype == np.float16
    params64 = {"w": _normal(4, 3), "b": _normal(3)}
    check_gradient(nn.stateless(nn.Linear(3)), params64, _normal(2, 4))
    with pytest.raises(ShapeError, match=r"Linear\(features=3, bias=False\).*\(2, 5\).*\(\.\.\., 4\)"):
        layer(params, (), np.ones((2, 5), np.float32))
    with pytest.raises(ShapeError, match="at least 1 axes"):
        layer.init(random.key(0), 1.0)


def _conv(x: np.ndarray, w: np.ndarray, strides: Any, padding: Any, dilation: Any, groups: int) -> np.ndarray:
    """Two-dimensional convolution by its definition: NHWC, HWIO."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    kh, kw, per, out = w.shape
    oh, ow = ((x.shape[1 + i] - (w.shape[i] - 1) * dilation[i] - 1) // strides[i] + 1 for i in (0, 1))
    y = np.zeros((x.shape[0], oh, ow, out))
    for i, j, a, b in np.ndindex(oh, ow, kh, kw):
        at = x[:, i * strides[0] + a * dilation[0], j * strides[1] + b * dilation[1]]
        for g in range(groups):
            mine = slice(g * out // groups, (g + 1) * out // groups)
            y[:, i, j, mine] += at[:, g * per : (g + 1) * per] @ w[a, b][:, mine]
    return y


@pytest.mark.parametrize(
    ("layer", "padding"),
    [
        (nn.Conv(4, 3), ((1, 1), (1, 1))),
        (nn.Conv(4, (2, 3), padding="VALID"), ((0, 0), (0, 0))),
        (nn.Conv(4, 3, strides=2), ((1, 1), (0, 1))),
        (nn.Conv(4, (3, 2), strides=(1, 2), dilation=(2, 1), padding=((2, 0), (1, 1))), ((2, 0), (1, 1))),
        (nn.Conv(4, 3, groups=2, padding=1), ((1, 1), (1, 1))),
        (nn.Conv(4, 1, bias=False), ((0, 0), (0, 0))),
    ],
)
def test_conv(layer: nn.Conv, padding: Any) -> None:
    x = _normal(2, 5, 6, 2)
    params, state = layer.init(random.key(0), x)
    assert params["w"].shape == (*layer.window, 2 // layer.groups, 4)  # type: ignore[misc]
    params = tree.map(lambda p: p + 0.25, params)
    y, _ = layer(params, state, x)
    want = _conv(x, np.asarray(params["w"]), layer.strides, padding, layer.dilation, layer.groups) + (0.25 if layer.bias else 0)
    np.testing.assert_allclose(np.asarray(y), want, rtol=1e-10, atol=1e-12)
    check_gradient(nn.stateless(layer), params, x)


@pytest.mark.parametrize(("n", "stride", "k"), [(5, 1, 3), (6, 2, 3), (7, 3, 2), (4, 2, 5), (3, 4, 1)])
def test_same_padding_divides_up(n: int, stride: int, k: int) -> None:
    layer = nn.Conv(1, (k,), strides=(stride,))
    params, _ = layer.init(random.key(0), np.ones((n, 1), np.float32))
    assert layer(params, (), np.ones((n, 1), np.float32))[0].shape == (-(-n // stride), 1)


def test_conv_of_any_rank_and_batch() -> None:
    for spatial in ((7,), (5, 4), (3, 4, 3)):
        layer = nn.Conv(2, (2,) * len(spatial), padding="VALID")
        x = _normal(2, 3, *spatial, 3, dtype=np.float32)
        params, _ = layer.init(random.key(0), x)
        y = np.asarray(layer(params, (), x)[0])
        assert y.shape == (2, 3, *(n - 1 for n in spatial), 2)
        np.testing.assert_allclose(np.asarray(layer(params, (), x[1, 2])[0]), y[1, 2], rtol=1e-5, atol=1e-6)


def test_conv_errors() -> None:
    layer = nn.Conv(4, 3)
    params, _ = layer.init(random.key(0), np.ones((5, 5, 2), np.float32))
    with pytest.raises(ShapeError, match="expected 2 channels"):
        layer(params, (), np.ones((5, 5, 3), np.float32))
    with pytest.raises(ShapeError, match=r"at least 3 axes"):
        layer(params, (), np.ones((5, 2), np.float32))
    with pytest.raises(ShapeError, match="groups=3 must divide features=4"):
        nn.Conv(4, 3, groups=3)
    with pytest.raises(ShapeError, match="strides="):
        nn.Conv(4, 3, strides=(1, 2, 3))
    with pytest.raises(ShapeError, match='expected "SAME", "VALID"'):
        nn.Conv(4, 3, padding="same").__call__(params, (), np.ones((5, 5, 2), np.float32))


# --- pooling --------------------------------------------------------------------------------------


def _pool(x: np.ndarray, k: int, s: int, pad: tuple[int, int], how: Callable[[list[np.ndarray]], np.ndarray]) -> np.ndarray:
    """Pooling of (n, h, w, c) by its definition; `how` sees the elements of a window that are not padding."""
    sizes = [(n + sum(pad) - k) // s + 1 for n in x.shape[1:3]]
    y = np.zeros((x.shape[0], *sizes, x.shape[3]))
    for i, j in np.ndindex(*sizes):
        rows = [r for r in range(i * s - pad[0], i * s - pad[0] + k) if 0 <= r < x.shape[1]]
        columns = [c for c in range(j * s - pad[0], j * s - pad[0] + k) if 0 <= c < x.shape[2]]
        y[:, i, j] = how([x[:, r, c] for r in rows for c in columns])
    return y


@pytest.mark.parametrize(("k", "s", "padding", "pad"), [(2, 2, "VALID", (0, 0)), (3, 2, 1, (1, 1)), (2, 1, "SAME", (0, 1))])
def test_pooling(k: int, s: int, padding: Any, pad: tuple[int, int]) -> None:
    x = _normal(2, 5, 6, 3)
    largest, mean = nn.MaxPool(k, s, padding), nn.AvgPool(k, s, padding)
    np.testing.assert_array_equal(np.asarray(largest((), (), x)[0]), _pool(x, k, s, pad, lambda v: np.max(v, 0)))
    np.testing.assert_allclose(np.asarray(mean((), (), x)[0]), _pool(x, k, s, pad, lambda v: np.mean(v, 0)), rtol=1e-12)
    padded = nn.AvgPool(k, s, padding, count_padding=True)
    np.testing.assert_allclose(np.asarray(padded((), (), x)[0]), _pool(x, k, s, pad, lambda v: np.sum(v, 0) / k**2), rtol=1e-12)
    for layer in (largest, mean, padded):
        check_gradient(lambda v, layer=layer: layer((), (), v)[0], x)


def test_pooling_shapes_and_ties() -> None:
    x = np.zeros((2, 3, 4, 4, 1), np.float32)
    assert nn.MaxPool()((), (), x)[0].shape == (2, 3, 2, 2, 1)
    assert nn.MaxPool((2,))((), (), np.zeros((5, 1), np.float32))[0].shape == (2, 1)
    slope = fdl.grad(lambda v: nn.MaxPool()((), (), v)[0].sum())(np.zeros((2, 2, 1), np.float32))
    assert np.asarray(slope).ravel().tolist() == [1, 0, 0, 0]
    assert nn.AvgPool()((), (), np.ones((2, 2, 1), np.uint8))[0].dtype == np.float32


# --- dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_statistics(rate: float) -> None:
    n = 40_000
    y = np.asarray(nn.Dropout(rate)((), (), np.ones(n, np.float32), key=random.key(3), train=True)[0])
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - rate))}
    # Five standard deviations of the share that is dropped.
    assert abs(float((y == 0).mean()) - rate) < 5 * math.sqrt(rate * (1 - rate) / n)


def test_dropout_is_a_function_of_its_key() -> None:
    layer, x = nn.Dropout(0.5), _normal(64, dtype=np.float32)
    a, b, c = (np.asarray(layer((), (), x, key=random.key(k), train=True)[0]) for k in (0, 0, 1))
    assert (a == b).all() and (a != c).any()
    assert layer((), (), x, key=random.key(0))[0] is x
    assert nn.Dropout(0.0)((), (), x, train=True)[0] is x
    assert not np.asarray(nn.Dropout(1.0)((), (), x, key=random.key(0), train=True)[0]).any()
    slope = fdl.grad(lambda v: layer((), (), v, key=random.key(0), train=True)[0].sum())(x)
    np.testing.assert_array_equal(np.asarray(slope), np.where(a != 0, np.float32(2), np.float32(0)))


def test_dropout_needs_a_key() -> None:
    with pytest.raises(nn.MissingKeyError, match=r"Dropout\(rate=0\.5\).*without a key.*fdl\.random\.key"):
        nn.Dropout()((), (), np.ones(2, np.float32), train=True)
    model = nn.Sequential(nn.Linear(2), nn.Dropout(0.25))
    params, state = model.init(random.key(0), np.ones(2, np.float32))
    with pytest.raises(ValueError, match=r"Dropout\(rate=0\.25\)") as caught:
        model(params, state, np.ones(2, np.float32), train=True)
    assert caught.value.__notes__ == ["in layer 1 of a Sequential of 2"]
    with pytest.raises(ValueError, match=r"rate=1\.5"):
        nn.Dropout(1.5)


# --- containers -----------------------------------------------------------------------------------


class Counter(nn.Layer):
    """A layer with state: how often it was called."""

    def init(self, key: Any, x: Any) -> tuple[Any, Any]:
        return (), fnp.zeros((), np.int32)

    def __call__(self, params: Any, state: Any, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, Any]:
        return x, state + 1


def _small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv(2, 3), nn.relu, nn.MaxPool(), nn.Dropout(0.25), nn.Flatten(), nn.Linear(4), nn.Activation(nn.tanh), nn.Linear(3)
    )


def test_sequential() -> None:
    model, x = _small(), _normal(2, 4, 4, 1, dtype=np.float32)
    params, state = model.init(random.key(0), x)
    assert state == () and params[5]["w"].shape == (8, 4)
    y, z = x, ()
    for layer, p in zip(model.layers, params, strict=True):
        y, z = layer(p, z, y)
    apply = nn.stateless(model)
    np.testing.assert_array_equal(np.asarray(apply(params, x)), np.asarray(y))
    np.testing.assert_allclose(np.asarray(apply(params, x[0])), np.asarray(y)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(apply(params, x[None, :, None]))[0, :, 0], np.asarray(y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(fdl.jit(apply)(params, x)), np.asarray(y), rtol=1e-5, atol=1e-6)
    mapped = fdl.vmap(apply, in_axes=(None, 0))(params, x)
    np.testing.assert_allclose(np.asarray(mapped), np.asarray(y), rtol=1e-5, atol=1e-6)


def test_sequential_gradient() -> None:
    model, x = _small(), _normal(2, 4, 4, 1)
    params, _ = model.init(random.key(0), x)
    check_gradient(lambda p, v: nn.stateless(model)(p, v, key=random.key(1), train=True), params, x)


def test_sequential_state_and_keys() -> None:
    model = nn.Sequential(Counter(), nn.Dropout(), nn.Dropout(), Counter())
    x = np.ones(256, np.float32)
    params, state = model.init(random.key(0), x)
    y, state = model(params, state, x, key=random.key(0), train=True)
    assert [s if isinstance(s, tuple) else int(s) for s in state] == [1, (), (), 1]
    # Two masks of their own leave about a quarter; one mask twice would leave a half.
    assert 0.1 < float((np.asarray(y) != 0).mean()) < 0.4
    assert nn.Sequential().init(random.key(0), x) == ((), ())


def test_layers_are_constants_and_parameters_plain() -> None:
    model = _small()
    assert tree.leaves(model) == [] and hash(model) == hash(_small()) and model == _small()
    params, _ = model.init(random.key(0), np.ones((4, 4, 1), np.float32))
    assert "'w': Array(" in str(params) and type(params) is tuple and type(params[0]) is dict
    assert repr(model).startswith("Sequential(layers=(Conv(features=2, window=(3, 3)")
    again, _ = fdl.jit(lambda k: model.init(k, np.ones((4, 4, 1), np.float32)))(random.key(0))
    for a, b in zip(tree.leaves(params), tree.leaves(again), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-6)


def test_container_errors() -> None:
    with pytest.raises(DTypeError, match="layer 1 is 3"):
        nn.Sequential(nn.relu, 3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"Flatten\(axes=3\)"):
        nn.Flatten()((), (), np.ones((2, 2), np.float32))


def test_classes_are_no_layers_yet() -> None:
    """A class without its parentheses, and a class of one's own that has the methods of a layer and does not say so."""

    class Twice:
        def init(self, key: Any, x: Any) -> Any:
            return (), ()

        def __call__(self, params: Any, state: Any, x: Any, *, key: Any = None, train: bool = False) -> Any:
            return 2 * x, state

    with pytest.raises(TypeError, match=r"layer 1 is .*Flatten.*expected a layer.*Make a layer of it: Flatten\(\.\.\.\)"):
        nn.Sequential(nn.relu, nn.Flatten)
    with pytest.raises(TypeError, match=r"layer 0 is .*Twice.*has an init of its own: derive Twice from nn\.Layer"):
        nn.Sequential(Twice())  # type: ignore[arg-type]


# --- losses ---------------------------------------------------------------------------------------


def test_softmax_cross_entropy() -> None:
    logits, labels = 2 * _normal(3, 4, 5), RNG(1).integers(0, 5, (3, 4)).astype(np.int32)
    want = -np.log(np.take_along_axis(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), labels[..., None], -1))[..., 0]
    np.testing.assert_allclose(np.asarray(losses.softmax_cross_entropy(logits, labels)), want, rtol=1e-10)
    np.testing.assert_allclose(np.asarray(losses.softmax_cross_entropy(logits, np.eye(5)[labels])), want, rtol=1e-10)
    check_gradient(lambda z: losses.softmax_cross_entropy(z, labels), logits)
    slope = fdl.grad(lambda z: losses.softmax_cross_entropy(z, 1))(fnp.array([1e4, -1e4, 0.0]))
    np.testing.assert_allclose(np.asarray(slope), [1, -1, 0], atol=1e-6)
    with pytest.raises(ShapeError, match=r"expected integer labels of shape \(3, 4\)"):
        losses.softmax_cross_entropy(logits, labels[0])


def test_sigmoid_binary_cross_entropy() -> None:
    z, t = 2 * _normal(3, 4), RNG(1).uniform(size=(3, 4))
    p = 1 / (1 + np.exp(-z))
    want = -t * np.log(p) - (1 - t) * np.log(1 - p)
    np.testing.assert_allclose(np.asarray(losses.sigmoid_binary_cross_entropy(z, t)), want, rtol=1e-10)
    np.testing.assert_allclose(np.asarray(losses.bernoulli_reconstruction(z, t)), want.sum(-1), rtol=1e-10)
    check_gradient(losses.sigmoid_binary_cross_entropy, z, t)
    assert float(losses.sigmoid_binary_cross_entropy(-1000.0, 1.0)) == 1000.0
    with pytest.raises(ShapeError, match="expected one shape"):
        losses.sigmoid_binary_cross_entropy(z, t[0])


def test_gaussian_kl() -> None:
    mean, log_variance = _normal(3, 4), _normal(3, 4, seed=1)
    want = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(-1)
    np.testing.assert_allclose(np.asarray(losses.gaussian_kl(mean, log_variance)), want, rtol=1e-10)
    check_gradient(losses.gaussian_kl, mean, log_variance)


def test_mse_and_accuracy() -> None:
    x, y = _normal(3, 4), _normal(3, 4, seed=1)
    assert float(losses.mse(x, y)) == pytest.approx(((x - y) ** 2).mean())
    np.testing.assert_allclose(np.asarray(losses.mse(x, y, axis=-1)), ((x - y) ** 2).mean(-1), rtol=1e-10)
    check_gradient(losses.mse, x, y)
    labels = np.array([0, 1, 2], np.int32)
    assert float(losses.accuracy(x, labels)) == pytest.approx(float((x.argmax(-1) == labels).mean()))
    with pytest.raises(ShapeError, match=r"correct: logits \(3, 4\)"):
        losses.accuracy(x, labels[:2])


# --- initialisers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        (initializers.glorot_normal, 2 / (150 + 400)),
        (initializers.glorot_uniform, 2 / (150 + 400)),
        (initializers.he_normal, 2 / 150),
        (initializers.he_uniform, 2 / 150),
        (initializers.lecun_normal, 1 / 150),
        (initializers.lecun_uniform, 1 / 150),
    ],
)
def test_initializers(init: Any, variance: float) -> None:
    x = np.asarray(init(random.key(0), (5, 5, 6, 16), np.float32))
    assert x.dtype == np.float32 and x.shape == (5, 5, 6, 16)
    std = math.sqrt(variance)
    # 2,400 numbers: the mean's and the deviation's standard errors are 2 % and 1.4 % of one deviation.
    assert abs(float(x.mean())) < 0.1 * std and float(x.std()) == pytest.approx(std, rel=0.07)
    bound = math.sqrt(3) if "uniform" in init.__name__ else 2 / 0.8796256610342398
    assert float(np.abs(x).max()) <= bound * std * (1 + 1e-6)
    assert init(random.key(0), (3, 2), np.float64).dtype == np.float64


SCALED = ["glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform"]
SCALED += ["xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform", "truncated_normal"]


@pytest.mark.parametrize("name", SCALED)
def test_initializers_under_their_jax_names(name: str) -> None:
    """`f()(key, shape, dtype)` as in JAX, and `f(key, shape, dtype)`."""
    f, key = getattr(initializers, name), random.key(3)
    made = f(1.0) if name == "truncated_normal" else f()
    for dtype in ("float32", "float64", "float16"):
        w = made(key, (5, 7), dtype)
        assert w.dtype == dtype and w.tolist() == f(key, (5, 7), dtype).tolist() == f(key=key, shape=(5, 7), dtype=dtype).tolist()
    assert f(dtype=fnp.float64)(key, (2, 3)).dtype == np.float64
    assert fdl.jit(lambda k: made(k, (5, 7)))(key).tolist() == fdl.jit(lambda k: f(k, (5, 7)))(key).tolist()
    with pytest.raises(TypeError, match=r"expected a key \(uint32 of shape"):
        f(0, (5, 7))


def test_axes_of_initializers() -> None:
    key = random.key(0)
    assert initializers.fans((3, 3, 16, 32)) == (144, 288)
    assert initializers.fans((32, 16), in_axis=1, out_axis=0) == (16, 32)
    assert initializers.fans((5, 8, 2, 4), in_axis=(1, 2), out_axis=3, batch_axis=0) == (16, 4)
    w = initializers.lecun_normal(in_axis=-1, out_axis=-2)(key, (400, 150))
    assert float(fnp.var(w)) == pytest.approx(1 / 150, rel=0.02)
    stacked = initializers.variance_scaling(1.0, "fan_in", "normal", batch_axis=0)(key, (50, 20, 60))
    assert float(fnp.var(stacked)) == pytest.approx(1 / 20, rel=0.02)
    with pytest.raises(ValueError, match="axis 2 is out of range"):
        initializers.he_normal(in_axis=2)(key, (3, 4))
    narrow = initializers.truncated_normal(0.5, lower=-1.0, upper=3.0)(key, (4000,))
    assert float(narrow.min()) >= -0.5 and 1.0 < float(narrow.max()) <= 1.5
    made = [initializers.normal(dtype="f8"), initializers.uniform(dtype="f8"), initializers.constant(1, dtype="f8")]
    made += [initializers.orthogonal(dtype="f8"), initializers.delta_orthogonal(dtype="f8")]
    assert all(i(key, (1, 2, 2)).dtype == np.float64 for i in made)



def test_simple_initializers() -> None:
    assert initializers.zeros(None, (2,), np.float64).tolist() == [0, 0]
    assert initializers.constant(2.0)(None, (2,)).dtype == np.float32
    with pytest.raises(ShapeError, match="no fans"):
        initializers.he_normal(random.key(0), (3,))
