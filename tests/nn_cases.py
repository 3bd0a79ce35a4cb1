"""What the tests of `fdl.nn`'s functions try: functions of an `nn` module and arrays, with JAX's figures in data/jax_nn.npz.

As in tests/lax_cases, `f(nn, *arrays)` runs with `jax.nn` and with `fdl.nn`, and nothing here imports either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.lax_cases.table import INF, NAN, Case, Draw, bools, ints, just, normal

CASES: list[Case] = []


def case(name: str, f: Callable[..., Any], *draws: Draw, grad: bool = False, rtol: float = 1e-12) -> None:
    assert all(c.name != name for c in CASES), name
    CASES.append(Case(name, f, draws, grad, rtol))


# --- activations ----------------------------------------------------------------------------------

ELEMENTWISE = (
    "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu", "log_sigmoid", "mish", "relu", "relu6",
    "selu", "sigmoid", "silu", "soft_sign", "softplus", "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh", "identity",
)  # fmt: skip
for _name in ELEMENTWISE:
    case(f"{_name}:smooth", lambda nn, x, n=_name: getattr(nn, n)(x), lambda rng: rng.normal(size=(3, 4)) * 3 + 0.01, grad=True)
    if _name not in ("mish", "hard_silu", "hard_swish", "silu", "swish", "gelu", "soft_sign", "squareplus"):
        case(f"{_name}:edges", lambda nn, x, n=_name: getattr(nn, n)(x), just(-INF, -800, -3, -1, 0, 1, 3, 6, 800, INF, NAN))
    case(f"{_name}:empty", lambda nn, x, n=_name: getattr(nn, n)(x), normal(0, 2))
    case(f"{_name}:half", lambda nn, x, n=_name: getattr(nn, n)(x), normal(8, dtype="float16"), rtol=4e-3)
case("silu:large", lambda nn, x: nn.silu(x), just(-800, -30, 30, 800))
case("mish:large", lambda nn, x: nn.mish(x), just(-700, -30, 30, 800))
case("squareplus:b", lambda nn, x: nn.squareplus(x, 0.5), normal(5), grad=True)
case("gelu:exact", lambda nn, x: nn.gelu(x, approximate=False), normal(5), grad=True)
case("elu:alpha", lambda nn, x: nn.elu(x, 0.3), normal(5), grad=True)
case("celu:alpha", lambda nn, x: nn.celu(x, 0.3), normal(5), grad=True)
case("leaky_relu:slope", lambda nn, x: nn.leaky_relu(x, 0.3), normal(5), grad=True)
case("log1mexp:smooth", lambda nn, x: nn.log1mexp(x), just(1e-8, 0.1, 0.69, 0.7, 1, 10, 100))
case("log1mexp:derivatives", lambda nn, x: nn.log1mexp(x), just(0.3, 0.69, 0.7, 2, 5), grad=True)
case("relu:ints", lambda nn, x: nn.relu(x), ints(-3, 4, 8), rtol=0)
case("hard_tanh:ints", lambda nn, x: nn.hard_tanh(x), ints(-3, 4, 8), rtol=0)

# --- along an axis --------------------------------------------------------------------------------

for _name in ("softmax", "log_softmax"):
    for _axis in (-1, 0, (0, 2)):
        case(f"{_name}:{_axis}", lambda nn, x, n=_name, a=_axis: getattr(nn, n)(x, a), normal(2, 3, 4), grad=True)
    case(
        f"{_name}:where",
        lambda nn, x, m, n=_name: getattr(nn, n)(x, where=m),
        normal(3, 4),
        lambda rng: rng.random((3, 4)) < 0.6,
    )
    case(f"{_name}:none", lambda nn, x, n=_name: getattr(nn, n)(x, where=np.zeros(3, bool)), normal(2, 3), rtol=0)
    case(f"{_name}:large", lambda nn, x, n=_name: getattr(nn, n)(x), just(1000, 1001, -1000, -INF))
case("logsumexp:axis", lambda nn, x: nn.logsumexp(x, 1), normal(3, 4), grad=True)
case("logmeanexp:all", lambda nn, x: nn.logmeanexp(x), normal(3, 4), grad=True)
case("logmeanexp:axes", lambda nn, x: nn.logmeanexp(x, (0, 2), keepdims=True), normal(2, 3, 4), grad=True)
case(
    "logmeanexp:where",
    lambda nn, x, m: nn.logmeanexp(x, 1, where=m),
    normal(3, 4),
    lambda rng: np.arange(12).reshape(3, 4) % 3 > 0,
)
for _how in ("stable", "fast"):
    case(f"standardize:{_how}", lambda nn, x, h=_how: nn.standardize(x, algorithm=h), normal(3, 5), grad=True)
    case(
        f"standardize:where {_how}", lambda nn, x, m, h=_how: nn.standardize(x, 0, where=m, algorithm=h),
        normal(5, 3), lambda rng: np.arange(15).reshape(5, 3) % 4 > 0,
    )  # fmt: skip
case(
    "standardize:given",
    lambda nn, x, m, v: nn.standardize(x, mean=m, variance=v, epsilon=0.1),
    normal(3, 5),
    normal(5),
    just(1, 2, 3, 4, 5),
)
case("glu:last", lambda nn, x: nn.glu(x), normal(3, 6), grad=True)
case("glu:first", lambda nn, x: nn.glu(x, 0), normal(4, 3), grad=True)
case("one_hot:last", lambda nn, i: nn.one_hot(i, 4, dtype="float64"), ints(-1, 6, 2, 3), rtol=0)
case("one_hot:first", lambda nn, i: nn.one_hot(i, 4, dtype="int8", axis=0), ints(0, 4, 2, 3), rtol=0)
case("one_hot:scalar", lambda nn, i: nn.one_hot(i, 3, dtype="bool"), ints(0, 3), rtol=0)

# --- attention ------------------------------------------------------------------------------------

# JAX computes the softmax in float32, whatever the operands are.


def attention(name: str, f: Callable[..., Any], *draws: Draw, grad: bool = False, rtol: float = 3e-6) -> None:
    case(f"dot_product_attention:{name}", f, *draws, grad=grad, rtol=rtol)


LENGTHS = np.array([[2, 3], [6, 1]], np.int32)
_QKV = (normal(2, 3, 4, 5), normal(2, 6, 2, 5), normal(2, 6, 2, 5))
attention("plain", lambda nn, q, k, v: nn.dot_product_attention(q, k, v), *_QKV, grad=True)
attention(
    "one kv head",
    lambda nn, q, k, v: nn.dot_product_attention(q, k, v),
    normal(1, 3, 4, 5),
    normal(1, 6, 1, 5),
    normal(1, 6, 1, 5),
)
attention(
    "no batch",
    lambda nn, q, k, v: nn.dot_product_attention(q, k, v, scale=0.3),
    normal(3, 4, 5),
    normal(6, 4, 5),
    normal(6, 4, 5),
)
attention("causal", lambda nn, q, k, v: nn.dot_product_attention(q, k, v, is_causal=True), *_QKV, grad=True)
attention("bias", lambda nn, q, k, v, b: nn.dot_product_attention(q, k, v, b), *_QKV, normal(1, 4, 3, 6), grad=True)
attention("mask", lambda nn, q, k, v, m: nn.dot_product_attention(q, k, v, mask=m), *_QKV, bools(2, 1, 3, 6))
attention("nothing seen", lambda nn, q, k, v: nn.dot_product_attention(q, k, v, mask=np.zeros((1, 1, 1, 6), bool)), *_QKV)
attention("window", lambda nn, q, k, v: nn.dot_product_attention(q, k, v, local_window_size=(1, 2)), *_QKV)
attention("one window", lambda nn, q, k, v: nn.dot_product_attention(q, k, v, local_window_size=1, is_causal=True), *_QKV)
attention(
    "lengths", lambda nn, q, k, v: nn.dot_product_attention(q, k, v, query_seq_lengths=LENGTHS[0], key_value_seq_lengths=LENGTHS[1]),
    *_QKV,
)  # fmt: skip
attention("residual", lambda nn, q, k, v: nn.dot_product_attention(q, k, v, is_causal=True, return_residual=True), *_QKV)
attention(
    "half", lambda nn, q, k, v: nn.dot_product_attention(q, k, v),
    *(normal(2, 4, 2, 8, dtype="float16") for _ in range(3)), rtol=4e-3,
)  # fmt: skip
