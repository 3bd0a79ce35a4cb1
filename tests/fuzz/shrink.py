"""Making a failing program smaller, while it fails in the same way.

A program is cut from the front (what equations gave becomes inputs), from the back (outputs go, and what only they needed), from the
middle (an equation's outputs become inputs), and inside (a call is replaced by its body, a `cond` by a branch, an equation of a body by
ones).  A program that may crash is tried in a process of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import IndexOutOfBoundsError
from fdl.tracer.ir import Atom, Equation, Literal, Program, Type, Variable, map_subprograms, subprograms, substitute
from fdl.tracer.primitive import Call, lookup

from .checks import check
from .failure import Failure
from .programs import Case
from .stochastic import Interpreter
from .transforms import apply, function, recorded
from .values import Array

SECONDS = 40.0


def kind_of(case: Case, only: str = "") -> str:
    """The kind of the case's failure; "" where everything holds."""
    try:
        check(case, only)
    except Failure as failure:
        return failure.kind
    return ""


def crashes(case: Case) -> bool:
    """Whether the process of a check ends in another way than by returning."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            kind_of(case)
        except BaseException:  # whatever it is, it is no crash
            code = 0
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def shrunken(case: Case, kind: str, seconds: float = SECONDS) -> Case:
    """A smaller case that fails in the same way, or the case itself. `kind` may be "crash"."""
    end = time.monotonic() + seconds
    fails: Callable[[Case], bool] = crashes if kind == "crash" else lambda c: kind_of(c, kind) == kind
    if not fails(case):  # the check that finds it is one of those that are made by chance
        return case
    for candidate in _flat(case):
        if fails(candidate):
            case = candidate
            break
    progress = True
    while progress and time.monotonic() < end:
        progress = False
        for cut in (_outputs, _earlier, _prefix, _single, _inline, _bodies, _inputs):
            case, found = _exhausted(case, cut, fails, end)
            progress = progress or found
    return case


def _exhausted(
    case: Case, cut: Callable[[Case], Iterator[Case]], fails: Callable[[Case], bool], end: float
) -> tuple[Case, bool]:  # fmt: skip
    """The case after all reductions of one kind; whether there was any.

    After one that works the next is tried that has not been: going through all again would take the square of the time.
    """
    found, skip = False, 0
    while True:
        for k, candidate in enumerate(cut(case)):
            if k < skip:
                continue
            if time.monotonic() > end:
                return case, found
            if fails(candidate):
                case, found, skip = candidate, True, k
                break
        else:
            return case, found


def _flat(case: Case) -> Iterator[Case]:
    """The program after all of its transforms; the same with fewer transforms."""
    if not case.steps:
        return
    program, inputs = case.program, case.inputs
    try:
        for step in case.steps:
            made = apply(step, function(program), inputs, program.out_types)
            if made is not None:
                program, inputs = recorded(made.f, made.inputs), made.inputs
        yield replace(case, program=program, inputs=tuple(inputs), steps=(), layouts=())
    except Exception:  # a step that cannot be applied is what the failure may be about
        pass
    for i in range(len(case.steps)):
        yield replace(case, steps=case.steps[:i] + case.steps[i + 1 :])


def _outputs(case: Case) -> Iterator[Case]:
    """One output alone."""
    p = case.program
    if len(p.outputs) > 1:
        for a in p.outputs:
            yield _with(case, Program(p.inputs, p.equations, (a,), p.constants, p.values, p.name))


def _earlier(case: Case) -> Iterator[Case]:
    """What one equation gives, as the only output: the first that is wrong is where it begins."""
    p = case.program
    for e in p.equations:
        for v in e.outputs:
            if p.outputs != (v,):
                yield _with(case, Program(p.inputs, p.equations, (v,), p.constants, p.values, p.name))


def _prefix(case: Case) -> Iterator[Case]:
    """What the first equations give, as inputs."""
    env, n = _values(case), len(case.program.equations)
    if env:
        for k in dict.fromkeys((n - 1, n - n // 4, n // 2, n // 4, n // 8)):
            if 0 < k < n:
                yield _cut(case, env, range(k))


def _single(case: Case) -> Iterator[Case]:
    """What one equation gives, as an input; the last equations first, since others go with them."""
    env = _values(case)
    if env:
        for k in reversed(range(len(case.program.equations))):
            yield _cut(case, env, (k,))


def _inline(case: Case) -> Iterator[Case]:
    for k, e in enumerate(case.program.equations):
        yield from (_with(case, _replaced(case.program, k, new)) for new in _inlined(e))


def _bodies(case: Case) -> Iterator[Case]:
    for k, e in enumerate(case.program.equations):
        for params in _simpler_params(e):
            yield _with(case, _replaced(case.program, k, [e.replace(params=params)]))


def _inputs(case: Case) -> Iterator[Case]:
    """Simpler values: only ones, only zeros, or quarters."""
    for i, x in enumerate(case.inputs):
        if x.size == 0 or (x == 1).all() or (x == 0).all():
            continue
        for y in (np.ones_like(x), np.zeros_like(x), _rounded(x)):
            if y.tobytes() != x.tobytes():
                yield replace(case, inputs=(*case.inputs[:i], y, *case.inputs[i + 1 :]))


def _rounded(x: Array) -> Array:
    if not dtypes.is_inexact(x.dtype):
        return x
    with np.errstate(all="ignore"):
        wide = x.astype(np.complex128 if dtypes.is_complex(x.dtype) else np.float64)
        return np.where(np.isfinite(wide), np.round(wide * 4) / 4, wide).astype(x.dtype)


def _values(case: Case) -> dict[Variable, Any]:
    """What each variable holds; nothing where an index is out of bounds."""
    p, inputs = case.program, case.inputs
    env: dict[Variable, Any] = dict(zip((*p.inputs, *p.constants), (*inputs, *p.values), strict=True))
    run = Interpreter(0, np.random.default_rng(0))
    try:
        with np.errstate(all="ignore"):
            for e in p.equations:
                xs = [a.value if isinstance(a, Literal) else env[a] for a in e.inputs]
                env.update(zip(e.outputs, (np.asarray(x) for x in run.equation(e, xs)), strict=True))
    except IndexOutOfBoundsError:
        return {}
    return env


def _with(case: Case, p: Program, extra: dict[Variable, Any] | None = None) -> Case:
    """The case with another program, pruned: equations that nothing needs and inputs that nothing reads go."""
    values = dict(zip((*p.inputs, *p.constants), (*case.inputs, *p.values), strict=False)) | (extra or {})
    needed = {a for a in p.outputs if isinstance(a, Variable)}
    kept: list[Equation] = []
    for e in reversed(p.equations):
        if any(v in needed for v in e.outputs):
            kept.append(e)
            needed.update(a for a in e.inputs if isinstance(a, Variable))
    inputs = tuple(v for v in (*p.inputs, *p.constants, *(extra or {})) if v in needed)
    program = Program(inputs, tuple(reversed(kept)), p.outputs, name=p.name)
    return replace(case, program=program, inputs=tuple(values[v] for v in inputs), layouts=())


def _cut(case: Case, env: dict[Variable, Any], which: Any) -> Case:
    """The case with the outputs of some equations as inputs."""
    p, gone = case.program, set(which)
    extra = {v: np.array(env[v], order="C") for k in gone for v in p.equations[k].outputs}
    equations = tuple(e for k, e in enumerate(p.equations) if k not in gone)
    return _with(case, Program(p.inputs, equations, p.outputs, p.constants, p.values, p.name), extra)


def _replaced(p: Program, k: int, new: list[Equation]) -> Program:
    return Program(p.inputs, (*p.equations[:k], *new, *p.equations[k + 1 :]), p.outputs, p.constants, p.values, p.name)


def _inlined(e: Equation) -> Iterator[list[Equation]]:
    """Equations that give the outputs of `e` without it: the body of a call, a branch of a cond."""
    name, lowering = e.primitive.name, e.primitive.lowering
    bodies: list[tuple[Program, tuple[Atom, ...]]] = []
    if name == "jit":
        bodies.append((e.params["program"], e.inputs))
    elif name == "cond":
        bodies += [(b, e.inputs[1:]) for b in e.params["branches"]]
    elif isinstance(lowering, Call) and not lowering.typed:
        bodies.append((lowering.callee(e.params), tuple(lowering.operands(e.inputs, e.params))))
    for body, args in bodies:
        env: dict[Variable, Atom] = dict(zip(body.inputs, args, strict=True))
        found: list[Equation] = []
        for q in body.equations:
            fresh = tuple(Variable(v.type) for v in q.outputs)
            found.append(q.replace(inputs=substitute(q.inputs, env), outputs=fresh))
            env.update(zip(q.outputs, fresh, strict=True))
        outs = substitute(body.outputs, env)
        copies = [
            Equation((v,), lookup("stop_gradient" if not dtypes.is_inexact(v.type.dtype) else "reshape"), (a,),
                     {} if not dtypes.is_inexact(v.type.dtype) else {"shape": v.type.shape})
            for v, a in zip(e.outputs, outs, strict=True)
        ]  # fmt: skip
        yield [*found, *copies]


def _simpler_params(e: Equation) -> Iterator[dict[str, Any]]:
    """The parameters of `e` with one equation of one of its bodies replaced by ones, or by an input of its type."""
    for body in subprograms(e.params):
        for k, q in enumerate(body.equations):
            made = _neutral(body, q)
            if made is not None:
                smaller = _pruned_body(_replaced(body, k, made))
                yield map_subprograms(e.params, lambda p, body=body, smaller=smaller: smaller if p is body else p)  # type: ignore[misc]


def _neutral(body: Program, q: Equation) -> list[Equation] | None:
    """Ones in place of the outputs of `q`; None where it gives ones already."""
    if q.primitive.name == "broadcast" and isinstance(q.inputs[0], Literal):
        return None
    new = []
    for v in q.outputs:
        one = Literal(np.ones((), v.type.dtype), Type((), v.type.dtype))
        new.append(Equation((v,), lookup("broadcast"), (one,), {"shape": v.type.shape, "axes": ()}))
    return new


def _pruned_body(p: Program) -> Program:
    needed = {a for a in p.outputs if isinstance(a, Variable)}
    kept = []
    for e in reversed(p.equations):
        if any(v in needed for v in e.outputs):
            kept.append(e)
            needed.update(a for a in e.inputs if isinstance(a, Variable))
    return Program(p.inputs, tuple(reversed(kept)), p.outputs, name=p.name)
