"""Builders of the convolution family, as loops around tile kernels.

A kernel's call works on one thread, on one image or on a block of one; the loops around it are what runs in parallel.  How an
output is cut depends on its shape alone, so that results are the same on any number of threads.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from fdl.backends.loops.ir import INDEX, Call, Const, Ref, Value
from fdl.backends.loops.reductions import accumulator
from fdl.backends.loops.values import add, conjunction, const, mul, op
from fdl.tracer.ir import Equation
from fdl.tracer.records import dataclass

from .context import Nest, Scope
from .nests import sum_partials
from .panels import GRAIN, PARTS, TASKS, Cut, cut, parts
from .windowed import Window, placed, row_major

FILTER_MEMORY = 1 << 22
"""The most elements that the partial filter gradients take together."""
LINE_BYTES = 1 << 18
"""The part of a line (the input of a convolution along one axis) that a block should need: it is read for each phase and panel."""
PIECES = 4
"""The most kinds of blocks that a line is cut into: each is a kernel of its own."""


def build_conv(scope: Scope, e: Equation) -> None:
    """conv: y (N, *out, O) from x (N, *spatial, C) and f (*window, C/g, O)."""
    f = e.inputs[1].type.shape
    _images(scope, e, "conv", 2 * e.outputs[0].type.size * math.prod(f[:-1]))


def build_conv_input_grad(scope: Scope, e: Equation) -> None:
    """conv_input_grad: dx (N, *in, C) from dy (N, *out, O) and f."""
    f = e.inputs[1].type.shape
    _images(scope, e, "conv_input_grad", 2 * e.inputs[0].type.size * math.prod(f[:-1]))


def build_conv_filter_grad(scope: Scope, e: Equation) -> None:
    """conv_filter_grad: df (*window, C/g, O); fixed chunks of images give partial sums, which are then added in order."""
    x, dy = e.inputs
    out = e.outputs[0]
    if out.type.size == 0:
        scope.target(out)
        return
    if x.type.size == 0 or dy.type.size == 0:
        _zeros(scope, e)
        return
    wx, wy = _spatial(placed(scope.stored(x), x.type.shape)), _spatial(placed(scope.stored(dy), dy.type.shape))
    images = wx.shape[0]
    # Partial sums of a half type would be rounded to it: there is one sum then.
    whole = scope.unit.target != "cpu" or accumulator(out.type.dtype) != out.type.dtype
    most = 1 if whole else max(1, min(PARTS, FILTER_MEMORY // out.type.size))
    chunks = parts(images, max(x.type.size, dy.type.size), 2 * dy.type.size * math.prod(out.type.shape[:-1]), most)
    attrs = (("accumulate", False), *_attrs(e))
    place = scope.target(out)
    shape = out.type.shape
    if chunks.count == 1:
        wf = _filter(placed(place, shape))
        scope.block.append(Call("conv_filter_grad", (wf.ref(range(len(wf.shape))),), (_all(wx), _all(wy)), (), attrs))
        return
    partial = scope.temporary(out.type.dtype, (chunks.count, *shape), "partial")
    nest = Nest(scope)
    p = nest.loop(chunks.count, stem="p")
    wf = _filter(Window(partial, mul(p, math.prod(shape)), shape, row_major(shape)))
    count = chunks.extent(p)
    operands = tuple(w.ref(range(len(w.shape)), {0: mul(p, chunks.step)}, (count, *w.shape[1:])) for w in (wx, wy))
    nest.do(Call("conv_filter_grad", (wf.ref(range(len(wf.shape))),), operands, (), attrs))
    nest.close()
    sum_partials(scope, partial, place)


# --- one image at a time --------------------------------------------------------------------------


def _images(scope: Scope, e: Equation, kernel: str, flops: int) -> None:
    """`conv` and `conv_input_grad`: a call for each image, or for each block of rows of one where images are few."""
    x, f = e.inputs
    out = e.outputs[0]
    if out.type.size == 0:
        scope.target(out)
        return
    if x.type.size == 0 or f.type.size == 0:
        _zeros(scope, e)
        return
    wx, wf = _spatial(placed(scope.stored(x), x.type.shape)), _filter(placed(scope.stored(f), f.type.shape))
    wy = _spatial(placed(scope.target(out), out.type.shape))
    images, height = wy.shape[0], wy.shape[1]
    wanted = min(TASKS, flops // GRAIN) if scope.unit.target == "cpu" else 1
    if len(wx.shape) == 3 and scope.unit.target == "cpu":
        line = _line(e, kernel, wx, wf, wy, -(-wanted // images))
        if line is not None:
            _blocks(scope, e, kernel, line, (wx, wf, wy))
            return
    blocks = cut(height, min(-(-wanted // images), max(height // 4, 1))) if images < wanted else Cut(height, height)
    nest = Nest(scope)
    n = nest.loop(images, stem="n")
    p = nest.loop(blocks.count, stem="p")
    first = mul(p, blocks.step)
    axes = range(1, len(wy.shape))
    y = wy.ref(axes, {0: n, 1: first}, (blocks.extent(p), *wy.shape[2:]))
    call = Call(kernel, (y,), (wx.ref(range(1, len(wx.shape)), {0: n}), wf.ref(range(len(wf.shape)))), (first,), _attrs(e))
    nest.do(call)
    nest.close()


# --- lines ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Piece:
    """Blocks of a line that are alike: the p-th one has `size` outputs, and meets `length` inputs from `start + p * move` on.

    Seen by itself each is a whole convolution, whose padding is `padding`.
    """

    size: int
    start: int
    length: int
    padding: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line cut into blocks of `step` outputs, which meet inputs `move` further each; `pieces` are (stop, piece): the blocks
    below `stop` that no piece before took."""

    count: int
    step: int
    move: int
    pieces: tuple[tuple[int, _Piece], ...]


def _line(e: Equation, kernel: str, wx: Window, wf: Window, wy: Window, tasks: int) -> _Line | None:
    """How a convolution along one axis is cut into about `tasks` blocks, or more where the line is long; None if it is not.

    Outputs o and inputs i meet where o * strides + k * dilation - low = i * spread; for the gradient they change places. Blocks of a
    length that moves the inputs by a whole number are one convolution, of different parts of the line: those in the middle need
    no padding, and no copies of what is padded.
    """
    attrs: dict[str, Any] = dict(_attrs(e))
    (s,), (p,), (d,) = (attrs[k] for k in ("strides", "lhs_dilation", "rhs_dilation"))
    ((low, _),) = attrs["padding"]
    n, inputs, reach = wy.shape[1], wx.shape[1], (wf.shape[0] - 1) * d
    forward = kernel == "conv"
    up, down, base = (s, p, -low) if forward else (p, s, low - reach)
    tasks = max(tasks, -(-inputs * wx.shape[2] * wx.buffer.dtype.itemsize // LINE_BYTES))
    unit = down // math.gcd(up, down)
    step = -(-n // tasks // unit) * unit if tasks > 1 else n
    if step >= n or step <= 0:
        return None
    move = step * up // down
    found: list[tuple[int, _Piece]] = []
    for b in range(-(-n // step)):
        a, size = b * step, min(step, n - b * step)
        start = max(-(-(a * up + base) // down), 0)
        stop = min(((a + size - 1) * up + base + reach) // down + 1, inputs)
        if stop <= start:
            return None
        lo = low - a * s + start * p if forward else low - start * s + a * p
        long, short = (stop - start, size) if forward else (size, stop - start)
        hi = (short - 1) * s + reach - (long - 1) * p - lo
        piece = _Piece(size, start - b * move, stop - start, (lo, hi))
        if found and found[-1][1] == piece:
            found.pop()
        found.append((b + 1, piece))
    return _Line(-(-n // step), step, move, tuple(found)) if len(found) <= PIECES else None


def _blocks(scope: Scope, e: Equation, kernel: str, line: _Line, windows: tuple[Window, Window, Window]) -> None:
    """A call for each block of each line."""
    wx, wf, wy = windows
    nest = Nest(scope)
    n = nest.loop(wy.shape[0], stem="n")
    p = nest.loop(line.count, stem="p")
    stops = [0, *(stop for stop, _ in line.pieces)]
    for (first, stop), (_, piece) in zip(itertools.pairwise(stops), line.pieces, strict=True):
        above = op("ge", p, Const(first, INDEX)) if first else conjunction()
        below = op("lt", p, Const(stop, INDEX)) if stop < line.count else conjunction()
        y = wy.ref((1, 2), {0: n, 1: mul(p, line.step)}, (piece.size, wy.shape[2]))
        x = wx.ref((1, 2), {0: n, 1: add(mul(p, line.move), piece.start)}, (piece.length, wx.shape[2]))
        attrs = tuple(sorted({**dict(_attrs(e)), "padding": (piece.padding,)}.items()))
        call = Call(kernel, (y,), (x, wf.ref(range(len(wf.shape)))), (Const(0, INDEX),), attrs)
        if len(line.pieces) == 1:
            nest.do(call)
            continue
        nest.branch(conjunction(above, below))
        nest.do(call)
        nest.end()
    nest.close()


# --- operands -------------------------------------------------------------------------------------


def _attrs(e: Equation) -> tuple[tuple[str, object], ...]:
    names = ("strides", "padding", "lhs_dilation", "rhs_dilation", "groups")
    params = dict(e.params)
    if not params["strides"]:  # no spatial axis: seen as one of size 1
        params |= {"strides": (1,), "padding": ((0, 0),), "lhs_dilation": (1,), "rhs_dilation": (1,)}
    found = [(n, tuple(map(tuple, params[n])) if n == "padding" else params[n]) for n in names]
    return tuple(sorted((n, tuple(v) if isinstance(v, (list, tuple)) else v) for n, v in found))


def _spatial(w: Window) -> Window:
    """An image-like window (N, *spatial, C) with at least one spatial axis."""
    if len(w.shape) > 2:
        return w
    return Window(w.buffer, w.offset, (w.shape[0], 1, w.shape[1]), (w.strides[0], w.shape[1], w.strides[1]))


def _filter(w: Window) -> Window:
    """A filter window (*window, C, O) with at least one spatial axis."""
    if len(w.shape) > 2:
        return w
    return Window(w.buffer, w.offset, (1, *w.shape), (w.shape[0] * w.shape[1], *w.strides))


def _all(w: Window) -> Ref:
    return w.ref(range(len(w.shape)))


def _zeros(scope: Scope, e: Equation) -> None:
    """A contraction of nothing."""
    out = e.outputs[0]
    place = scope.target(out)
    nest = Nest(scope)
    at = nest.over(out.type.shape)
    zero: Value = const(0, out.type.dtype)
    nest.store(place, at, zero)
    nest.close()
