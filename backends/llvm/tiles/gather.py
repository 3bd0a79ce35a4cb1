"""A convolution of one image as its kernels see it: outputs that gather from inputs, forward and for the input's gradient alike.

May be imported by: the tile emitters of convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.cut import static
from fdl.backends.llvm.tiles.met import nest
from fdl.backends.llvm.tiles.micro import Simd, simd
from fdl.backends.llvm.tiles.parts import digest
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.llvm.tiles.windows import Axis, Phase, attributes, is_dense, sizes
from fdl.backends.loops.ir import Call
from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True)
class Gather:
    """A convolution as its kernel sees it: `outputs` gather from `inputs`, `features` from `channels`, for each group.

    `x_strides` and `y_strides` are those of the spatial axes; channels are contiguous. `reverse`: the filter is
    (.., features, channels of the whole) and taps count from the end (the transpose); else (.., channels, features of the whole).
    """

    s: Simd
    axes: tuple[Axis, ...]
    x_strides: tuple[int, ...]
    y_strides: tuple[int, ...]
    channels: int
    features: int
    groups: int
    reverse: bool
    one_row: bool
    """Whether the outermost axis is made up: the call is one row of pixels."""

    @property
    def inner(self) -> Axis:
        return self.axes[-1]

    @property
    def outputs(self) -> int:
        """Outputs along the innermost axis."""
        assert self.inner.outputs is not None
        return self.inner.outputs

    @contextmanager
    def positions(self, code: Code) -> Iterator[tuple[list[str], list[str]]]:
        """The loops over the output's rows: positions along all axes but the innermost, and those within the call."""
        rows, row0 = ("1", "0") if self.one_row else ("%s0", "%row0")
        with nest(code, rows, *(str(a.outputs) for a in self.axes[1:-1])) as position:
            yield [code.add(position[0], row0), *position[1:]], position

    @property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(p for p in self.inner.phases if p.count(self.outputs))

    @property
    def outer_taps(self) -> int:
        return prod(a.taps for a in self.axes[:-1])

    @property
    def taps(self) -> int:
        return self.outer_taps * self.inner.taps

    @property
    def wide(self) -> int:
        """The contiguous channels of a filter row, those of all groups."""
        return self.groups * (self.channels if self.reverse else self.features)


def described(call: Call, target: Target, reverse: bool) -> Gather | None:
    """The static description of the call; None where something is not static or not dense."""
    refs = (*call.outputs, *call.inputs)
    dtypes = {ref.buffer.dtype for ref in refs}
    s = simd(refs[0].buffer.dtype, target) if len(dtypes) == 1 else None
    y, x, f = refs
    if s is None or not is_dense(f) or y.strides[-1] != 1 or x.strides[-1] != 1:
        return None
    spatial = len(x.shape) - 1
    attrs = attributes(call, spatial)
    y_size, x_size, f_size = sizes(y), sizes(x), sizes(f)
    if None in y_size[1:] or None in x_size or 0 in (*y_size, *x_size, *f_size):
        return None
    per_group, whole = int(f_size[-2] or 0), int(f_size[-1] or 0) // attrs.groups
    channels, features = (whole, per_group) if reverse else (per_group, whole)
    axes = []
    one_row = spatial == 1 and y_size[0] is not None and static(call.scalars[0]) == 0
    for d in range(spatial):
        own, met, taps = y_size[d] if d or one_row else None, int(x_size[d] or 0), int(f_size[d] or 0)
        numbers = (taps, attrs.strides[d], attrs.dilation[d], attrs.low[d], attrs.spread[d])
        axes.append(Axis(None, 0, *numbers).reversed(own, met) if reverse else Axis(own, met, *numbers))
    x_strides, y_strides = x.strides[:-1], y.strides[:-1]
    if spatial == 1:
        # The kernel wants rows of pixels. All pixels of a call are one row; some of them are rows of one pixel each.
        axes.insert(0 if one_row else 1, Axis(1, 1, 1, 1, 1, 0, 1))
        x_strides = (0, *x_strides) if one_row else (*x_strides, channels)
        y_strides = (0, *y_strides) if one_row else (*y_strides, features)
    return Gather(s, tuple(axes), x_strides, y_strides, channels, features, attrs.groups, reverse, one_row)


def entry_head(kernel: str, call: Call, *facts: object) -> tuple[str, list[tuple[str, str]]]:
    """The name and the parameters of a kernel with one output, two inputs and a scalar."""
    count = sum(len(ref.shape) for ref in (*call.outputs, *call.inputs))
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), ("ptr", "in1")]
    return digest(kernel, *facts, count), [*params, *(("i64", f"s{i}") for i in range(count)), ("i64", "row0")]
