"""Convolutions under the names of JAX's `lax`, with any order of axes.

They become the primitive `conv`, whose layout is (N, *spatial, C) and (*window, C / groups, O): other orders are transposed to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fdl.numpy.promote import asarray, to_dtype
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import contract, convolve
from fdl.tracer.ops import shape as s

from .dots import PrecisionLike, check_precision, in_dtype
from .operands import ints, operand, pairs, per_axis

Shape = tuple[int, ...]
Padding = str | Sequence[tuple[int, int]]


class ConvDimensionNumbers(NamedTuple):
    """The axes of a convolution's arrays: (batch, feature, *spatial) of the input and output, (out, in, *spatial) of the filters."""

    lhs_spec: Sequence[int]
    rhs_spec: Sequence[int]
    out_spec: Sequence[int]


ConvGeneralDilatedDimensionNumbers = ConvDimensionNumbers | tuple[str, str, str] | None

# --- shapes ---------------------------------------------------------------------------------------


def conv_general_permutations(dimension_numbers: tuple[str, str, str]) -> tuple[Shape, Shape, Shape]:
    """The axes that ("NHWC", "HWIO", "NHWC") or the like mean: (batch, feature, *spatial), (out, in, *spatial), and as the first.

    Spatial axes are in the order of the second string, whose letters for them the others share.
    """
    if [type(v) for v in dimension_numbers] != [str, str, str]:
        raise ShapeError(
            f"lax: dimension_numbers={dimension_numbers!r}: expected three strings, such as ('NHWC', 'HWIO', 'NHWC').{at(user_source())}"
        )
    lhs, rhs, out = dimension_numbers
    spatial = [c for c in rhs if c not in "OI"]
    for text, first in ((lhs, "NC"), (rhs, "OI"), (out, "NC")):
        if sorted(text) != sorted([*first, *spatial]) or len(set(text)) != len(text):
            raise ShapeError(
                f"lax: dimension_numbers={dimension_numbers!r}: {text!r} must have each of {', '.join([*first, *spatial])} once."
                f"{at(user_source())}"
            )
    return tuple(  # type: ignore[return-value]
        tuple(text.index(c) for c in (*first, *spatial)) for text, first in ((lhs, "NC"), (rhs, "OI"), (out, "NC"))
    )


def conv_dimension_numbers(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], dimension_numbers: ConvGeneralDilatedDimensionNumbers
) -> ConvDimensionNumbers:
    """The axes that `dimension_numbers` mean for arrays of these shapes; None means ("NCHW", "OIHW", "NCHW").

    Example:
        >>> conv_dimension_numbers((1, 8, 8, 3), (3, 3, 3, 16), ("NHWC", "HWIO", "NHWC")).rhs_spec
        (3, 2, 0, 1)
    """
    if len(lhs_shape) != len(rhs_shape):
        raise ShapeError(
            f"lax: a convolution of an input {tuple(lhs_shape)} with filters {tuple(rhs_shape)}: expected equally many axes."
            f"{at(user_source())}"
        )
    if dimension_numbers is None:
        plain = tuple(range(len(lhs_shape)))
        return ConvDimensionNumbers(plain, plain, plain)
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    found = ConvDimensionNumbers(*conv_general_permutations(dimension_numbers))
    if len(found.lhs_spec) != len(lhs_shape):
        raise ShapeError(
            f"lax: dimension_numbers={dimension_numbers!r} for an input with {len(lhs_shape)} axes.{at(user_source())}"
        )
    return found


def padtype_to_pads(
    in_shape: Sequence[int], window_shape: Sequence[int], window_strides: Sequence[int], padding: str
) -> list[tuple[int, int]]:
    """The (low, high) padding of each axis that a name means.

    "VALID" is none.  "SAME" makes ⌈n / stride⌉ windows, an odd element coming after, with "SAME_LOWER" before.

    Example:
        >>> padtype_to_pads((5,), (2,), (1,), "SAME")
        [(0, 1)]
    """
    if padding == "VALID":
        return [(0, 0)] * len(window_shape)
    if padding not in ("SAME", "SAME_LOWER"):
        raise ShapeError(f"lax: padding={padding!r}: expected 'SAME', 'SAME_LOWER', 'VALID' or pairs.{at(user_source())}")
    out = []
    for n, k, step in zip(in_shape, window_shape, window_strides, strict=True):
        total = max((-(-n // step) - 1) * step + k - n, 0)
        before = total // 2 if padding == "SAME" else total - total // 2
        out.append((before, total - before))
    return out


def _dilated(sizes: Sequence[int], dilation: Sequence[int]) -> Shape:
    return tuple((k - 1) * d + 1 if k else 0 for k, d in zip(sizes, dilation, strict=True))


def conv_shape_tuple(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], strides: Sequence[int], pads: Padding, batch_group_count: int = 1
) -> Shape:
    """The shape (N, O, *out) of a convolution of (N, C, *spatial) with (O, C, *window), plain but for strides and padding."""
    spatial, window = tuple(lhs_shape[2:]), tuple(rhs_shape[2:])
    lo_hi = _pads("conv_shape_tuple", pads, spatial, window, strides)
    ones = (1,) * len(window)
    out = convolve.conv_out_shape(spatial, window, tuple(strides), lo_hi, ones, ones)
    return (lhs_shape[0] // batch_group_count, rhs_shape[0], *out)


def conv_general_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    dimension_numbers: tuple[str, str, str],
) -> Shape:
    """The shape of a convolution of arrays of these shapes, their axes in the order that `dimension_numbers` tell."""
    lhs, rhs, out = conv_general_permutations(dimension_numbers)
    plain = conv_shape_tuple([lhs_shape[a] for a in lhs], [rhs_shape[a] for a in rhs], window_strides, padding)
    return tuple(plain[out.index(a)] for a in range(len(plain)))


def conv_transpose_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    dimension_numbers: tuple[str, str, str],
) -> Shape:
    """The shape of a `conv_transpose` of arrays of these shapes, their axes in the order that `dimension_numbers` tell."""
    lhs, rhs, out = conv_general_permutations(dimension_numbers)
    spatial, window = [lhs_shape[a] for a in lhs[2:]], [rhs_shape[a] for a in rhs[2:]]
    steps = per_axis("conv_transpose_shape_tuple", "window_strides", window_strides, len(window))
    lo_hi = _transposed_padding("conv_transpose_shape_tuple", padding, window, steps)
    ones = (1,) * len(window)
    sizes = convolve.conv_out_shape(tuple(spatial), tuple(window), ones, lo_hi, steps, ones)
    plain = (lhs_shape[lhs[0]], rhs_shape[rhs[0]], *sizes)
    return tuple(plain[out.index(a)] for a in range(len(plain)))


def _pads(name: str, padding: Padding, spatial: Sequence[int], window: Sequence[int], strides: Sequence[int]) -> Any:
    if isinstance(padding, str):
        return tuple(padtype_to_pads(spatial, window, strides, padding.upper()))
    out = pairs(name, "padding", padding)
    if len(out) != len(window):
        raise ShapeError(f"lax.{name}: padding={padding!r} for {len(window)} spatial axes.{at(user_source())}")
    return out


# --- convolutions ---------------------------------------------------------------------------------


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The convolution of `lhs` with the filters `rhs`, which are not flipped.

    Args:
        window_strides: the step between windows, for each spatial axis.
        padding: "SAME", "SAME_LOWER", "VALID", or a (low, high) pair for each spatial axis; negative numbers remove elements.
        lhs_dilation, rhs_dilation: the distance between the elements of `lhs` and of the filters, ones by default.
        dimension_numbers: strings such as ("NHWC", "HWIO", "NHWC"), a `ConvDimensionNumbers`, or None for ("NCHW", "OIHW", "NCHW").
        feature_group_count: the features of `lhs` fall into so many groups, each with an equal part of the filters.
        batch_group_count: the batch does: each part of it goes with an equal part of the filters.
        precision: accepted, and of no use here.
        preferred_element_type: the dtype of the sums, if not the operands'.

    Example:
        >>> import fdl.numpy as fnp
        >>> x, f = fnp.ones((1, 4, 4, 3)), fnp.ones((3, 3, 3, 8))
        >>> conv_general_dilated(x, f, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
        (1, 4, 4, 8)
    """
    name = "conv_general_dilated"
    x, f = operand(name, lhs, "lhs"), operand(name, rhs, "rhs")
    check_precision(name, precision)
    numbers = conv_dimension_numbers(type_of(x).shape, type_of(f).shape, dimension_numbers)
    n = len(numbers.lhs_spec) - 2
    if n < 0:
        raise ShapeError(f"lax.{name}: lhs has shape {type_of(x).shape}: expected at least two axes.{at(user_source())}")
    (x, f), out = in_dtype(name, preferred_element_type, x, f)
    x, f = _to_inner(x, numbers.lhs_spec), s.transpose(f, (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0]))
    strides = per_axis(name, "window_strides", window_strides, n)
    left, right = per_axis(name, "lhs_dilation", lhs_dilation, n), per_axis(name, "rhs_dilation", rhs_dilation, n)
    if isinstance(padding, str) and any(d != 1 for d in left):
        raise ShapeError(
            f"lax.{name}: padding by name has no meaning with lhs_dilation={left}. Give (low, high) pairs, or use lax.conv_transpose."
            f"{at(user_source())}"
        )
    window = _dilated(type_of(f).shape[:-2], right)
    lo_hi = _pads(name, padding, type_of(x).shape[1:-1], window, strides)
    groups, x = _groups(name, x, f, feature_group_count, batch_group_count)
    y = convolve.conv(x, f, strides=strides, padding=lo_hi, lhs_dilation=left, rhs_dilation=right, groups=groups)
    order = (0, n + 1, *range(1, n + 1))  # from (N, *out, O) to (N, O, *out), then to the order that is asked for
    y = s.transpose(y, tuple(order[list(numbers.out_spec).index(a)] for a in range(n + 2)))
    return asarray(to_dtype(y, out))


def _to_inner(x: Any, spec: Sequence[int]) -> Any:
    """An array with axes (N, C, *spatial) at `spec`, as (N, *spatial, C)."""
    return s.transpose(x, (spec[0], *spec[2:], spec[1]))


def _groups(name: str, x: Any, f: Any, features: int, batches: int) -> tuple[int, Any]:
    """The number of groups of channels, and the input, whose groups of the batch became groups of channels."""
    if features < 1 or batches < 1 or (features > 1 and batches > 1):
        raise ShapeError(
            f"lax.{name}: feature_group_count={features}, batch_group_count={batches}: expected at least 1, and one of them to be 1."
            f"{at(user_source())}"
        )
    if batches == 1:
        return features, x
    size, *spatial, c = type_of(x).shape
    if size % batches or type_of(f).shape[-1] % batches:
        raise ShapeError(
            f"lax.{name}: batch_group_count={batches} does not divide the batch, {size}, and the output features, "
            f"{type_of(f).shape[-1]}.{at(user_source())}"
        )
    x = s.reshape(x, (batches, size // batches, *spatial, c))
    rank = len(spatial) + 3
    x = s.transpose(x, (*range(1, rank - 1), 0, rank - 1))
    return batches, s.reshape(x, (size // batches, *spatial, batches * c))


def conv(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The convolution of `lhs` (N, C, *spatial) with `rhs` (O, C, *window): see `conv_general_dilated`."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, precision=precision, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """`conv_general_dilated` of `lhs` (N, C, *spatial) and `rhs` (O, C, *window)."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation,
        precision=precision, preferred_element_type=preferred_element_type,
    )  # fmt: skip


# --- transposed convolutions ----------------------------------------------------------------------

_CHANNELS_LAST = {2: ("NC", "IO", "NC"), 3: ("NHC", "HIO", "NHC"), 4: ("NHWC", "HWIO", "NHWC"), 5: ("NHWDC", "HWDIO", "NHWDC")}


def _transposed_padding(name: str, padding: Padding, window: Sequence[int], strides: Sequence[int]) -> Any:
    """The padding of the input, its elements `strides` apart, that makes the result of a transposed convolution.

    "SAME" gives n · stride elements, "VALID" (n - 1) · stride + window, or n · stride where that is more.
    """
    if not isinstance(padding, str):
        return _pads(name, padding, (0,) * len(window), window, strides)
    out = []
    for k, step in zip(window, strides, strict=True):
        if padding.upper() == "SAME":
            total = k + step - 2
            before = k - 1 if step > k - 1 else -(-total // 2)
        elif padding.upper() == "VALID":
            total = k + step - 2 + max(k - step, 0)
            before = k - 1
        else:
            raise ShapeError(f"lax.{name}: padding={padding!r}: expected 'SAME', 'VALID' or pairs.{at(user_source())}")
        out.append((before, total - before))
    return tuple(out)


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Sequence[int],
    padding: Padding,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    transpose_kernel: bool = False,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    use_consistent_padding: bool = False,
) -> Any:
    """The transposed convolution: `lhs` with its elements `strides` apart, convolved with `rhs`.

    Args:
        padding: "SAME" (n · stride elements), "VALID" (all that the filters reach), or (low, high) pairs: of the input with its elements
            apart or, with `use_consistent_padding`, of the convolution whose transpose this is.
        dimension_numbers: by default channels come last: ("NHWC", "HWIO", "NHWC") for two spatial axes.
        transpose_kernel: whether the filters are those of the convolution whose transpose this is: flipped, and with their input and
            output features exchanged. The result is then the cotangent of that convolution's input.
        rhs_dilation, precision, preferred_element_type: as in `conv_general_dilated`.

    Example:
        >>> import fdl.numpy as fnp
        >>> conv_transpose(fnp.ones((1, 4, 4, 3)), fnp.ones((3, 3, 3, 8)), (2, 2), "SAME").shape
        (1, 8, 8, 8)
    """
    name = "conv_transpose"
    x, f = operand(name, lhs, "lhs"), operand(name, rhs, "rhs")
    ndim = type_of(x).ndim
    if dimension_numbers is None:
        if ndim not in _CHANNELS_LAST:
            raise ShapeError(f"lax.{name}: lhs with {ndim} axes: give dimension_numbers.{at(user_source())}")
        dimension_numbers = _CHANNELS_LAST[ndim]
    numbers = conv_dimension_numbers(type_of(x).shape, type_of(f).shape, dimension_numbers)
    steps = per_axis(name, "strides", strides, ndim - 2)
    right = per_axis(name, "rhs_dilation", rhs_dilation, ndim - 2)
    window = _dilated([type_of(f).shape[a] for a in numbers.rhs_spec[2:]], right)
    lo_hi = _transposed_padding(name, padding, window, steps)
    if use_consistent_padding and not isinstance(padding, str):
        lo_hi = tuple((k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(window, lo_hi, strict=True))
    if transpose_kernel:
        out, into, *spatial = numbers.rhs_spec
        f = s.flip(f, tuple(spatial))
        f = s.transpose(f, tuple({out: into, into: out}.get(a, a) for a in range(ndim)))
    return conv_general_dilated(
        x,
        f,
        (1,) * (ndim - 2),
        lo_hi,
        steps,
        right,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


# --- patches --------------------------------------------------------------------------------------


def conv_general_dilated_patches(
    lhs: Any,
    filter_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The elements of `lhs` that each window of a convolution holds, as features: C times the size of a window.

    Feature c · |window| + k is channel c at the k-th place of the window, in row-major order. Other parameters as in
    `conv_general_dilated`.

    Example:
        >>> import fdl.numpy as fnp
        >>> conv_general_dilated_patches(fnp.arange(4.0).reshape(1, 1, 4), (2,), (1,), "VALID").tolist()
        [[[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]]
    """
    name = "conv_general_dilated_patches"
    x = operand(name, lhs, "lhs")
    window = ints(name, "filter_shape", filter_shape)
    n = len(window)
    check_precision(name, precision)
    numbers = conv_dimension_numbers(type_of(x).shape, (1,) * type_of(x).ndim, dimension_numbers)
    if len(numbers.lhs_spec) != n + 2:
        raise ShapeError(f"lax.{name}: filter_shape={window} for lhs of shape {type_of(x).shape}.{at(user_source())}")
    (x,), out = in_dtype(name, preferred_element_type, x)
    patches = _patches(name, _to_inner(x, numbers.lhs_spec), window, window_strides, padding, lhs_dilation, rhs_dilation)
    y = s.reshape(patches, (*type_of(patches).shape[:-2], math.prod(type_of(patches).shape[-2:])))
    order = (0, n + 1, *range(1, n + 1))
    y = s.transpose(y, tuple(order[list(numbers.out_spec).index(a)] for a in range(n + 2)))
    return asarray(to_dtype(y, out))


def _patches(
    name: str, x: Any, window: Shape, window_strides: Any, padding: Padding, lhs_dilation: Any, rhs_dilation: Any
) -> Any:
    """The windows of `x` (N, *spatial, C): (N, *out, C, |window|)."""
    n, (size, *spatial, c) = len(window), type_of(x).shape
    strides = per_axis(name, "window_strides", window_strides, n)
    left, right = per_axis(name, "lhs_dilation", lhs_dilation, n), per_axis(name, "rhs_dilation", rhs_dilation, n)
    reach = _dilated(window, right)
    lo_hi = _pads(name, padding, spatial, reach, strides)
    out = convolve.conv_out_shape(tuple(spatial), window, strides, lo_hi, left, right)
    config = [(0, 0, 0), *((lo, hi, d - 1) for (lo, hi), d in zip(lo_hi, left, strict=True)), (0, 0, 0)]
    padded = s.pad(x, np.zeros((), type_of(x).dtype), config)
    if 0 in out:
        return s.broadcast(np.zeros((), type_of(x).dtype), (size, *out, c, math.prod(window)), ())
    parts = []
    for place in np.ndindex(*window):
        first = [k * d for k, d in zip(place, right, strict=True)]
        last = [a + (m - 1) * step + 1 for a, m, step in zip(first, out, strides, strict=True)]
        part = s.slice(padded, (0, *first, 0), (size, *last, c), (1, *strides, 1))
        parts.append(s.reshape(part, (size, *out, c, 1)))
    return s.concatenate(parts, n + 2)


def conv_general_dilated_local(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    filter_shape: Sequence[int],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
) -> Any:
    """A convolution with filters of its own for each window: nothing is shared between places.

    Args:
        rhs: its spatial axes are those of the result, its input features C times the size of a window, in the order of
            `conv_general_dilated_patches`.

    Other parameters as in `conv_general_dilated`.
    """
    name = "conv_general_dilated_local"
    x, f = operand(name, lhs, "lhs"), operand(name, rhs, "rhs")
    window = ints(name, "filter_shape", filter_shape)
    check_precision(name, precision)
    numbers = conv_dimension_numbers(type_of(x).shape, type_of(f).shape, dimension_numbers)
    (x, f), dtype = in_dtype(name, None, x, f)
    patches = _patches(name, _to_inner(x, numbers.lhs_spec), window, window_strides, padding, lhs_dilation, rhs_dilation)
    n = len(window)
    size, *spatial, c, k = type_of(patches).shape
    patches = s.reshape(patches, (size, *spatial, c * k))
    filters = s.transpose(f, (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0]))
    if type_of(filters).shape[:-1] != (*spatial, c * k):
        raise ShapeError(
            f"lax.{name}: filters of shape {type_of(f).shape}: expected the spatial sizes {tuple(spatial)} and {c * k} input features."
            f"{at(user_source())}"
        )
    y = contract.dot_general(patches, filters, ((n + 1,), (n,)), (tuple(range(1, n + 1)), tuple(range(n))))
    order = (n, n + 1, *range(n))  # (*out, N, O) → (N, O, *out)
    y = s.transpose(y, tuple(order[list(numbers.out_spec).index(a)] for a in range(n + 2)))
    return asarray(to_dtype(y, dtype))


__all__ = [
    "ConvDimensionNumbers", "ConvGeneralDilatedDimensionNumbers", "conv", "conv_dimension_numbers", "conv_general_dilated",
    "conv_general_dilated_local", "conv_general_dilated_patches", "conv_general_permutations", "conv_general_shape_tuple",
    "conv_shape_tuple", "conv_transpose", "conv_transpose_shape_tuple", "conv_with_general_padding", "padtype_to_pads",
]  # fmt: skip
