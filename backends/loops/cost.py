"""How long statements take, in cycles of one core: a static estimate, from the loop IR alone.

It decides what is worth a thread, a function of its own, or a poll of the stop word.  It need not be right to a factor of
two, and never depends on the machine: the split of the work, and with it every bit of a result, follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from . import ir
from .weights import weight

CYCLES_PER_US = 3000.0
UNKNOWN_EXTENT = 64
UNKNOWN_TRIPS = 1000

_LANES = 8.0
"""What a vector loop is taken to gain."""


def _value(value: ir.Value) -> float:
    total = 0.0
    for v in ir.subvalues(value):
        if type(v) is ir.Op:
            total += weight(v.name).cycles if v.dtype != ir.INDEX else 0.25
        elif type(v) is ir.Load:
            total += 1.0
    return total


def extent(loop: ir.For) -> int:
    """The loop's number of iterations, or a guess."""
    return _number(loop.extent)


def _number(n: ir.Value) -> int:
    """What a size comes to: that of a part, of which the last is smaller, is that of a whole one; others are guessed."""
    match n:
        case ir.Const():
            return int(n.value)
        case ir.Op(name="min"):
            return min((int(a.value) for a in n.args if isinstance(a, ir.Const)), default=UNKNOWN_EXTENT)
        case _:
            return UNKNOWN_EXTENT


def _size(ref: ir.Ref) -> float:
    return math.prod(float(_number(n)) for n in ref.shape)


def call(stmt: ir.Call) -> float:
    """The cycles of a tile kernel: multiply-adds at 16 a cycle, other elements at 4."""
    elements = sum(map(_size, (*stmt.outputs, *stmt.inputs)))
    products = 0.0
    if stmt.kernel == "matmul":
        products = _size(stmt.outputs[0]) * _number(stmt.inputs[0].shape[-1])
    elif stmt.kernel == "conv" or stmt.kernel == "conv_input_grad":
        filters = stmt.inputs[1]
        products = (
            _size(stmt.outputs[0])
            * _size(filters)
            / max(_size(ir.Ref(filters.buffer, filters.offset, filters.shape[-1:], (1,))), 1.0)
        )
    elif stmt.kernel == "conv_filter_grad":
        y = stmt.inputs[1]
        products = _size(stmt.outputs[0]) * _size(y) / max(_size(ir.Ref(y.buffer, y.offset, y.shape[-1:], (1,))), 1.0)
    elif stmt.kernel == "sort":
        about = dict(stmt.attrs).get("about")
        elements = 6.0 * (2.0 * about if isinstance(about, int) else elements)
    elif stmt.kernel == "lapack":
        products = float(dict(stmt.attrs)["flops"]) * 8.0  # type: ignore[arg-type]
    return 20.0 + elements / 4.0 + products / 16.0


def statement(stmt: ir.Stmt, *, vectors: bool = True, memo: dict[int, float] | None = None) -> float:
    """The cycles of one statement, its loops included.

    `memo` (statement identity → cycles) keeps repeated questions about nested statements linear; whoever passes it keeps the
    statements alive.
    """
    if memo is not None and id(stmt) in memo:
        return memo[id(stmt)]

    def inside(block: tuple[ir.Stmt, ...]) -> float:
        return sum(statement(b, vectors=vectors, memo=memo) for b in block)

    total = _cycles(stmt, inside, vectors)
    if memo is not None:
        memo[id(stmt)] = total
    return total


def _cycles(stmt: ir.Stmt, inside: Callable[[tuple[ir.Stmt, ...]], float], vectors: bool) -> float:
    own = sum(map(_value, ir.values_of(stmt)))
    match stmt:
        case ir.For():
            each = own + inside(stmt.body) + 1.0
            return each * extent(stmt) / (_LANES if stmt.kind == "vector" and vectors else 1.0) + 4.0
        case ir.While():
            return UNKNOWN_TRIPS * (own + inside(stmt.prelude) + inside(stmt.body) + 2.0)
        case ir.If():
            return own + max(inside(stmt.then), inside(stmt.orelse)) + 2.0
        case ir.Call():
            return own + call(stmt)
        case ir.Callback():
            return 20.0 * CYCLES_PER_US
        case _:
            return own + 0.5
