"""What becomes of each variable of a program: computed where it is used, or stored in a buffer.

`analyse` walks a program once, backwards for the uses and forwards for the decision.  An elementwise or view equation is *lazy*
(an expression, written into the nests that use it) when one equation uses it, or when it is cheap enough to be computed twice; never
when a consumer needs it in memory (a contraction, a sort, a loop's operand) or would compute it over and over (a broadcast).

May be imported by: the builders of this package.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field

from fdl.tracer import primitive as p
from fdl.tracer.ir import Atom, Equation, Literal, Program, Variable
from fdl.tracer.records import dataclass

from ..weights import weight
from .sums import Sums, sums

CHEAP = 5
"""The cost up to which an expression of one load is computed again by each of its consumers."""
DEEP = 60
"""The longest chain of lazy equations (they are written recursively)."""
LARGE = 400
"""The largest cost of a lazy expression: what is above it goes to memory, so that kernels stay of bounded size."""

SPREAD = 8
"""Indices side by side from which on the elements that they name are read in that order."""

_ELEMENTS = frozenset(
    "concatenate argmax argmin cumsum cumprod cummax cummin window_sum window_max window_min window_select window_scatter sort top_k "
    "gather scatter dynamic_update_slice".split()
)
"""Named builders that read their operands element by element, so that these may be lazy."""

_REPEATED = frozenset({"window_max", "window_min", "window_sum", "window_select", "window_scatter"})
"""Builders that read an element several times."""


def cost_of(e: Equation) -> int:
    """The cost of one element of an elementwise or view equation, in additions."""
    return weight(e.primitive.name).again


def is_alias(e: Equation) -> bool:
    """Whether the output is the input itself."""
    low = e.primitive.lowering
    return isinstance(low, p.Elementwise) and low.op == "copy"


def is_expression(e: Equation) -> bool:
    """Whether the equation's output can be written as an expression of an index."""
    low = e.primitive.lowering
    if isinstance(low, p.Elementwise):
        return True
    if isinstance(low, p.View):
        return not padded_in_pieces(e)
    return e.primitive.name in ("iota", "random_bits", "dynamic_slice")


def padded_in_pieces(e: Equation) -> bool:
    """Whether a pad is written as a copy and borders.

    As an expression it selects at each element; along the innermost axis that costs a gather, and where elements go in between, too.
    """
    if e.primitive.name != "pad" or e.outputs[0].type.size < 64:
        return False
    config = e.params["config"]
    if any(inner for _, _, inner in config):
        return False
    return any(lo > 0 or hi > 0 for lo, hi, _ in config[-1:]) and e.outputs[0].type.ndim > 0


def is_stridable(e: Equation) -> bool:
    """Whether the output is, or may be, a strided window of the input's buffer."""
    return e.primitive.name in ("transpose", "reshape", "slice") or is_alias(e)


def is_numbering(e: Equation) -> bool:
    """Whether the equation numbers the steps of a scan that goes over its output."""
    return e.primitive.name == "iota" and e.outputs[0].type.ndim == 1


def is_gone_over(e: Equation, k: int) -> bool:
    """Whether operand `k` is what a scan goes over, step by step."""
    return e.primitive.name == "scan" and k >= int(e.params["n_consts"] + e.params["n_carry"])


def is_index_tuple(e: Equation, consumers: Mapping[Variable, Sequence[tuple[Equation, int]]]) -> bool:
    """Whether the equation puts the columns of index tuples together, which only a gather or a scatter reads, column by column."""
    v = e.outputs[0]
    if e.primitive.name != "concatenate" or e.params["axis"] != v.type.ndim - 1:
        return False
    return all(k == 1 and c.primitive.name in ("gather", "scatter") for c, k in consumers.get(v, ()))


def is_spread(e: Equation, consumers: Mapping[Variable, Sequence[tuple[Equation, int]]]) -> bool:
    """Whether the equation is a gather whose elements are read where a transpose of it wants them: `x[:, i]` and `x[:, i, :]`.

    Index after index would go through all of the operand and of the result each time. Where the transpose makes another axis of the
    operand the last one, rows are gathered first, whole lines of memory, and then turned.
    """
    if e.primitive.name != "gather" or e.params["mode"] not in ("raise", "clip"):
        return False
    v = e.outputs[0]
    read_by = consumers.get(v, ())
    if len(read_by) != 1 or v.type.size == 0:
        return False
    x, consumer, batch = e.inputs[0], read_by[0][0], e.inputs[1].type.ndim - 1
    if consumer.primitive.name != "transpose":
        return False
    last: int = consumer.params["permutation"][-1]
    if x.type.ndim - 1 in e.params["axes"]:
        return last < batch and v.type.shape[last] >= SPREAD
    return last == v.type.ndim - 1


def reads_elements(e: Equation) -> bool:
    """Whether the equation reads its operands element by element (else it needs them in buffers)."""
    return (
        is_expression(e)
        or isinstance(e.primitive.lowering, p.Reduction)
        or e.primitive.name in _ELEMENTS
        or e.primitive.name == "pad"
    )


def repeats(e: Equation, k: int) -> bool:
    """Whether the equation reads an element of operand `k` more than once."""
    operand = e.inputs[k].type
    if e.primitive.name in _REPEATED:
        size: int = math.prod(e.params["window"])
        return size > 1
    if e.primitive.name in ("argmax", "argmin"):
        return True
    if e.primitive.name == "gather":
        return k == 0 and e.outputs[0].type.size > operand.size
    if e.primitive.name in ("scatter", "dynamic_update_slice"):
        return False
    return operand.size > 0 and e.primitive.name == "broadcast" and e.outputs[0].type.size > operand.size and operand.ndim > 0


@dataclass(slots=True)
class Uses:
    """The decisions for one program."""

    lazy: set[Variable] = field(default_factory=set)
    """Variables that are expressions."""
    last: dict[Variable, int] = field(default_factory=dict)
    """The number of the last equation that may read a variable's memory, through lazy variables too."""
    outputs: set[Variable] = field(default_factory=set)
    sums: Sums = field(default_factory=Sums)


def analyse(program: Program, owned: Collection[Variable] | None = ()) -> Uses:
    """Which variables of `program` are lazy, and until when each is needed.

    Args:
        owned: the inputs that may be written over once they are dead; None where products are not to be accumulated at all.
    """
    uses = Uses(outputs={a for a in program.outputs if isinstance(a, Variable)})
    consumers: dict[Variable, list[tuple[Equation, int]]] = {}
    for e in program.equations:
        for k, a in enumerate(e.inputs):
            if isinstance(a, Variable):
                consumers.setdefault(a, []).append((e, k))
    in_buffer = _needed_in_buffers(program, consumers) | uses.outputs
    if owned is not None:
        uses.sums = sums(program, consumers, owned)
    measure: dict[Variable, tuple[int, int, int]] = {}
    positions: set[Variable] = set()  # integers and bools that follow from where an element is: mostly they are indices, and vanish
    for e in program.equations:
        if len(e.outputs) != 1 or e.outputs[0] in uses.sums.made:
            continue
        if not (is_expression(e) or is_index_tuple(e, consumers) or is_spread(e, consumers)):
            continue
        v = e.outputs[0]
        cost, loads, depth = _measure(e, measure)
        read_by = consumers.get(v, [])
        if v.type.dtype.kind in "iub" and all(isinstance(a, Literal) or a in positions for a in e.inputs):
            positions.add(v)
        cheap = (cost <= CHEAP and loads <= 1) or v in positions or is_index_tuple(e, consumers)
        lone = len({id(c) for c, _ in read_by}) <= 1 and not any(repeats(c, k) for c, k in read_by)
        if v.type.ndim == 0 or is_alias(e) or (v not in in_buffer and (cheap or lone) and depth < DEEP and cost < LARGE):
            uses.lazy.add(v)
            measure[v] = cost, loads, depth
    _last_reads(program, uses)
    return uses


def _needed_in_buffers(program: Program, consumers: dict[Variable, list[tuple[Equation, int]]]) -> set[Variable]:
    """Variables that a consumer takes as memory, directly or through a view that is a strided window."""
    needed: set[Variable] = set()
    for e in reversed(program.equations):
        for v in e.outputs:
            for c, k in consumers.get(v, ()):
                through = is_stridable(c) and c.outputs[0] in needed and not is_spread(e, consumers)
                if through or not (reads_elements(c) or (is_numbering(e) and is_gone_over(c, k))):
                    needed.add(v)
    # A strided window needs no memory of its own.
    spread = {v for e in program.equations for v in e.outputs if is_spread(e, consumers)}
    for e in program.equations:
        if is_stridable(e) and e.primitive.name != "slice" and e.outputs[0] in needed and e.inputs[0] not in spread:
            readers = consumers.get(e.outputs[0], ())
            if all(c.primitive.name == "dot_general" or reads_elements(c) for c, _ in readers):
                needed.discard(e.outputs[0])
    return needed


def _measure(e: Equation, known: dict[Variable, tuple[int, int, int]]) -> tuple[int, int, int]:
    """(cost, loads, depth) of an expression that would be written out in full."""
    cost, loads, depth = cost_of(e) * (e.outputs[0].type.ndim > 0), 0, 0
    for a in dict.fromkeys(e.inputs):
        if not isinstance(a, Variable) or a.type.ndim == 0:
            continue
        c, n, d = known.get(a, (0, 1, 0))
        cost, loads, depth = cost + c, loads + n, max(depth, d)
    return cost, loads, depth + 1


def _last_reads(program: Program, uses: Uses) -> None:
    end = len(program.equations)
    last = uses.last
    for a in program.outputs:
        if isinstance(a, Variable):
            last[a] = end
    for number in range(end - 1, -1, -1):
        e = program.equations[number]
        # A view may be materialised, or taken as a window, as late as its own last use.
        through = max((last.get(v, number) for v in e.outputs if v in uses.lazy and v.type.ndim > 0), default=number)
        if e.outputs and e.outputs[0] in uses.sums.deferred:
            through = uses.sums.deferred[e.outputs[0]].number
        for a in e.inputs:
            if isinstance(a, Variable):
                last[a] = max(last.get(a, -1), through)


def operands(e: Equation) -> list[Atom]:
    """The distinct operands of an equation."""
    return list(dict.fromkeys(e.inputs))
