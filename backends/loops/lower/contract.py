"""Builders for contractions: dot_general and the convolution family, as loops around tile kernels.

A kernel's call works on one thread; the loops around it, over batches, images and panels of the output, are what runs in parallel.
How an output is cut depends on its shape alone, so that results are the same on any number of threads.  Consumers are fused
into the panel loop later (`fuse`), which is why the cut is by rows wherever there are enough of them.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fdl.backends.loops.ir import BOOL, INDEX, Call, Const, Ref, Value
from fdl.backends.loops.reductions import accumulator
from fdl.backends.loops.values import add, convert, mul, op
from fdl.tracer import dtypes
from fdl.tracer.ir import Atom, Equation

from .context import Nest, Place, Scope
from .index import ZERO, At, Shape
from .nests import sum_partials
from .panels import GRAIN, PARTS, TASKS, Cut, cut, panels, parts
from .windowed import Run, Window, placed, row_major, run_stride, runs, window_of

TINY = 512
"""Multiply-adds up to which a contraction is written as loops, which fuse."""

# --- dot_general ----------------------------------------------------------------------------------


def build_dot(scope: Scope, e: Equation) -> None:
    """dot_general: one matmul call for each batch and panel, on operands where they lie if their strides allow it."""
    a, b = e.inputs
    contract, batch = e.params["contract"], e.params["batch"]
    free = tuple(tuple(i for i in range(x.type.ndim) if i not in c and i not in d) for x, c, d in zip((a, b), contract, batch, strict=True))
    sizes = [math.prod(x.type.shape[i] for i in axes) for x, axes in ((a, free[0]), (b, free[1]), (a, contract[0]))]
    out = e.outputs[0]
    if out.type.size == 0:
        scope.target(out)
        return
    if math.prod(sizes) <= TINY or sizes[2] <= 1 or out.type.dtype == BOOL or out.type.ndim == 0:
        _dot_as_loops(scope, e, free)
        return
    wa, wb = window_of(scope, a), window_of(scope, b)
    order = sorted(range(len(contract[0])), key=lambda i: -wa.strides[contract[0][i]])
    ca, cb = [contract[0][i] for i in order], [contract[1][i] for i in order]
    if len(_depth_runs(wa, wb, ca, cb)) > 1 or _awkward(wa, ca) or _awkward(wb, cb):
        ca, cb = list(contract[0]), list(contract[1])
        if run_stride([wa.shape[i] for i in ca], [wa.strides[i] for i in ca]) is None or _awkward(wa, ca):
            wa = _repacked(scope, a, (*batch[0], *free[0], *ca))
        if run_stride([wb.shape[i] for i in cb], [wb.strides[i] for i in cb]) is None or _awkward(wb, cb):
            wb = _repacked(scope, b, (*batch[1], *cb, *free[1]))
    _dot_calls(scope, e, wa, wb, (ca, cb), free)


def _awkward(w: Window, contract: Sequence[int]) -> bool:
    """Whether the kernel would read the operand with no axis contiguous."""
    return w.strides.count(1) == 0 and math.prod(w.shape) > 1 and all(n > 1 for n in w.shape[-1:])


def _depth_runs(wa: Window, wb: Window, ca: Sequence[int], cb: Sequence[int]) -> list[Run]:
    return runs([wa.shape[i] for i in ca], [wa.strides[i] for i in ca], [wb.strides[i] for i in cb])


def _repacked(scope: Scope, a: Atom, order: tuple[int, ...]) -> Window:
    """A copy of `a` with its axes in `order`, as a window with the axes of `a`."""
    shape = tuple(a.type.shape[i] for i in order)
    place = Place(scope.temporary(a.type.dtype, shape, "packed"))
    nest = Nest(scope)
    at = nest.over(shape)
    source = tuple(at.index[order.index(i)] for i in range(a.type.ndim))
    nest.store(place, at, nest.element(a, At(a.type.shape, source)))
    nest.close()
    strides = row_major(shape)
    return Window(place.buffer, ZERO, a.type.shape, tuple(strides[order.index(i)] for i in range(a.type.ndim)))


def _dot_calls(
    scope: Scope, e: Equation, wa: Window, wb: Window, contract: tuple[Sequence[int], Sequence[int]], free: tuple[Shape, ...]
) -> None:
    out = e.outputs[0]
    wc = placed(scope.target(out), out.type.shape)
    lead = len(e.params["batch"][0])
    m_axes = range(lead, lead + len(free[0]))
    n_axes = range(lead + len(free[0]), out.type.ndim)
    depth = _depth_runs(wa, wb, *contract)
    assert len(depth) <= 1, (depth, e)
    k = depth[0] if depth else Run(1, 1, 1, 0)
    m_runs = runs([wa.shape[i] for i in free[0]], [wa.strides[i] for i in free[0]], [wc.strides[i] for i in m_axes])
    n_runs = runs([wb.shape[i] for i in free[1]], [wb.strides[i] for i in free[1]], [wc.strides[i] for i in n_axes])
    m, m_rest = _largest(m_runs)
    n, n_rest = _largest(n_runs)
    nest = Nest(scope)
    offsets = [wa.offset, wb.offset, wc.offset]

    def step(i: Value, strides: tuple[int, int, int]) -> None:
        for which, stride in enumerate(strides):
            offsets[which] = add(offsets[which], mul(i, stride))

    tasks = TASKS
    for axis, (i, j) in enumerate(zip(*e.params["batch"], strict=True)):
        step(nest.loop(out.type.shape[axis], stem="b"), (wa.strides[i], wb.strides[j], wc.strides[axis]))
        tasks = -(-tasks // out.type.shape[axis])
    for run in m_rest:
        step(nest.loop(run.size, stem="u"), (run.first, 0, run.second))
        tasks = -(-tasks // run.size)
    for run in n_rest:
        step(nest.loop(run.size, stem="v"), (0, run.first, run.second))
        tasks = -(-tasks // run.size)
    rows, columns = panels(m.size, n.size, k.size, tasks) if scope.unit.target == "cpu" else (Cut(m.size, m.size), Cut(n.size, n.size))
    p = nest.loop(rows.count, stem="p")
    step(p, (rows.step * m.first, 0, rows.step * m.second))
    q = nest.loop(columns.count, stem="q")
    step(q, (0, columns.step * n.first, columns.step * n.second))
    size_m, size_n, size_k = rows.extent(p), columns.extent(q), Const(k.size, INDEX)
    c = Ref(wc.buffer, offsets[2], (size_m, size_n), (m.second, n.second))
    left = Ref(wa.buffer, offsets[0], (size_m, size_k), (m.first, k.first))
    right = Ref(wb.buffer, offsets[1], (size_k, size_n), (k.second, n.first))
    nest.do(Call("matmul", (c,), (left, right), (), (("accumulate", False),)))
    nest.close()


def _largest(runs: list[Run]) -> tuple[Run, list[Run]]:
    if not runs:
        return Run(1, 1, 1, 0), []
    best = max(range(len(runs)), key=lambda i: runs[i].size)
    return runs[best], runs[:best] + runs[best + 1 :]


def _dot_as_loops(scope: Scope, e: Equation, free: tuple[Shape, ...]) -> None:
    """A small contraction as a reduction: it fuses with what is around it."""
    a, b = e.inputs
    contract, batch = e.params["contract"], e.params["batch"]
    out = e.outputs[0]
    dtype = accumulator(out.type.dtype)
    place = None if out.type.ndim == 0 else scope.target(out)
    nest = Nest(scope)
    at = nest.over(out.type.shape)
    lead, split = len(batch[0]), len(batch[0]) + len(free[0])
    where_a = dict(zip(batch[0], at.index[:lead], strict=True)) | dict(zip(free[0], at.index[lead:split], strict=True))
    where_b = dict(zip(batch[1], at.index[:lead], strict=True)) | dict(zip(free[1], at.index[split:], strict=True))

    def term(depth: tuple[Value, ...]) -> Value:
        ia, ib = where_a | dict(zip(contract[0], depth, strict=True)), where_b | dict(zip(contract[1], depth, strict=True))
        x = nest.element(a, At(a.type.shape, tuple(ia[i] for i in range(a.type.ndim))))
        y = nest.element(b, At(b.type.shape, tuple(ib[i] for i in range(b.type.ndim))))
        return nest.let(op("mul", convert(x, dtype), convert(y, dtype)))

    total = nest.reduce("add", dtype, [a.type.shape[i] for i in contract[0]], term)
    total = nest.let(convert(total, out.type.dtype))
    if place is None:
        scope.scalars[out] = total
        return
    nest.store(place, at, total)
    nest.close()


# --- convolutions ---------------------------------------------------------------------------------


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


def _zeros(scope: Scope, e: Equation) -> None:
    """A contraction of nothing."""
    nest_place = scope.target(e.outputs[0])
    nest = Nest(scope)
    at = nest.over(e.outputs[0].type.shape)
    nest.store(nest_place, at, Const(0 if dtypes.is_int(e.outputs[0].type.dtype) else 0.0, e.outputs[0].type.dtype))
    nest.close()


def build_conv(scope: Scope, e: Equation) -> None:
    """conv: y (N, *out, O) from x (N, *spatial, C) and f (*window, C/g, O)."""
    f = e.inputs[1].type.shape
    _images(scope, e, "conv", 2 * e.outputs[0].type.size * math.prod(f[:-1]))


def build_conv_input_grad(scope: Scope, e: Equation) -> None:
    """conv_input_grad: dx (N, *in, C) from dy (N, *out, O) and f."""
    f = e.inputs[1].type.shape
    _images(scope, e, "conv_input_grad", 2 * e.inputs[0].type.size * math.prod(f[:-1]))


FILTER_MEMORY = 1 << 22
"""The most elements that the partial filter gradients take together."""


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


def _all(w: Window) -> Ref:
    return w.ref(range(len(w.shape)))
