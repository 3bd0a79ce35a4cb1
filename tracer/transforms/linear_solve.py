"""`custom_linear_solve`: x with A x = b, by a function of the user's, differentiated implicitly.

From A x = b follows A dx = db - dA x, so that the derivative is another solve, which is linear in b; its transpose solves with
Aᵀ.  How the solution was found is never differentiated.

    x: f32[8] = custom_linear_solve[counts=(1, 1, 1, 1), matvec=program ..., solve=program ..., transpose_solve=program ...,
        vecmat=program ...] A A A A b

Each program takes its own constants, then a vector; `counts` are the numbers of the constants of `matvec`, `vecmat`, `solve`
and `transpose_solve`, which are the first inputs, in that order.  `solve` and `transpose_solve` may return more than x:
auxiliary outputs, which have no derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import MissingRuleError, at, user_source
from ..ir import Program, Type, type_of
from ..ops.elementwise import move_axis, sub
from ..primitive import Call, Primitive, Undefined, Zero, run_program
from ..trace import bind
from .call import check_operands
from .jvp import instantiate, jvp_program, program_function
from .vmap import batch_program, with_batch_axis

Counts = tuple[int, int, int, int]
_NAMES = ("matvec", "vecmat", "solve", "transpose_solve")


def _parts(values: Sequence[Any], counts: Counts) -> tuple[list[list[Any]], list[Any]]:
    """The constants of each program, and the vector."""
    groups, start = [], 0
    for n in counts:
        groups.append(list(values[start : start + n]))
        start += n
    return groups, list(values[start:])


def _abstract(
    *types: Type, matvec: Program, vecmat: Program | None, solve: Program, transpose_solve: Program | None, counts: Counts
) -> tuple[Type, ...]:
    groups, b = _parts(types, counts)
    for name, program, consts in zip(_NAMES, (matvec, vecmat, solve, transpose_solve), groups, strict=True):
        if program is not None:
            check_operands(f"custom_linear_solve ({name})", program, [*consts, *b])
    return solve.out_types


def _reference(*xs: Any, solve: Program, counts: Counts, **params: Any) -> tuple[Any, ...]:
    groups, b = _parts(xs, counts)
    return tuple(run_program(solve, [*groups[2], *b]))


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, matvec: Program, counts: Counts, **params: Any
) -> tuple[list[Any], list[Any]]:
    params = {"matvec": matvec, "counts": counts, **params}
    outs = bind(linear_solve_p, *primals, **params)
    groups, b = _parts(primals, counts)
    dots, b_dot = _parts(tangents, counts)
    k = len(b)
    moving = tuple(not isinstance(t, Zero) for t in dots[0])
    right = [None if isinstance(t, Zero) else t for t in b_dot]
    if any(moving):
        pushed, out_moving = jvp_program(matvec, (*moving, *(False,) * k))
        given = [t for t in dots[0] if not isinstance(t, Zero)]
        found = program_function(pushed)(*groups[0], *outs[:k], *given)
        rest = iter(found[k:])
        for i, m in enumerate(out_moving):
            if m:
                turned = next(rest)
                right[i] = sub(instantiate(b_dot[i]), turned)
    aux = [Zero(type_of(x)) for x in outs[k:]]
    if all(r is None for r in right):
        return outs, [*(Zero(type_of(x)) for x in outs[:k]), *aux]
    right = [instantiate(Zero(type_of(x))) if r is None else r for r, x in zip(right, b, strict=True)]
    consts = [c for group in groups for c in group]
    return outs, [*bind(linear_solve_p, *consts, *right, **params)[:k], *aux]


def _transpose(
    cts: Sequence[Any], *inputs: Any, matvec: Program, vecmat: Program | None, solve: Program, transpose_solve: Program | None,
    counts: Counts,
) -> list[Any]:  # fmt: skip
    groups, b = _parts(inputs, counts)
    if any(isinstance(x, Undefined) for group in groups for x in group):
        raise MissingRuleError(
            "custom_linear_solve is linear in b alone. Differentiate the function that calls it, with fdl.vjp."
        )
    if vecmat is None or transpose_solve is None:
        raise MissingRuleError(
            "custom_linear_solve: reverse mode needs a solve with the transposed matrix: pass transpose_solve=, or symmetric=True "
            f"where matvec is symmetric.{at(user_source())}"
        )
    # `vecmat` stands in for `matvec`, and has its constants.
    order = (1, 0, 3, 2)
    consts = [c for i in order for c in groups[i]]
    new = {
        "matvec": vecmat, "vecmat": matvec, "solve": transpose_solve, "transpose_solve": solve,
        "counts": tuple(counts[i] for i in order),
    }  # fmt: skip
    right = [instantiate(c) for c in cts[: len(b)]]
    found = bind(linear_solve_p, *consts, *right, **new)
    given = [x if isinstance(u, Undefined) else None for x, u in zip(found, b, strict=False)]
    return [*[None] * (len(inputs) - len(b)), *given]


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, matvec: Program, vecmat: Program | None, solve: Program,
    transpose_solve: Program | None, counts: Counts,
) -> tuple[list[Any], list[int]]:  # fmt: skip
    flags, _ = _parts([a is not None for a in axes], counts)
    n = len(inputs) - sum(counts)
    programs: dict[str, Program | None] = {}
    for name, program, consts in zip(_NAMES, (matvec, vecmat, solve, transpose_solve), flags, strict=True):
        whole = None if program is None else (True,) * len(program.outputs)
        programs[name] = None if program is None else batch_program(program, size, (*consts, *(True,) * n), whole)[0]
    k = sum(counts)
    args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs[:k], axes[:k], strict=True)]
    args += [with_batch_axis(x, a, size) for x, a in zip(inputs[k:], axes[k:], strict=True)]
    outs = bind(linear_solve_p, *args, counts=counts, **programs)
    return outs, [0] * len(outs)


def _solve(params: dict[str, Any]) -> Program:
    program: Program = params["solve"]
    return program


def _operands(inputs: Sequence[Any], params: dict[str, Any]) -> Sequence[Any]:
    groups, b = _parts(inputs, params["counts"])
    return [*groups[2], *b]


linear_solve_p = Primitive(
    "custom_linear_solve",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lowering=Call(_solve, _operands),
    multiple=True,
    eager="compiled",
)
