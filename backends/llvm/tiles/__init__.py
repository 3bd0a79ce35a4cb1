"""Tile kernels written as vector LLVM IR, for what the loop IR's scalar loops would do slowly.

`tile_function(call, target)` gives the hand-vectorised form of a `Call`, or None where there is none: then
the emitter inlines the kernel's definition, `fdl.backends.loops.tiles.TILES[call.kernel].body(call)`.

The function is `void symbol(ptr scratch, ptr out0.., ptr in0.., i64 sizes.., i64 scalars..)`: the sizes are those of
the outputs, then of the inputs, axis by axis; pointers have the offsets of the `Ref`s applied.  It runs on one thread.
Sizes given as `Const` choose better tiles; others are served by a set of tiles.

May be imported by: the LLVM emitter.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.conv import write_conv, write_conv_input_grad
from fdl.backends.llvm.tiles.cut import most
from fdl.backends.llvm.tiles.filters import write_conv_filter_grad
from fdl.backends.llvm.tiles.lapack import write_lapack
from fdl.backends.llvm.tiles.matmul import write_matmul
from fdl.backends.llvm.tiles.parts import TileFunction as TileFunction
from fdl.backends.llvm.tiles.running import write_running
from fdl.backends.llvm.tiles.sorting import write_sort
from fdl.backends.llvm.tiles.text import Shared as Shared
from fdl.backends.llvm.tiles.transpose import write_transpose
from fdl.backends.loops.ir import Call, Const, Value

_WRITERS: dict[str, Callable[[Call, Target], TileFunction | None]] = {
    "matmul": write_matmul,
    "lapack": write_lapack,
    "conv": write_conv,
    "conv_input_grad": write_conv_input_grad,
    "conv_filter_grad": write_conv_filter_grad,
    "transpose": write_transpose,
    "running": write_running,
    "sort": write_sort,
}


_MADE: dict[Hashable, TileFunction | None] = {}
_MOST = 1024


def tile_function(call: Call, target: Target) -> TileFunction | None:
    """The vector form of `call` for `target`, or None where its definition in loop IR is all there is.

    Equal layers make equal calls: what is written depends on these facts alone.
    """
    writer = _WRITERS.get(call.kernel)
    if writer is None:
        return None
    refs = (*call.outputs, *call.inputs)
    facts = tuple((r.buffer.dtype, tuple((_static(n), most(n)) for n in r.shape), r.strides) for r in refs)
    key = (call.kernel, target, len(call.outputs), facts, tuple(_static(v) for v in call.scalars), call.attrs)
    if key not in _MADE:
        if len(_MADE) >= _MOST:
            _MADE.clear()
        _MADE[key] = writer(call, target)
    return _MADE[key]


def _static(v: Value) -> float | None:
    return v.value if isinstance(v, Const) else None
