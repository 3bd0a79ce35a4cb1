"""The builder of dot_general, as loops around a tile kernel.

A kernel's call works on one thread; the loops around it, over batches and panels of the output, are what runs in parallel.
How an output is cut depends on its shape alone, so that results are the same on any number of threads.  Consumers are fused
into the panel loop later (`fuse`), which is why the cut is by rows wherever there are enough of them.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fdl.backends.loops.ir import INDEX, Call, Const, Ref, Value
from fdl.backends.loops.reductions import accumulator
from fdl.backends.loops.values import add, convert, floordiv, mul, op
from fdl.tracer.ir import Atom, Equation

from .context import Nest, Place, Scope
from .index import ZERO, At, Shape
from .nests import build_stored
from .packing import Around, Operand, is_far, packed_operand
from .panels import ROWS, TASKS, THIN, THIN_DEPTH, Cut, blocks, panels, whole_panels
from .sums import is_kernel
from .windowed import Run, Window, placed, row_major, run_stride, runs, window_of

# --- dot_general ----------------------------------------------------------------------------------


def build_dot(scope: Scope, e: Equation, onto: Place | None = None) -> None:
    """dot_general: one matmul call for each batch and panel, on operands where they lie if their strides allow it.

    With `onto` the product is added to what is there.
    """
    a, b = e.inputs
    contract, batch = e.params["contract"], e.params["batch"]
    free = tuple(
        tuple(i for i in range(x.type.ndim) if i not in c and i not in d)
        for x, c, d in zip((a, b), contract, batch, strict=True)
    )
    out = e.outputs[0]
    if out.type.size == 0:
        scope.target(out)
        return
    if not is_kernel(e):
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
    if scope.unit.target == "cpu" and _is_thin(wa, wb, (ca, cb), free):
        wb = _repacked(scope, b, (*batch[1], *free[1], *cb))
    _dot_calls(scope, e, (wa, wb), (ca, cb), free, onto)


def build_sum(scope: Scope, e: Equation) -> None:
    """An addition of a product, which is accumulated onto the other term; both are stored where that may not be written over."""
    v = e.outputs[0]
    found = scope.uses.sums.made[v]
    place = scope.reusable(found.base, found.product.inputs)
    if place is None and v in scope.wanted and scope.places.get(found.base) == scope.wanted[v]:
        place = scope.wanted[v]
    if place is None or place.shape != v.type.shape:
        build_dot(scope, found.product)
        build_stored(scope, e)
        return
    build_dot(scope, found.product, place)
    scope.places[v] = place


def _awkward(w: Window, contract: Sequence[int]) -> bool:
    """Whether the kernel would read the operand with no axis contiguous."""
    return w.strides.count(1) == 0 and math.prod(w.shape) > 1 and all(n > 1 for n in w.shape[-1:])


def _is_thin(wa: Window, wb: Window, contract: tuple[Sequence[int], Sequence[int]], free: tuple[Shape, ...]) -> bool:
    """Whether B has so few columns that the kernel had better run along the depth, where A is contiguous and B, as it lies, is not."""
    depth = _depth_runs(wa, wb, *contract)
    m, n = (math.prod(w.shape[i] for i in axes) for w, axes in zip((wa, wb), free, strict=True))
    return (
        len(depth) == 1
        and wa.buffer.dtype.kind == "f"
        and wa.buffer.dtype.itemsize >= 4
        and depth[0].first == 1 < depth[0].second
        and depth[0].size >= THIN_DEPTH
        and 1 < n <= THIN
        and m >= ROWS
    )


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
    scope: Scope, e: Equation, operands: tuple[Window, Window], contract: tuple[Sequence[int], Sequence[int]], free: tuple[Shape, ...],
    onto: Place | None,
) -> None:  # fmt: skip
    out = e.outputs[0]
    wa, wb = operands
    wc = placed(onto or scope.target(out), out.type.shape)
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
    around = [
        *(Around(out.type.shape[axis], "b", (wa.strides[i], wb.strides[j], wc.strides[axis]))
          for axis, (i, j) in enumerate(zip(*e.params["batch"], strict=True))),
        *(Around(run.size, "u", (run.first, 0, run.second)) for run in m_rest),
        *(Around(run.size, "v", (0, run.first, run.second)) for run in n_rest),
    ]  # fmt: skip
    tasks = TASKS
    for loop in around:
        tasks = -(-tasks // loop.size)
    if scope.unit.target == "cpu":
        rows, columns = panels(m.size, n.size, scope.uses.sums.depth.get(out, k.size), tasks)
    else:
        rows, columns = Cut(m.size, m.size), Cut(n.size, n.size)
    packed = None
    if n.second == 1 and scope.unit.target == "cpu":
        operand = Operand(wb, n, k, tuple((loop.size, loop.steps[1]) for loop in around if loop.steps[1]))
        packed = packed_operand(scope, operand, rows, wa.buffer)
        if packed is not None:
            *_, width = packed.shape
            rows, columns = blocks(m.size, n.size, width, tasks) if is_far(operand) else (rows, whole_panels(columns, width))
    nest = Nest(scope)
    offsets = [wa.offset, wb.offset, wc.offset]
    copy: Value = ZERO

    def step(i: Value, strides: tuple[int, int, int]) -> None:
        for which, stride in enumerate(strides):
            offsets[which] = add(offsets[which], mul(i, stride))

    for loop in around:
        i = nest.loop(loop.size, stem=loop.stem)
        step(i, loop.steps)
        if loop.steps[1]:
            copy = add(mul(copy, loop.size), i)
    p = nest.loop(rows.count, stem="p")
    step(p, (rows.step * m.first, 0, rows.step * m.second))
    q = nest.loop(columns.count, stem="q")
    step(q, (0, columns.step * n.first, columns.step * n.second))
    size_m, size_n, size_k = rows.extent(p), columns.extent(q), Const(k.size, INDEX)
    c = Ref(wc.buffer, offsets[2], (size_m, size_n), (m.second, n.second))
    left = Ref(wa.buffer, offsets[0], (size_m, size_k), (m.first, k.first))
    right = Ref(wb.buffer, offsets[1], (size_k, size_n), (k.second, n.first))
    if packed is not None:
        (*_, width), strides = packed.shape, packed.strides
        start = add(mul(copy, strides[0]), mul(q, columns.step // width * strides[1]))
        shape = (floordiv(add(size_n, width - 1), width), size_k, Const(width, INDEX))
        right = Ref(packed, start, shape, strides[1:])
    nest.do(Call("matmul", (c,), (left, right), (), (("accumulate", onto is not None),)))
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
