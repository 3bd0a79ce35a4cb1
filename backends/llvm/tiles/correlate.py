"""The gradient of a convolution with respect to its filter, as its kernels see it.

May be imported by: the tile emitters of convolutions.
"""

from __future__ import annotations

from math import prod

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.micro import Simd, simd
from fdl.backends.llvm.tiles.parts import digest
from fdl.backends.llvm.tiles.windows import Axis, Phase, attributes, is_dense, sizes
from fdl.backends.loops.ir import Call
from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True)
class Correlate:
    """The static description of a call. Strides in elements: those of the image axis, then of the spatial axes."""

    s: Simd
    axes: tuple[Axis, ...]
    x_strides: tuple[int, ...]
    y_strides: tuple[int, ...]
    channels: int
    features: int
    groups: int
    accumulate: bool

    @property
    def inner(self) -> Axis:
        return self.axes[-1]

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(int(a.outputs or 0) for a in self.axes)

    @property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(p for p in self.inner.phases if p.taps and p.count(self.outputs[-1]))

    @property
    def wide(self) -> int:
        """The features of all groups."""
        return self.groups * self.features

    @property
    def taps(self) -> int:
        return prod(a.taps for a in self.axes)

    def filled(self, n: int) -> float:
        """How full vectors are that hold `n` elements."""
        return n / (-(-n // self.s.lanes) * self.s.lanes)


def described(call: Call, target: Target) -> Correlate | None:
    """The static description of the call; None where something is not static or not dense."""
    f, x, y = (*call.outputs, *call.inputs)
    dtypes = {ref.buffer.dtype for ref in (f, x, y)}
    s = simd(f.buffer.dtype, target) if len(dtypes) == 1 else None
    if s is None or not is_dense(f) or x.strides[-1] != 1 or y.strides[-1] != 1:
        return None
    spatial = len(x.shape) - 2
    attrs = attributes(call, spatial)
    f_size, x_size, y_size = sizes(f), sizes(x), sizes(y)
    if None in (*f_size, *x_size[1:], *y_size[1:]) or 0 in (*f_size, *x_size[1:], *y_size[1:]):
        return None
    channels, features = int(f_size[-2] or 0), int(f_size[-1] or 0) // attrs.groups
    axes = [
        Axis(
            y_size[d + 1], int(x_size[d + 1] or 0), int(f_size[d] or 0), attrs.strides[d], attrs.dilation[d], attrs.low[d],
            attrs.spread[d],
        )
        for d in range(spatial)
    ]  # fmt: skip
    x_strides, y_strides = x.strides[:-1], y.strides[:-1]
    if spatial == 1:  # the kernel wants rows around its pixels: one of them
        axes.insert(0, Axis(1, 1, 1, 1, 1, 0, 1))
        x_strides, y_strides = (x_strides[0], 0, x_strides[1]), (y_strides[0], 0, y_strides[1])
    return Correlate(s, tuple(axes), x_strides, y_strides, channels, features, attrs.groups, attrs.accumulate)


def entry_head(kernel: str, call: Call, *facts: object) -> tuple[str, list[tuple[str, str]], str]:
    """The name and the parameters of a kernel, and the parameter that is the number of images."""
    count = sum(len(ref.shape) for ref in (*call.outputs, *call.inputs))
    images = f"%s{len(call.outputs[0].shape)}"
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), ("ptr", "in1"), *(("i64", f"s{i}") for i in range(count))]
    return digest(kernel, *facts, images, count), params, images
