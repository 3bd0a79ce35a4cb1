"""The transpose of a convolution with respect to its filter, for a chunk of images: which form serves a call.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles import grouped_filters, turned_filters
from fdl.backends.llvm.tiles.correlate import described
from fdl.backends.llvm.tiles.parts import TileFunction
from fdl.backends.llvm.tiles.wide_filters import write_wide_filters
from fdl.backends.loops.ir import Call


def write_conv_filter_grad(call: Call, target: Target) -> TileFunction | None:
    """The transpose of a convolution with respect to its filter, or None where it has no vector form."""
    g = described(call, target)
    if g is None:
        return None
    if grouped_filters.pays(g):
        return grouped_filters.write_grouped_filters(g, call)
    return turned_filters.write_turned_filters(g, call) if turned_filters.pays(g) else write_wide_filters(g, call)
