"""Complex programs as real ones: what a backend without complex numbers compiles.

    program main(a: c64[3]) {                      program main(a: f32[3,2]) {
      b: c64[3] = mul a 0+2j:c64                     b: f32[3] = (the real parts of a)
      c: f32[3] = imag b                       →     c: f32[3] = (the imaginary parts of a)
      return c                                       d: f32[3] = mul b 2.0:f32
    }                                                ...

Inside, a complex value is two arrays, so that vectors hold parts of one kind.  At the borders of the whole program it is one array of
pairs, in the memory that complex arrays have anyway: callers pass and get complex arrays, and nothing is copied for it.

`RULES` has a rule for each primitive that compiled code has; others get their operands in memory, interleaved (`ops.interleaved`).

May be imported by: compilers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...ir import Equation, Literal, Program, evaluate, subprograms
from ...trace import bind, record, sourced
from ..expand import expand
from ..simplify import simplify
from . import arithmetic, exponential, inverse, structure
from .real import Pair, Real, is_finite
from .structure import Rule, flat_types, flatten, formula, interleaved, join, pair, real_formula, split, unflatten


def real_program(program: Program) -> Program:
    """`program` on real arrays, simplified; itself where nothing is complex.

    A complex input, constant or output of shape s has shape (*s, 2): its memory, read as real and imaginary parts in turn.
    """

    def make() -> Program:
        return simplify(_bordered(expand(program))) if is_concerned(program) else program

    return program.cached("real", make)


def is_concerned(program: Program) -> bool:
    """Whether a value of `program` or of its sub-programs is complex."""

    def find() -> bool:
        values = [*program.inputs, *program.constants, *program.outputs]
        values += [x for e in program.equations for x in (*e.inputs, *e.outputs)]
        if any(v.type.dtype.kind == "c" for v in values):
            return True
        return any(is_concerned(p) for e in program.equations for p in subprograms(e.params))

    found: bool = program.cached("is_complex", find)
    return found


def planar(program: Program) -> Program:
    """`program` with two inputs for each complex one, and two outputs."""

    def make() -> Program:
        def f(*args: Any) -> list[Any]:
            return flatten(_run(program, (), unflatten(iter(args), program.in_types)))

        return record(f, flat_types(program.in_types), name=program.name)[0]

    return program.cached("planar", make) if is_concerned(program) else program


def _bordered(program: Program) -> Program:
    n = len(program.constants)
    types = [v.type for v in (*program.constants, *program.inputs)]

    def f(*args: Any) -> list[Any]:
        values = [split(x, t) if dtypes.is_complex(t.dtype) else x for x, t in zip(args, types, strict=True)]
        outs = _run(program, values[:n], values[n:])
        return [join(x) if isinstance(x, Pair) else x for x in outs]

    made, _ = record(f, [interleaved(t) for t in types], name=program.name)
    values = tuple(_interleaved_value(x) for x in program.values)
    return Program(made.inputs[n:], made.equations, made.outputs, made.inputs[:n], values, made.name)


def _interleaved_value(x: Any) -> Any:
    data = np.ascontiguousarray(x)
    return data.view(dtypes.real_of(data.dtype)).reshape(*np.shape(x), 2) if data.dtype.kind == "c" else x


def _run(program: Program, constants: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """The outputs of `program` on pairs and real values."""
    outs = evaluate(program, args, _step, constants)
    return [_value(x) for x in outs]


def _value(x: Any) -> Any:
    """A literal as a constant, or a pair of constants; anything else itself."""
    if not isinstance(x, Literal):
        return x
    return pair(np.array(x.value.real), np.array(x.value.imag), x.type) if dtypes.is_complex(x.type.dtype) else x.value


def _step(e: Equation, inputs: list[Any]) -> Sequence[Any]:
    with sourced(e.source):
        values = [*e.inputs, *e.outputs]
        if not any(v.type.dtype.kind == "c" for v in values) and not any(is_concerned(p) for p in subprograms(e.params)):
            out = bind(e.primitive, *inputs, **e.params)
            return out if e.primitive.multiple else (out,)
        return RULES.get(e.primitive.name, structure.by_memory)(e, [_value(x) for x in inputs])


def _equal(a: Pair, b: Pair) -> Real:
    return a.re.equals(b.re) & a.im.equals(b.im)


def _differ(a: Pair, b: Pair) -> Real:
    return a.re.differs(b.re) | a.im.differs(b.im)


RULES: dict[str, Rule] = {
    "add": formula(arithmetic.add),
    "sub": formula(arithmetic.sub),
    "neg": formula(arithmetic.neg),
    "mul": formula(arithmetic.mul),
    "div": formula(arithmetic.div),
    "sign": formula(arithmetic.sign),
    "sqrt": formula(arithmetic.root),
    "rsqrt": formula(arithmetic.inverse_root),
    "conj": formula(lambda z: (z.re, -z.im)),
    "stop_gradient": formula(lambda z: (z.re, z.im)),
    "exp": formula(exponential.exponential),
    "expm1": formula(exponential.exponential_minus_1),
    "log": formula(exponential.logarithm),
    "log1p": formula(exponential.logarithm_of_1_plus),
    "logistic": formula(exponential.logistic),
    "pow": formula(exponential.power),
    "sin": formula(exponential.sine),
    "cos": formula(exponential.cosine),
    "tan": formula(exponential.tangent),
    "sinh": formula(exponential.hyperbolic_sine),
    "cosh": formula(exponential.hyperbolic_cosine),
    "tanh": formula(exponential.hyperbolic_tangent),
    "asin": formula(inverse.arc_sine),
    "acos": formula(inverse.arc_cosine),
    "atan": formula(inverse.arc_tangent),
    "asinh": formula(inverse.arc_hyperbolic_sine),
    "acosh": formula(inverse.arc_hyperbolic_cosine),
    "atanh": formula(inverse.arc_hyperbolic_tangent),
    "real": real_formula(lambda z: z.re),
    "imag": real_formula(lambda z: z.im),
    "abs": real_formula(arithmetic.modulus),
    "eq": real_formula(_equal),
    "ne": real_formula(_differ),
    "is_finite": real_formula(lambda z: is_finite(z.re) & is_finite(z.im)),
    "complex": structure.complex_of_parts,
    "convert": structure.convert,
    "select": structure.select,
    "iota": structure.iota,
    "gather": structure.gather,
    "sort": structure.sort,
    "barrier": structure.barrier,
    "callback": structure.call_back,
    "dot_general": structure.bilinear,
    "conv": structure.bilinear,
    "conv_input_grad": structure.bilinear,
    "conv_filter_grad": structure.bilinear,
    "reduce_prod": structure.product,
    "cumprod": structure.cumulative_product,
    **dict.fromkeys(
        "broadcast reshape transpose flip slice pad concatenate dynamic_slice dynamic_update_slice reduce_sum cumsum window_sum".split(),
        structure.by_parts,
    ),
    **structure.control(planar),
}
"""Primitive name → what becomes of its equation where a value is complex. `scatter` has one where it only adds or stores."""


def _scatter(e: Equation, inputs: list[Any]) -> Sequence[Any]:
    return (structure.by_parts if e.params["op"] in ("set", "add") else structure.by_memory)(e, inputs)


RULES["scatter"] = _scatter
