"""Lowering: an array program becomes a routine of the loop IR, equation by equation.

    y = tanh(x + b)          For i in 4: For j in 8:
    out y             →          x1 = x[i, j]; x2 = b[j]; x3 = x1 + x2; x4 = tanh x3; out0[i, j] = x4

Elementwise and view equations are expressions inside the nests of their consumers, where `uses` says so; everything else is a root,
with a builder of its own.  The result is correct and unscheduled: every independent loop is `parallel`, every reduction `serial`.
`fuse` then joins nests and `schedule` chooses what each loop is on the machine.

May be imported by: `backends.loops.pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fdl.backends.loops.build import Names
from fdl.backends.loops.ir import Buffer, Routine, Space
from fdl.tracer import primitive as p
from fdl.tracer.errors import at
from fdl.tracer.ir import Atom, Equation, Program, Variable
from fdl.tracer.passes.expand import expand

from .context import PREPARED, Place, Scope, Unit, native
from .context import LoweringError as LoweringError
from .contract import build_dot, build_sum
from .control import build_callback, build_cond, build_scan, build_while
from .convolve import build_conv, build_conv_filter_grad, build_conv_input_grad
from .copies import build_transpose
from .indexing import build_dynamic_update_slice, build_gather, build_scatter
from .inline import callback_equations as callback_equations
from .inline import host_function as host_function
from .inline import inlined
from .lapack import build_lapack
from .nests import build_concatenate, build_pad, build_reduction, build_stored, unknown
from .order import build_arg_extremum, build_cumulative
from .sorting import build_sort, build_top_k
from .uses import analyse, is_alias, padded_in_pieces
from .windows import build_window_reduce, build_window_scatter, build_window_select

Builder = Callable[[Scope, Equation], None]


def _scan(scope: Scope, e: Equation) -> None:
    build_scan(write_program, scope, e)


def _while(scope: Scope, e: Equation) -> None:
    build_while(write_program, scope, e)


def _cond(scope: Scope, e: Equation) -> None:
    build_cond(write_program, scope, e)


BUILDERS: dict[str, Builder] = {
    "argmax": build_arg_extremum,
    "argmin": build_arg_extremum,
    "callback": build_callback,
    "concatenate": build_concatenate,
    "cond": _cond,
    "conv": build_conv,
    "conv_filter_grad": build_conv_filter_grad,
    "conv_input_grad": build_conv_input_grad,
    "cummax": build_cumulative,
    "cummin": build_cumulative,
    "cumprod": build_cumulative,
    "cumsum": build_cumulative,
    "dot_general": build_dot,
    "dynamic_slice": build_stored,
    "dynamic_update_slice": build_dynamic_update_slice,
    "gather": build_gather,
    "iota": build_stored,
    "random_bits": build_stored,
    "scan": _scan,
    "scatter": build_scatter,
    "sort": build_sort,
    "top_k": build_top_k,
    "transpose": build_transpose,
    "while": _while,
    "window_max": build_window_reduce,
    "window_min": build_window_reduce,
    "window_scatter": build_window_scatter,
    "window_select": build_window_select,
    "window_sum": build_window_reduce,
}
"""Primitive name → what writes its equation. Elementwise, view and reduction primitives need no entry."""


def builder_of(e: Equation) -> Builder:
    """What writes an equation that is not lazy."""
    found = BUILDERS.get(e.primitive.name)
    if found is not None:
        return found
    if padded_in_pieces(e):
        return build_pad
    match e.primitive.lowering:
        case p.Elementwise() | p.View():
            return build_stored
        case p.Reduction():
            return build_reduction
        case p.Named(builder="lapack"):
            return build_lapack
        case p.Named(builder="host"):
            return build_callback
        case _:
            return unknown


def lower(program: Program, target: str = "cpu") -> Routine:
    """The routine that computes `program`.

    Its inputs, consts and outputs are those of the program, in order. Callbacks have the slots that `callback_equations` gives.

    Args:
        target: "cpu" cuts contractions into panels that run in parallel; "cuda" leaves each in one call.

    Raises: LoweringError for a dtype or primitive that compiled code does not have.
    """
    slots = {id(e.params): k for k, e in enumerate(callback_equations(program, target))}
    program = inlined(expand(program))
    inputs = _arguments("in", program.inputs, "input")
    consts = _arguments("const", program.constants, "const")
    outputs = _arguments("out", program.outputs, "output")
    unit = Unit(Names({b.name for b in (*inputs, *consts, *outputs)}), slots=slots, target=target)
    scope = Scope(unit, analyse(program, () if target == "cpu" else None))
    for v, b in zip((*program.inputs, *program.constants), (*inputs, *consts), strict=True):
        scope.places[v] = Place(b)
    write_program(scope, program, [Place(b) for b in outputs])
    return Routine(program.name, inputs, consts, outputs, tuple(scope.block), tuple(unit.sites), unit.notes)


def _arguments(stem: str, atoms: Sequence[Atom], space: Space) -> tuple[Buffer, ...]:
    for k, a in enumerate(atoms):
        try:
            native(a.type, f"{space} {k}")
        except LoweringError as error:
            error.argument = k if space == "input" else None
            raise
    return tuple(Buffer(f"{stem}{k}", a.type.dtype, a.type.shape, space) for k, a in enumerate(atoms))


def write_program(scope: Scope, program: Program, results: Sequence[Place]) -> None:
    """Writes the equations of a program whose inputs are in `scope`, and puts its outputs at `results`."""
    scope.wanted |= _wanted(program, results)
    for v, found in reversed(scope.uses.sums.made.items()):
        if v in scope.wanted and found.base not in scope.places:
            scope.wanted.setdefault(found.base, scope.wanted[v])
    for number, e in enumerate(program.equations):
        scope.equation, scope.position = e, number
        write_equation(scope, e)
    scope.equation, scope.position = None, len(program.equations)
    for a, place in zip(program.outputs, results, strict=True):
        if not (isinstance(a, Variable) and scope.places.get(a) == place):
            if isinstance(a, Variable) and a in scope.lazy and _root(scope.lazy, a) in scope.places:
                if scope.places[_root(scope.lazy, a)] == place:
                    continue
            scope.fill(place, a)


def write_equation(scope: Scope, e: Equation) -> None:
    """Writes one equation, or notes that it is lazy; a LoweringError names its line. 0-d expressions are bound at once: they live in
    registers."""
    try:
        _write(scope, e)
    except LoweringError as error:
        raise error if "\n  at " in str(error) else LoweringError(f"{error}{at(e.source)}") from None


def _write(scope: Scope, e: Equation) -> None:
    v = e.outputs[0] if len(e.outputs) == 1 else None
    if v in scope.uses.sums.deferred:
        return
    if v in scope.uses.sums.made:
        build_sum(scope, e)
        return
    if v is None or v not in scope.uses.lazy:
        builder_of(e)(scope, e)
        return
    native(v.type, f"the result of {e.primitive.name}")
    scope.lazy[v] = e
    if e.primitive.name in PREPARED:
        PREPARED[e.primitive.name](scope, e)
    if v.type.ndim == 0:
        scope.scalars[v] = scope.scalar(v)


def _root(lazy: dict[Variable, Equation], a: Variable) -> Variable:
    """The value that `a` is another name for, reshapes included."""
    while a in lazy and (is_alias(lazy[a]) or lazy[a].primitive.name == "reshape"):
        x = lazy[a].inputs[0]
        if not isinstance(x, Variable):
            break
        a = x
    return a


def _wanted(program: Program, results: Sequence[Place]) -> dict[Variable, Place]:
    """Where each output is to be computed: the first result that it is. What only reshapes a value lets that value be computed there."""
    made = {v: e for e in program.equations for v in e.outputs}
    found: dict[Variable, Place] = {}
    for a, place in zip(program.outputs, results, strict=True):
        if not isinstance(a, Variable) or a not in made or a in found or a.type.ndim == 0:
            continue
        found[a] = place
    return found


__all__ = ["BUILDERS", "LoweringError", "callback_equations", "host_function", "lower", "write_program"]
