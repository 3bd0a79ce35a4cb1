"""Constructors that simplify, for values and for index arithmetic, and what can be told of an index.

Index arithmetic (int64) is kept as a linear combination of atoms: `add`, `sub` and `mul` collect terms, so that equal indices
look equal and the coefficient of a loop variable can be read off.  Integers wrap, so collecting terms is exact.  `floordiv`
and `mod` assume, as `bounds` does, that the mathematical value of an index fits in 64 bits.

A `Ranges` maps variables to what they are known to lie in: `{i: (0, n - 1)}` for a loop over n.

May be imported by: everything that builds, reads or rewrites routines (through `build`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType
from fdl.tracer.records import dataclass
from fdl.tracer.scalars import SCALARS, kind_of

from .ir import BOOL, INDEX, Buffer, Const, Load, Op, Store, Value, Var, subvalues

Interval: TypeAlias = tuple[int, int]
"""Lowest and highest value, both included; (0, -1) and the like are empty."""
Ranges: TypeAlias = Mapping[Var, Interval]

_LOW, _HIGH = -(2**63), 2**63 - 1
_ANY: Interval = (_LOW, _HIGH)


# --- values ---------------------------------------------------------------------------------------


def const(value: bool | int | float, dtype: DType) -> Const:
    """The literal `value` rounded to `dtype`. Raises OverflowError for an integer outside the range of an integer `dtype`."""
    kind = kind_of(dtype)
    if kind == "bool":
        return Const(bool(value), dtype)
    if kind == "int":
        info = np.iinfo(dtype)
        if not info.min <= int(value) <= info.max:
            raise OverflowError(f"the constant {value} does not fit in {dtypes.SHORT[dtype]}")
        return Const(int(value), dtype)
    return Const(float(SCALARS["convert"].impl(np.float64(value), dtype=dtype)), dtype)


def index(value: int | Value) -> Value:
    """`value` as an index: an int becomes an int64 constant, a `Value` stays as it is."""
    return value if isinstance(value, Const | Var | Load | Op) else Const(int(value), INDEX)


def var(name: str, dtype: DType = INDEX) -> Var:
    """A variable; an index unless `dtype` says otherwise."""
    return Var(name, dtype)


def load(buffer: Buffer, *indices: int | Value) -> Load:
    """Element `indices` of `buffer`."""
    return Load(buffer, tuple(map(index, indices)))


def store(buffer: Buffer, indices: Sequence[int | Value], value: Value) -> Store:
    """A `Store` of `value` to element `indices` of `buffer`."""
    return Store(buffer, tuple(map(index, indices)), value)


def op(name: str, *args: Value, dtype: DType | None = None) -> Value:
    """The scalar operation `name` on `args`, simplified: constants fold (where the operation is exact), identities vanish.

    `dtype` is needed for `convert` and `bitcast` only. User arithmetic on floats keeps its bits: no identity is applied that
    could change a result, a zero's sign included.
    """
    result = SCALARS[name].result_dtype(args[-1].dtype) or dtype
    if result is None:
        raise TypeError(f"`{name}` needs `dtype`, the dtype of its result")
    if result == INDEX and name in ("add", "sub", "mul"):
        return sub(*args) if name == "sub" else add(*args) if name == "add" else mul(*args)
    return _identity(name, args, result) or _folded(name, args, result) or Op(name, args, result)


def _folded(name: str, args: tuple[Value, ...], dtype: DType) -> Const | None:
    """The constant that the operation gives for constant `args`."""
    scalar, numbers = SCALARS[name], [a for a in args if isinstance(a, Const)]
    if len(numbers) < len(args) or not (scalar.exact or kind_of(dtype) == "int") or kind_of(dtype) == "complex":
        return None
    result = scalar.impl(*(number(c) for c in numbers), dtype=dtype)
    kind = kind_of(dtype)
    return Const(bool(result) if kind == "bool" else int(result) if kind == "int" else float(result), dtype)


def _identity(name: str, args: tuple[Value, ...], dtype: DType) -> Value | None:
    """A simpler value equal to the operation, or None."""
    x, y = args[0], args[-1]
    exact = not dtypes.is_inexact(x.dtype)
    match name:
        case "convert" if x.dtype == dtype:
            return x
        case "mul" | "div" if dtype != BOOL and _is(y, 1):
            return x
        case "mul" if dtype != BOOL and _is(x, 1):
            return y
        case "mul" if exact and (_is(x, 0) or _is(y, 0)):
            return const(0, dtype)
        case "rem" if exact and _is(y, 1):
            return const(0, dtype)
        case "add" | "sub" | "or" | "xor" if exact and _is(y, 0):
            return x
        case "add" | "or" | "xor" if exact and _is(x, 0):
            return y
        case "and" if dtype == BOOL and (_is(x, 1) or _is(y, 1)):
            return y if _is(x, 1) else x
        case "and" if exact and (_is(x, 0) or _is(y, 0)):
            return const(0, dtype)
        case "or" if dtype == BOOL and (_is(x, 1) or _is(y, 1)):
            return const(True, dtype)
        case "and" | "or" | "max" | "min" if exact and x == y:
            return x
        case "not" if isinstance(x, Op) and x.name == "not":
            return x.args[0]
        case "ne" if x.dtype == BOOL and _is(y, 0):
            return x
        case "eq" | "le" | "ge" if exact and x == y:
            return const(True, BOOL)
        case "ne" | "lt" | "gt" if exact and x == y:
            return const(False, BOOL)
        case "select" if isinstance(x, Const):
            return args[1] if x.value else args[2]
        # Equal floats may differ in a zero's sign, so that only one and the same value will do.
        case "select" if args[1] is args[2] or (not dtypes.is_inexact(dtype) and args[1] == args[2]):
            return args[1]
        case _:
            return None


def _is(value: Value, number: int) -> bool:
    return isinstance(value, Const) and value.value == number


def number(constant: Const) -> Any:
    """The NumPy scalar that a constant stands for."""
    if constant.dtype == INDEX:
        return np.int64(constant.value)
    exact = np.asarray(constant.value, np.float64 if dtypes.is_float(constant.dtype) else constant.dtype)
    return constant.dtype.type(SCALARS["convert"].impl(exact, dtype=constant.dtype)[()])


def convert(value: Value, dtype: DType) -> Value:
    """`value` converted to `dtype`; itself where it has that dtype."""
    return op("convert", value, dtype=dtype)


def select(pred: Value, on_true: Value, on_false: Value) -> Value:
    """`on_true` where the bool `pred` holds, else `on_false`. Both are evaluated."""
    return op("select", pred, on_true, on_false)


def conjunction(*conditions: Value) -> Value:
    """The bool that all `conditions` hold; true for none."""
    result: Value = Const(True, BOOL)
    for condition in conditions:
        result = op("and", result, condition)
    return result


# --- index arithmetic -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Linear:
    """`sum(c * atom for atom, c in terms.items()) + constant`, an int64 value. No coefficient is 0."""

    terms: Mapping[Value, int]
    constant: int


def _wrap(n: int) -> int:
    return (n + 2**63) % 2**64 - 2**63


def linear(value: Value) -> Linear:
    """The linear form of an int64 `value`; an atom is a variable, a load, or an operation that is not linear.

    Example:
        >>> i, j = var("i"), var("j")
        >>> linear(add(mul(4, add(i, j)), sub(3, i))) == Linear({i: 3, j: 4}, 3)
        True
    """
    if isinstance(value, Const):
        return Linear({}, int(value.value))
    if isinstance(value, Op):
        match value.name, value.args:
            case "add", (x, y):
                return _combine(linear(x), linear(y), 1)
            case "sub", (x, y):
                return _combine(linear(x), linear(y), -1)
            case "neg", (x,):
                return _combine(_ZERO, linear(x), -1)
            case "mul", (x, Const() as c) | (Const() as c, x):
                return _combine(_ZERO, linear(x), int(c.value))
    return Linear({value: 1}, 0)


_ZERO = Linear({}, 0)


def _combine(x: Linear, y: Linear, factor: int) -> Linear:
    """x + factor * y."""
    constant = _wrap(x.constant + factor * y.constant)
    if factor == 1 and not (x.terms and y.terms):
        return Linear(x.terms or y.terms, constant)
    terms = dict(x.terms)
    for atom, c in y.terms.items():
        total = _wrap(terms.get(atom, 0) + factor * c)
        if total:
            terms[atom] = total
        else:
            terms.pop(atom, None)
    return Linear(terms, constant)


def from_linear(form: Linear) -> Value:
    """The value of a linear form: positive terms, then negative ones, in order of appearance; the constant last."""
    result: Value | None = None
    for atom, c in sorted(form.terms.items(), key=lambda term: term[1] < 0):
        if result is None or c > 0:
            term = atom if c == 1 else Op("mul", (atom, Const(c, INDEX)), INDEX)
            result = term if result is None else Op("add", (result, term), INDEX)
        else:
            term = atom if c == -1 else Op("mul", (atom, Const(_wrap(-c), INDEX)), INDEX)
            result = Op("sub", (result, term), INDEX)
    if result is None:
        return Const(form.constant, INDEX)
    return Op("add", (result, Const(form.constant, INDEX)), INDEX) if form.constant else result


def add(*terms: int | Value) -> Value:
    """The sum of int64 `terms`, collected; 0 for none."""
    form = _ZERO
    for term in terms:
        form = _combine(form, linear(index(term)), 1)
    return from_linear(form)


def sub(x: int | Value, y: int | Value) -> Value:
    """x - y for int64 values, collected."""
    return from_linear(_combine(linear(index(x)), linear(index(y)), -1))


def mul(*factors: int | Value) -> Value:
    """The product of int64 `factors`; constants are multiplied into the terms. 1 for none."""
    scale, others = 1, []
    for factor in factors:
        form = linear(index(factor))
        if form.terms:
            others.append(form)
        else:
            scale = _wrap(scale * form.constant)
    if not others:
        return Const(scale, INDEX)
    if len(others) == 1:
        return from_linear(_combine(_ZERO, others[0], scale))
    product = from_linear(others[0])
    for form in others[1:]:
        product = Op("mul", (product, from_linear(form)), INDEX)
    return product if scale == 1 else mul(product, scale) if scale else Const(0, INDEX)


def bounds(value: Value, ranges: Ranges | None = None) -> Interval:
    """The lowest and highest value that the integer `value` can have while the variables stay in `ranges`.

    What is not known gives the whole of int64.
    """
    ranges = ranges or {}
    if value.dtype != INDEX:
        return _dtype_bounds(value.dtype)
    form = linear(value)
    low = high = form.constant
    for atom, c in form.terms.items():
        a, b = _atom_bounds(atom, ranges)
        low, high = low + min(c * a, c * b), high + max(c * a, c * b)
    return (low, high) if _LOW <= low and high <= _HIGH else _ANY


def _dtype_bounds(dtype: DType) -> Interval:
    if dtype == BOOL:
        return 0, 1
    if not dtypes.is_int(dtype) or dtype == dtypes.uint64:
        return _ANY
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _atom_bounds(atom: Value, ranges: Ranges) -> Interval:
    """The bounds of an int64 value that is no sum."""
    match atom:
        case Const():
            return int(atom.value), int(atom.value)
        case Var():
            return ranges.get(atom, _ANY)
        case Op("min" | "max", (x, y)):
            (a, b), (c, d) = bounds(x, ranges), bounds(y, ranges)
            return (min(a, c), min(b, d)) if atom.name == "min" else (max(a, c), max(b, d))
        case Op("select", (_, x, y)):
            (a, b), (c, d) = bounds(x, ranges), bounds(y, ranges)
            return min(a, c), max(b, d)
        case Op("mul", (x, y)):
            corners = [a * b for a in bounds(x, ranges) for b in bounds(y, ranges)]
            return (min(corners), max(corners)) if _LOW <= min(corners) and max(corners) <= _HIGH else _ANY
        case Op("div", (x, Const() as c)) if c.value > 0:
            low, high = bounds(x, ranges)
            return _truncated(low, int(c.value)), _truncated(high, int(c.value))
        case Op("rem", (x, Const() as c)) if c.value > 0:
            low, high = bounds(x, ranges)
            top = int(c.value) - 1
            return (max(low, -top) if low < 0 else 0), (min(high, top) if high > 0 else 0)
        case Op("convert", (x,)) if x.dtype != dtypes.uint64 and not dtypes.is_inexact(x.dtype):
            return bounds(x, ranges)
        case _:
            return _ANY


def _truncated(n: int, d: int) -> int:
    return n // d if n >= 0 else -(-n // d)


def _split(value: Value, divisor: int) -> tuple[Linear, Linear]:
    """(quotient, remainder) with value = divisor * quotient + remainder; the remainder's constant is in [0, divisor)."""
    form = linear(value)
    whole = {atom: c // divisor for atom, c in form.terms.items() if c % divisor == 0}
    rest = {atom: c for atom, c in form.terms.items() if c % divisor}
    return Linear(whole, form.constant // divisor), Linear(rest, form.constant % divisor)


def floordiv(x: int | Value, divisor: int, ranges: Ranges | None = None) -> Value:
    """x // divisor, rounded down, for a positive constant `divisor`.

    Example:
        >>> i, j = var("i"), var("j")
        >>> floordiv(add(mul(i, 8), j), 8, {j: (0, 7)}) == i
        True
    """
    _positive(divisor)
    quotient, rest = _split(index(x), divisor)
    return add(from_linear(quotient), _quotient(rest, divisor, ranges or {}))


def mod(x: int | Value, divisor: int, ranges: Ranges | None = None) -> Value:
    """x - divisor * floordiv(x, divisor), in [0, divisor), for a positive constant `divisor`.

    Example:
        >>> i, j = var("i"), var("j")
        >>> mod(add(mul(i, 8), j), 8, {j: (0, 7)}) == j
        True
    """
    _positive(divisor)
    return _remainder(_split(index(x), divisor)[1], divisor, ranges or {})


def _positive(divisor: int) -> None:
    if divisor <= 0:
        raise ValueError(f"the divisor of an index is {divisor}; expected a positive integer")


def _quotient(form: Linear, divisor: int, ranges: Ranges) -> Value:
    value = from_linear(form)
    low, high = bounds(value, ranges)
    if low // divisor == high // divisor:
        return Const(low // divisor, INDEX)
    g = math.gcd(divisor, *form.terms.values())
    if g > 1:
        scaled = Linear({atom: c // g for atom, c in form.terms.items()}, form.constant // g)
        return floordiv(from_linear(scaled), divisor // g, ranges)
    match value:
        case Op("div", (inner, Const() as c)) if low >= 0 and c.value > 0:
            return Op("div", (inner, Const(int(c.value) * divisor, INDEX)), INDEX)
        case _ if low >= 0:
            return Op("div", (value, Const(divisor, INDEX)), INDEX)
    # `div` truncates: one too high where the value is negative and the division inexact.
    below = op("lt", Op("rem", (value, Const(divisor, INDEX)), INDEX), Const(0, INDEX))
    return sub(Op("div", (value, Const(divisor, INDEX)), INDEX), convert(below, INDEX))


def _remainder(form: Linear, divisor: int, ranges: Ranges) -> Value:
    value = from_linear(form)
    low, high = bounds(value, ranges)
    if low // divisor == high // divisor:
        return sub(value, low // divisor * divisor)
    g = math.gcd(divisor, *form.terms.values())
    if g > 1:
        scaled = Linear({atom: c // g for atom, c in form.terms.items()}, form.constant // g)
        return add(mul(mod(from_linear(scaled), divisor // g, ranges), g), form.constant % g)
    match value:
        case Op("rem", (inner, Const() as c)) if low >= 0 and c.value % divisor == 0 and bounds(inner, ranges)[0] >= 0:
            return Op("rem", (inner, Const(divisor, INDEX)), INDEX)
    remainder = Op("rem", (value, Const(divisor, INDEX)), INDEX)
    if low >= 0:
        return remainder
    return select(op("lt", remainder, Const(0, INDEX)), add(remainder, divisor), remainder)


def clamp(x: int | Value, low: int, high: int, ranges: Ranges | None = None) -> Value:
    """`x` brought into [low, high]: max first, so that an empty interval gives `high`; without what `ranges` make needless."""
    value = index(x)
    least, most = bounds(value, ranges)
    if least < low:
        value = op("max", value, Const(low, INDEX))
    return op("min", value, Const(high, INDEX)) if most > high or low > high else value


def flatten(indices: Sequence[int | Value], shape: Sequence[int]) -> Value:
    """The row-major position of element `indices`, which are in bounds, in an array of `shape`."""
    return from_linear(flat_form(indices, shape))


def flat_form(indices: Sequence[int | Value], shape: Sequence[int]) -> Linear:
    """The linear form of `flatten(indices, shape)`."""
    form = _ZERO
    for i, n in zip(indices, shape, strict=True):
        if n != 1:  # where the index is 0
            form = _combine(_combine(_ZERO, form, n), linear(index(i)), 1)
    return form


def unflatten(position: int | Value, shape: Sequence[int], ranges: Ranges | None = None) -> tuple[Value, ...]:
    """The indices of the element at a row-major `position` in an array of `shape`; the inverse of `flatten`."""
    indices: list[Value] = []
    rest = index(position)
    for axis in reversed(range(len(shape))):
        n = max(shape[axis], 1)
        indices.append(rest if axis == 0 else mod(rest, n, ranges))
        rest = floordiv(rest, n, ranges)
    return tuple(reversed(indices))


# --- what an index depends on ---------------------------------------------------------------------


def mentions(value: Value, variables: Var | frozenset[Var] | set[Var]) -> bool:
    """Whether `value` reads any of `variables`, in an index of a load or anywhere else."""
    wanted = {variables} if isinstance(variables, Var) else variables
    return any(isinstance(v, Var) and v in wanted for v in subvalues(value))


def coefficient(value: Value, variable: Var) -> int | None:
    """What the int64 `value` grows by when `variable` grows by 1, if that is a constant; else None.

    Example:
        >>> i, j = var("i"), var("j")
        >>> coefficient(add(mul(i, 3), j), i), coefficient(mul(i, j), i), coefficient(j, i)
        (3, None, 0)
    """
    total = 0
    for atom, c in linear(value).terms.items():
        if atom == variable:
            total += c
        elif mentions(atom, variable):
            return None
    return total
