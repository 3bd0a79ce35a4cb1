"""Elementwise primitives: one scalar operation applied to each element.

Operands have one dtype and one shape, or the shape (): a 0-d operand goes with every element, without a broadcast
equation.  Promotion and NumPy broadcasting happen above, in `fdl.numpy`.

Derivatives are given as partials, `partial(t, y, *xs)`: what a tangent `t` of one operand adds to the output's, in terms of
the output `y` where that is cheaper.  Conventions where the derivative does not exist: `abs`, `sign` and `round` at 0 have
derivative 0; `max` and `min` give each of two equal operands half.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Elementwise, Primitive, Undefined, Zero, lookup
from ..scalars import SCALARS, kind_of
from ..trace import bind

Partial = Callable[..., Any] | None

# --- shared rules ---------------------------------------------------------------------------------


def _abstract(name: str, result: str, *types: Type) -> Type:
    operands = types[1:] if name == "select" else types
    first = operands[0].dtype
    if any(t.dtype != first for t in operands):
        raise DTypeError(
            f"{name}: operands have dtypes {' and '.join(t.dtype.name for t in operands)}, expected one dtype. Convert one with .astype."
        )
    if name == "select" and types[0].dtype != dtypes.bool_:
        raise DTypeError(f"select: the predicate has dtype {types[0].dtype.name}, expected bool. Compare it with something.")
    if not SCALARS[name].accepts(first):
        way = "Take .real, .imag or abs first" if dtypes.is_complex(first) else "Convert with .astype"
        raise DTypeError(
            f"{name}: operands have dtype {first.name}, expected {' or '.join(SCALARS[name].domain.split())}. {way}."
        )
    shapes = {t.shape for t in types if t.shape != ()}
    if len(shapes) > 1:
        raise ShapeError(
            f"{name}: operands have shapes {' and '.join(str(t.shape) for t in types)}, expected one shape, or 0-d."
        )
    weak = all(t.weak for t in operands)
    shape = shapes.pop() if shapes else ()
    match result:
        case "bool":
            return Type(shape, dtypes.bool_)
        case "real":
            return Type(shape, dtypes.real_of(first), weak)
        case "u64":
            return Type(shape, dtypes.uint64)
        case _:
            return Type(shape, first, weak)


def _reference(name: str, result: str, *xs: np.ndarray) -> np.ndarray:
    first = xs[1].dtype if name == "select" else xs[0].dtype
    dtype = {"bool": dtypes.bool_, "real": dtypes.real_of(first), "u64": dtypes.uint64}.get(result, first)
    return np.asarray(SCALARS[name].impl(*xs, dtype=dtype))


def sum_to(ct: Any, t: Type) -> Any:
    """A cotangent summed to the type of a 0-d operand that went with every element."""
    shape = type_of(ct).shape
    if shape == t.shape:
        return ct
    assert t.shape == (), (shape, t)
    return bind(lookup("reduce_sum"), ct, axes=tuple(range(len(shape))))


def splat(x: Any, shape: tuple[int, ...]) -> Any:
    """`x` in the given shape: a 0-d value repeated; the value itself when it has the shape."""
    return x if type_of(x).shape == shape else bind(lookup("broadcast"), x, shape=shape, axes=())


def add_tangents(a: Any, b: Any) -> Any:
    """The sum of two tangents or cotangents, either of which may be Zero."""
    if isinstance(a, Zero):
        return b
    return a if isinstance(b, Zero) else bind(add_p, a, b)


def _jvp(prim: Primitive, partials: Sequence[Partial], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    y = bind(prim, *primals)
    t = type_of(y)
    y_dot: Any = Zero(t)
    for partial, x_dot in zip(partials, tangents, strict=True):
        if partial is not None and not isinstance(x_dot, Zero):
            y_dot = add_tangents(y_dot, partial(x_dot, y, *primals))
    return y, y_dot if isinstance(y_dot, Zero) else splat(y_dot, t.shape)


def batch_elementwise(
    prim: Primitive, size: int, xs: Sequence[Any], axes: Sequence[int | None], **params: Any
) -> tuple[Any, int]:
    """The batching rule of an elementwise primitive: the output of `prim`, and its mapped axis."""
    ranks = [len(type_of(x).shape) - (a is not None) for x, a in zip(xs, axes, strict=True)]
    rank = builtins.max(ranks)
    full = [(x, a) for x, a, r in zip(xs, axes, ranks, strict=True) if r == rank and (rank or a is not None)]
    used = {a for _, a in full}
    lone = any(r == 0 and a is not None for a, r in zip(axes, ranks, strict=True)) and rank > 0
    if len(used) == 1 and None not in used and not lone:
        return bind(prim, *xs, **params), used.pop()  # type: ignore[return-value]
    shape = next(
        (type_of(x).shape[:a] + type_of(x).shape[a + 1 :] if a is not None else type_of(x).shape for x, a in full),
        (),
    )
    moved = []
    for x, a, r in zip(xs, axes, ranks, strict=True):
        if a is None and r == 0:
            moved.append(x)
        elif a is None:
            moved.append(bind(lookup("broadcast"), x, shape=(size, *shape), axes=tuple(range(1, rank + 1))))
        elif r == 0 and rank > 0:
            moved.append(bind(lookup("broadcast"), x, shape=(size, *shape), axes=(0,)))
        else:
            moved.append(move_axis(x, a, 0))
    return bind(prim, *moved, **params), 0


def move_axis(x: Any, source: int, target: int) -> Any:
    """`x` with axis `source` moved to `target`."""
    if source == target:
        return x
    order = [i for i in range(len(type_of(x).shape)) if i != source]
    order.insert(target, source)
    return bind(lookup("transpose"), x, permutation=tuple(order))


def _declare(
    name: str,
    *partials: Partial,
    transpose: Callable[..., Any] | None = None,
    differentiable: bool = True,
    jvp: Callable[..., Any] | None = None,
) -> tuple[Primitive, Callable[..., Any]]:
    """The primitive for scalar operation `name`, and the function that binds it. `jvp` stands in for `partials`."""
    scalar = SCALARS[name]

    def sum_of_partials(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        return _jvp(prim, partials or (None,) * scalar.arity, primals, tangents)

    def batch(size: int, xs: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, int]:
        return batch_elementwise(prim, size, xs, axes)

    prim = Primitive(
        name,
        abstract=functools.partial(_abstract, name, scalar.result),
        reference=functools.partial(_reference, name, scalar.result),
        jvp=(jvp or sum_of_partials) if differentiable else None,
        transpose=transpose,
        batch=batch,
        lowering=Elementwise(name),
    )
    prim.source = __file__

    def function(*xs: Any) -> Any:
        return bind(prim, *xs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of each element, for operands of one dtype and one shape (or 0-d): see `fdl.tracer.scalars`."
    return prim, function


def scalar_like(value: complex, x: Any) -> np.ndarray:
    """A 0-d constant of the dtype of `x`."""
    return np.asarray(value, type_of(x).dtype)


# --- arithmetic: linear operations and their transposes -------------------------------------------

# Rules read functions that are declared further down.
neg: Callable[..., Any]
mul: Callable[..., Any]
div: Callable[..., Any]
select: Callable[..., Any]
sign: Callable[..., Any]
cos: Callable[..., Any]
cosh: Callable[..., Any]
convert_p: Primitive


def _add_transpose(ct: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return tuple(sum_to(ct, v.type) if isinstance(v, Undefined) else None for v in (x, y))  # type: ignore[return-value]


def _sub_transpose(ct: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return (
        sum_to(ct, x.type) if isinstance(x, Undefined) else None,
        sum_to(neg(ct), y.type) if isinstance(y, Undefined) else None,
    )


def _mul_transpose(ct: Any, x: Any, y: Any) -> tuple[Any, Any]:
    if isinstance(x, Undefined):
        return sum_to(mul(ct, y), x.type), None
    return None, sum_to(mul(ct, x), y.type)


def _div_transpose(ct: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return sum_to(div(ct, y), x.type), None


def _select_transpose(ct: Any, pred: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    zero = scalar_like(0, ct)
    return (
        None,
        sum_to(select(pred, ct, zero), x.type) if isinstance(x, Undefined) else None,
        sum_to(select(pred, zero, ct), y.type) if isinstance(y, Undefined) else None,
    )


add_p, add = _declare("add", lambda t, y, a, b: t, lambda t, y, a, b: t, transpose=_add_transpose)
sub_p, sub = _declare("sub", lambda t, y, a, b: t, lambda t, y, a, b: neg(t), transpose=_sub_transpose)
mul_p, mul = _declare("mul", lambda t, y, a, b: mul(t, b), lambda t, y, a, b: mul(a, t), transpose=_mul_transpose)
neg_p, neg = _declare("neg", lambda t, y, x: neg(t), transpose=lambda ct, x: (neg(ct),))
div_p, div = _declare("div", lambda t, y, a, b: div(t, b), lambda t, y, a, b: neg(div(mul(t, y), b)), transpose=_div_transpose)
rem_p, rem = _declare("rem", lambda t, y, a, b: t, lambda t, y, a, b: neg(mul(t, _trunc(div(a, b)))))


def _trunc(x: Any) -> Any:
    return mul(sign(x), floor(abs(x)))


def _tie(x: Any, other: Any, y: Any, t: Any) -> Any:
    """`t` where `x` is the extremum `y`, half of it where `other` is as well."""
    zero, half, one = scalar_like(0, t), scalar_like(0.5, t), scalar_like(1, t)
    return mul(t, select(eq(x, y), select(eq(other, y), half, one), zero))


max_p, max = _declare("max", lambda t, y, a, b: _tie(a, b, y, t), lambda t, y, a, b: _tie(b, a, y, t))
min_p, min = _declare("min", lambda t, y, a, b: _tie(a, b, y, t), lambda t, y, a, b: _tie(b, a, y, t))


def _pow_base(t: Any, y: Any, a: Any, b: Any) -> Any:
    # b a^(b-1), with 0 for b = 0 whatever a is.
    zero, one = scalar_like(0, t), scalar_like(1, t)
    safe = select(eq(b, zero), one, sub(b, one))
    return mul(t, select(eq(b, zero), zero, mul(b, pow(a, safe))))


def _pow_exponent(t: Any, y: Any, a: Any, b: Any) -> Any:
    # y log a, with 0 where a = 0: the limit from the right for b > 0.
    one, zero = scalar_like(1, t), scalar_like(0, t)
    return mul(t, mul(y, select(eq(a, zero), zero, log(select(eq(a, zero), one, a)))))


pow_p, pow = _declare("pow", _pow_base, _pow_exponent)
select_p, select = _declare(
    "select", None, lambda t, y, p, a, b: select(p, t, scalar_like(0, t)), lambda t, y, p, a, b: select(p, scalar_like(0, t), t),
    transpose=_select_transpose,
)  # fmt: skip

# --- functions of one operand ---------------------------------------------------------------------


def _one(x: Any) -> Any:
    return scalar_like(1, x)


def _is_complex(x: Any) -> bool:
    return dtypes.is_complex(type_of(x).dtype)


def _abs_partial(t: Any, y: Any, x: Any) -> Any:
    # d|z| = Re(conj(z) dz) / |z|, and 0 at 0.
    if not _is_complex(x):
        return mul(t, sign(x))
    return bind(lookup("real"), mul(t, bind(lookup("conj"), sign(x))))


def _sign_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    y = sign(x)
    if isinstance(t, Zero) or not _is_complex(x):
        return y, Zero(type_of(y))
    # s = z / |z| turns about 0: ds = i s Im(conj(s) dz) / |z|, and 0 at 0.
    size = abs(x)
    safe = select(eq(size, scalar_like(0, size)), scalar_like(1, size), size)
    turn = div(bind(lookup("imag"), mul(t, bind(lookup("conj"), y))), safe)
    return y, mul(mul(y, scalar_like(1j, y)), bind(lookup("complex"), turn, scalar_like(0, turn)))


def _cbrt_slope(y: Any) -> Any:
    """1 / (3 y²) as a product of reciprocals, whose own derivative at 0 and at infinity is the limit: that of the quotient is NaN."""
    inverse = div(_one(y), y)
    return mul(mul(inverse, scalar_like(1 / 3, y)), inverse)


abs_p, abs = _declare("abs", _abs_partial)
sign_p, sign = _declare("sign", jvp=_sign_jvp)
floor_p, floor = _declare("floor", None)
ceil_p, ceil = _declare("ceil", None)
round_p, round = _declare("round", None)
trunc_p, trunc = _declare("trunc", None)
sqrt_p, sqrt = _declare("sqrt", lambda t, y, x: mul(t, div(scalar_like(0.5, x), y)))
rsqrt_p, rsqrt = _declare("rsqrt", lambda t, y, x: mul(t, mul(scalar_like(-0.5, x), div(y, x))))
cbrt_p, cbrt = _declare("cbrt", lambda t, y, x: mul(t, _cbrt_slope(y)))
exp_p, exp = _declare("exp", lambda t, y, x: mul(t, y))
exp2_p, exp2 = _declare("exp2", lambda t, y, x: mul(t, mul(y, scalar_like(np.log(2.0), x))))
expm1_p, expm1 = _declare("expm1", lambda t, y, x: mul(t, add(y, _one(x))))
log_p, log = _declare("log", lambda t, y, x: div(t, x))
log1p_p, log1p = _declare("log1p", lambda t, y, x: div(t, add(x, _one(x))))
sin_p, sin = _declare("sin", lambda t, y, x: mul(t, cos(x)))
cos_p, cos = _declare("cos", lambda t, y, x: neg(mul(t, sin(x))))
tan_p, tan = _declare("tan", lambda t, y, x: mul(t, add(_one(x), mul(y, y))))


def _asin_slope(x: Any) -> Any:
    """1 / sqrt(1 - x²).

    For complex numbers as a product of two roots, and with a constant subtracted from `x`, never the reverse: the imaginary
    part keeps its sign where it is a zero, which tells on what side of its branch cut asin is (W. Kahan, 1987, section 5).
    """
    if not _is_complex(x):
        return rsqrt(sub(_one(x), mul(x, x)))
    return mul(rsqrt(neg(sub(x, _one(x)))), rsqrt(sub(x, scalar_like(-1, x))))


def _asinh_slope(x: Any) -> Any:
    if not _is_complex(x):
        return rsqrt(add(mul(x, x), _one(x)))
    # asin z = -i asinh(i z)
    return _asin_slope(_times_i(x))


def _acosh_slope(x: Any) -> Any:
    if not _is_complex(x):
        return rsqrt(mul(sub(x, _one(x)), add(x, _one(x))))
    # The root of the product would be wrong in the left half of the plane.
    return mul(rsqrt(sub(x, _one(x))), rsqrt(sub(x, scalar_like(-1, x))))


def _times_i(x: Any) -> Any:
    """i x, with the signs of zeros: a product by 1j would add 0 to each part."""
    return bind(lookup("complex"), neg(bind(lookup("imag"), x)), bind(lookup("real"), x))


asin_p, asin = _declare("asin", lambda t, y, x: mul(t, _asin_slope(x)))
acos_p, acos = _declare("acos", lambda t, y, x: neg(mul(t, _asin_slope(x))))
atan_p, atan = _declare("atan", lambda t, y, x: div(t, add(_one(x), mul(x, x))))
sinh_p, sinh = _declare("sinh", lambda t, y, x: mul(t, cosh(x)))
cosh_p, cosh = _declare("cosh", lambda t, y, x: mul(t, sinh(x)))
tanh_p, tanh = _declare("tanh", lambda t, y, x: mul(t, sub(_one(x), mul(y, y))))
asinh_p, asinh = _declare("asinh", lambda t, y, x: mul(t, _asinh_slope(x)))
acosh_p, acosh = _declare("acosh", lambda t, y, x: mul(t, _acosh_slope(x)))
atanh_p, atanh = _declare("atanh", lambda t, y, x: div(t, mul(sub(_one(x), x), add(_one(x), x))))
logistic_p, logistic = _declare("logistic", lambda t, y, x: mul(t, mul(y, sub(_one(x), y))))


def _erf_slope(x: Any) -> Any:
    return mul(scalar_like(2 / np.sqrt(np.pi), x), exp(neg(mul(x, x))))


erf_p, erf = _declare("erf", lambda t, y, x: mul(t, _erf_slope(x)))
erfc_p, erfc = _declare("erfc", lambda t, y, x: neg(mul(t, _erf_slope(x))))


def _erf_inv_slope(y: Any, x: Any) -> Any:
    return mul(scalar_like(np.sqrt(np.pi) / 2, x), exp(mul(y, y)))


erf_inv_p, erf_inv = _declare("erf_inv", lambda t, y, x: mul(t, _erf_inv_slope(y, x)))
erf_inv_giles_p, erf_inv_giles = _declare("erf_inv_giles", lambda t, y, x: mul(t, _erf_inv_slope(y, x)))


def _square_sum(a: Any, b: Any) -> Any:
    return add(mul(a, a), mul(b, b))


atan2_p, atan2 = _declare(
    "atan2",
    lambda t, y, a, b: mul(t, div(b, _square_sum(a, b))),
    lambda t, y, a, b: neg(mul(t, div(a, _square_sum(a, b)))),
)
nextafter_p, nextafter = _declare("nextafter", differentiable=False)

# --- comparisons, logic, bits ---------------------------------------------------------------------

is_finite_p, is_finite = _declare("is_finite")
eq_p, eq = _declare("eq")
ne_p, ne = _declare("ne")
lt_p, lt = _declare("lt")
le_p, le = _declare("le")
gt_p, gt = _declare("gt")
ge_p, ge = _declare("ge")
not_p, logical_not = _declare("not")
and_p, logical_and = _declare("and")
or_p, logical_or = _declare("or")
xor_p, logical_xor = _declare("xor")
shift_left_p, shift_left = _declare("shift_left")
shift_right_logical_p, shift_right_logical = _declare("shift_right_logical")
shift_right_arithmetic_p, shift_right_arithmetic = _declare("shift_right_arithmetic")
population_count_p, population_count = _declare("population_count")
clz_p, clz = _declare("clz")
threefry0_p, threefry0 = _declare("threefry0")
threefry1_p, threefry1 = _declare("threefry1")

# --- conversions ----------------------------------------------------------------------------------


def _convert_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, dtype: Any, weak: bool) -> tuple[Any, Any]:
    y = convert(primals[0], dtype, weak)
    if not dtypes.is_inexact(dtype):
        return y, Zero(type_of(y))
    return y, convert(tangents[0], dtype, weak)


def _convert_reference(x: np.ndarray, *, dtype: Any, weak: bool) -> np.ndarray:
    return np.asarray(SCALARS["convert"].impl(x, dtype=dtype))


def _convert_transpose(ct: Any, x: Any, *, dtype: Any, weak: bool) -> tuple[Any]:
    return (convert(ct, x.type.dtype, x.type.weak),)


convert_p = Primitive(
    "convert",
    abstract=lambda x, *, dtype, weak: Type(x.shape, dtype, weak),
    reference=_convert_reference,
    jvp=_convert_jvp,
    transpose=_convert_transpose,
    batch=lambda size, xs, axes, **params: (bind(convert_p, *xs, **params), axes[0]),
    lowering=Elementwise("convert"),
)


def convert(x: Any, dtype: Any, weak: bool = False) -> Any:
    """`x` with each element converted to `dtype`: float → int saturates, NaN → 0, int → int wraps."""
    t = type_of(x)
    return x if (t.dtype, t.weak) == (dtype, weak) else bind(convert_p, x, dtype=dtype, weak=weak)


def _bitcast_abstract(x: Type, *, dtype: Any) -> Type:
    if x.dtype.itemsize != dtype.itemsize or dtypes.bool_ in (x.dtype, dtype):
        raise DTypeError(
            f"bitcast: {x.dtype.name} and {dtype.name} differ in width. Choose a dtype of {dtypes.bits(x.dtype)} bits."
        )
    return Type(x.shape, dtype)


bitcast_p = Primitive(
    "bitcast",
    abstract=_bitcast_abstract,
    reference=lambda x, *, dtype: np.ascontiguousarray(x).view(dtype).reshape(x.shape),
    jvp=lambda primals, tangents, *, dtype: (bitcast(primals[0], dtype), Zero(Type(type_of(primals[0]).shape, dtype))),
    batch=lambda size, xs, axes, *, dtype: (bitcast(xs[0], dtype), axes[0]),
    lowering=Elementwise("bitcast"),
)


def bitcast(x: Any, dtype: Any) -> Any:
    """The bits of `x` read as `dtype`, of the same width. Its derivative is zero."""
    return bind(bitcast_p, x, dtype=dtype)


stop_gradient_p = Primitive(
    "stop_gradient",
    abstract=lambda x: x,
    reference=lambda x: x,
    jvp=lambda primals, tangents: (stop_gradient(primals[0]), Zero(type_of(primals[0]))),
    batch=lambda size, xs, axes: (stop_gradient(xs[0]), axes[0]),
    lowering=Elementwise("copy"),
)


def stop_gradient(x: Any) -> Any:
    """`x`, with derivative zero."""
    return bind(stop_gradient_p, x)


def kind(x: Any) -> str:
    """The kind of an operand: "bool", "int", "float" or "complex"."""
    return kind_of(type_of(x).dtype)
