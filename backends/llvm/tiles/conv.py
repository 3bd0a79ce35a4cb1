"""Convolution, and its transpose with respect to the input, of one image: which form serves a call.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles import grouped, planar
from fdl.backends.llvm.tiles.gather import described
from fdl.backends.llvm.tiles.parts import TileFunction
from fdl.backends.llvm.tiles.wide import write_wide
from fdl.backends.loops.ir import Call


def write_conv(call: Call, target: Target) -> TileFunction | None:
    """The convolution of one image (rows of its output), or None where it has no vector form."""
    return _write(call, target, reverse=False)


def write_conv_input_grad(call: Call, target: Target) -> TileFunction | None:
    """The transpose of a convolution with respect to its input (rows of it), or None where it has no vector form."""
    return _write(call, target, reverse=True)


def _write(call: Call, target: Target, *, reverse: bool) -> TileFunction | None:
    g = described(call, target, reverse)
    if g is None:
        return None
    if grouped.pays(g):
        return grouped.write_grouped(g, call)
    return planar.write_planar(g, call) if planar.pays(g) else write_wide(g, call)
