"""What must hold of a random program; `check(case)` raises a `Failure` for the first thing that does not."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fdl
from fdl.backends.executable import NativeExecutable, failure, run_callback
from fdl.backends.llvm import runtime
from fdl.backends.llvm.fences import POISON
from fdl.backends.llvm.guards import MemoryFaultError
from fdl.backends.llvm.target import Target, host, named, runnable
from fdl.backends.loops.interpret import run as interpret
from fdl.backends.loops.lower import host_function
from fdl.backends.loops.pipeline import stages
from fdl.tracer import dtypes
from fdl.tracer.array import as_numpy
from fdl.tracer.check import check_program
from fdl.tracer.errors import FdlError, IndexOutOfBoundsError, MissingRuleError
from fdl.tracer.ir import Equation, Program, Type
from fdl.tracer.ops.callback import call_function
from fdl.tracer.parse import parse
from fdl.tracer.passes.complex import real_program
from fdl.tracer.passes.expand import expand
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.primitive import run_program
from fdl.tracer.show import functions

from .choices import Seeded
from .control import everything
from .derivatives import check_derivatives
from .failure import Failure
from .memory import call_guarded
from .programs import Case
from .stochastic import Interpreter, Tolerance
from .transforms import Transformed, apply, function, recorded
from .values import Array, laid_out

THREADS = (1, 2, 4)
UNWRITTEN = (POISON, 0, 0x7B7B7B7B7B7B7B7B)
"""What memory holds before it is written, one for each number of threads: a program that reads it gives different bits."""
SHARES = {"target": 20, "fences": 20, "eager": 30, "loops": 20, "stages": 20, "derivatives": 100, "jit": 70, "donate": 6}
"""In how many of a hundred programs what costs time is done, where it can be done at all."""
ALL = "all"
MOST_WORK = 4e6
"""Elements that all equations of a program together compute; a transform that makes more is left out."""


@dataclass
class Findings:
    """What a program was, and what was done with it: for the coverage report."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    steps: list[str] = field(default_factory=list)
    program: Program | None = None
    unsure: float = 0.0


def check(case: Case, only: str = "") -> Findings:
    """What was found of a program in which everything holds.

    Args:
        only: the kind of `Failure` that is looked for: no other optional check is made, and this one is. ALL makes every check.

    Raises: Failure.
    """
    return _Run(case, only).run()


class _Run:
    def __init__(self, case: Case, only: str) -> None:
        self.case, self.only = case, only
        self.c = Seeded(f"checks {case.seed}")
        self.found = Findings()
        self.wild = case.profile is not None and case.profile.wild

    def wanted(self, share: str, kind: str = "") -> bool:
        """Whether an optional check is to be made."""
        chosen = self.c.chance(SHARES[share])
        return self.only in (ALL, kind or share) if self.only else chosen

    @contextlib.contextmanager
    def during(self, kind: str) -> Iterator[None]:
        """A block in which an unexpected exception is a failure of this kind."""
        try:
            yield
        except Failure:
            raise
        except Exception as error:
            raise Failure(kind, f"{type(error).__name__}: {error}") from error
        self.found.done[kind] += 1

    def run(self) -> Findings:
        case, f = self.case, self.found
        with self.during("text"):
            self.text(case.program)
        program, inputs = case.program, case.inputs
        for step in case.steps:
            with self.during("transform"):
                try:
                    made = apply(step, function(program), inputs, program.out_types)
                except MissingRuleError as error:
                    f.refused[str(error).split(":")[0][:60]] += 1
                    continue
                if made is None:
                    continue
                after = recorded_or_refused(made, f)
                if after is None or work(after) > MOST_WORK:
                    continue
                check_program(after)
            if step.kind != "vjp":
                self.lanes(program, inputs, made, after)
            program, inputs = after, made.inputs
            f.steps.append(step.kind)
        f.program = program
        if f.steps:
            with self.during("text"):
                self.text(program)
        simplified = self.simplify(program, inputs)
        self.native(program, simplified, inputs)
        if self.wanted("derivatives", "forward") or self.only == "reverse":
            which = (program, inputs) if f.steps and self.c.chance(50) else (case.program, case.inputs)
            if not self.wild and work(which[0]) < 1e5:
                with self.during("derivatives"):
                    f.done.update(check_derivatives(*which, self.c.integer(0, 2**31)))
        return f

    # --- programs ---------------------------------------------------------------------------------

    def text(self, p: Program) -> None:
        check_program(p)
        text = str(p)
        again = parse(text, p.values, functions(p))
        if again != p or str(again) != text:
            raise Failure("text", f"parse(str(p)) differs from p:\n{again}")

    def lanes(self, before: Program, inputs: Sequence[Array], made: Transformed, after: Program) -> None:
        """Holds a vmap to what each lane gives by itself, and a jit, checkpoint or jvp to what the function gives."""
        with self.during("lanes"):
            if made.size:
                lanes = []
                for k in range(made.size):
                    one = [x if a is None else np.take(x, k, a) for x, a in zip(made.inputs, made.in_axes, strict=True)]
                    lanes.append(Tolerance(before, one, self.case.seed + k) if not fails(before, one) else None)
                if any(t is None for t in lanes):
                    return
                outs = [np.asarray(x) for x in reference(after, made.inputs)]
                for i, (x, a) in enumerate(zip(outs, made.out_axes, strict=True)):
                    for k, t in enumerate(lanes):
                        assert t is not None
                        self.agree("lanes", t, i, np.take(x, k, a), f"lane {k} of the vmap: ")
                return
            n = len(before.outputs)
            if len(after.outputs) >= n and before.out_types == after.out_types[:n] and not fails(before, inputs):
                t = Tolerance(before, inputs, self.case.seed)
                for i, x in enumerate(reference(after, made.inputs)[:n]):
                    self.agree("lanes", t, i, np.asarray(x), "after the transform: ")

    def agree(self, kind: str, t: Tolerance, i: int, actual: Array, what: str = "") -> None:
        wrong = t.mismatch(i, actual)
        if wrong:
            raise Failure(kind, what + wrong)

    def simplify(self, program: Program, inputs: Sequence[Array]) -> Program:
        with self.during("simplify"):
            expanded = expand(program)
            check_program(expanded)
            simplified = simplify(program)
            check_program(simplified)
            check_program(real_program(simplified))
            if fails(simplified, inputs):
                return simplified
            if fails(program, inputs):  # what fails was not needed
                return simplified
            one, other = (_Dense(0, np.random.default_rng(0)).run(p, inputs) for p in (program, simplified))
            t = None
            for i, (x, y) in enumerate(zip(one, other, strict=True)):
                if same_bits(np.asarray(x), np.asarray(y)):
                    continue
                if not any(e.primitive.name in _PRODUCTS for e in everything(expand(program))):
                    raise Failure("simplify", f"output {i}: {describe(x, y)}")
                # With its operands exchanged, a product sums in another order.
                t = t or Tolerance(program, inputs, self.case.seed)
                self.agree("simplify", t, i, np.asarray(y))
        return simplified

    # --- native code ------------------------------------------------------------------------------

    def native(self, program: Program, simplified: Program, inputs: Sequence[Array]) -> None:
        others = [t for t in runnable() if t != host().name and t != "avx512"]
        foreign = self.c.chance(SHARES["target"]) and bool(others) and self.only != ALL
        target = named(self.c.pick(others)) if foreign else host()
        jitted = fdl.jit(function(program))
        with self.during("compile"):
            if foreign:
                executable, given = NativeExecutable(program, target), [*inputs, *program.values]
            else:
                lowered = jitted.lower(*inputs)
                traced = lowered.traced
                executable, given = (
                    lowered.core.executable(traced),
                    [*traced.inputs(list(inputs)), *map(as_numpy, traced.captured)],
                )
                if executable.program.out_types != tuple(t for t in program.out_types):
                    raise Failure("compile", f"jit gives {executable.program.out_types}, expected {program.out_types}")
        self.found.done[target.name] += 1
        given = [np.array(as_numpy(x), order="C") for x in given]
        outs, error = self.threads(executable, given)
        expected = failing(simplified, inputs)
        if expected or error:
            self.same_error("error", expected, error)
            if not foreign:
                self.same_error("error", expected, failing_call(lambda: jitted(*inputs)))
            self.found.done["error"] += 1
            return
        with self.during("llvm"):
            t = Tolerance(program, inputs, self.case.seed)
            self.found.unsure = t.unsure
            for i, x in enumerate(outs):
                self.agree("llvm", t, i, x, f"{target.name}: ")
        if not foreign and self.wanted("jit"):
            self.call_path(jitted, inputs, outs)
        if self.wanted("donate"):
            self.donation(program, target, inputs, outs)
        if self.wanted("eager") and work(program) < 2e5 and cheap_eagerly(program):
            with self.during("eager"):
                for i, x in enumerate(function(program)(*inputs)):
                    self.agree("eager", t, i, as_numpy(x), "outside jit: ")
        if self.wanted("stages") and work(program) < 1e6:
            with self.during("stages"):
                stages(simplified, checked=True)
        if self.wanted("loops") and work(simplified) < 3000:
            self.loops(executable, given, t)

    def threads(self, executable: NativeExecutable, given: Sequence[Array]) -> tuple[list[Array], str]:
        """The outputs, the same for each number of threads, or the error that is raised."""
        types = executable.program.out_types
        calls = executable.callbacks
        callback = (lambda slot, pointers: run_callback(calls[slot], pointers)) if calls else None
        results: list[tuple[list[Array], str]] = []
        ways = [(executable.native, f"{n} threads", n, fill) for n, fill in zip(THREADS, UNWRITTEN, strict=True)]
        with self.during("memory"):
            if self.wanted("fences", "memory"):
                fenced = NativeExecutable(executable.program, executable.target, guarded=True)
                ways.append((fenced.native, "fenced buffers", THREADS[-1], POISON))
                self.found.done["fences"] += 1
            for native, way, threads, fill in ways:
                try:
                    outs, outcome = call_guarded(native, given, types, threads, fill, callback)
                except MemoryFaultError as fault:
                    raise Failure("memory", f"{way}: {fault}") from None
                except IndexOutOfBoundsError as raised:  # found by an operation that runs on the host
                    results.append(([], str(raised).split("\n")[0]))
                    continue
                results.append((outs, told(executable, outcome)))
        first, error = results[0]
        with self.during("threads"):
            for (outs, other), (_, way, _, _) in zip(results[1:], ways[1:], strict=True):
                if other != error:
                    raise Failure("threads", f"{way}: {other or 'no error'}; on 1 thread: {error or 'none'}")
                for i, (x, y) in enumerate(zip(first, outs, strict=True)):
                    if not error and x.tobytes() != y.tobytes():
                        raise Failure("threads", f"{way}, output {i}: {describe(x, y)}")
        return first, error

    def same_error(self, kind: str, expected: str, actual: str) -> None:
        if expected != actual:
            raise Failure(kind, f"raised {actual or 'nothing'!r}, the reference {expected or 'nothing'!r}")

    def call_path(self, jitted: Any, inputs: Sequence[Array], outs: Sequence[Array]) -> None:
        """A call of the jitted function on arrays in other layouts, and a second one that the call path knows."""
        layouts = (*self.case.layouts, *("dense",) * len(inputs))[: len(inputs)]
        with self.during("jit"):
            for given in (
                [laid_out(x, layout) for x, layout in zip(inputs, layouts, strict=True)],
                [fdl.numpy.asarray(x) for x in inputs],
            ):
                before = [x.tobytes() for x in given if isinstance(x, np.ndarray)]
                for i, (x, y) in enumerate(zip(outs, jitted(*given), strict=True)):
                    if not same_bits(x, as_numpy(y)):
                        raise Failure("jit", f"output {i} of the jitted function: {describe(x, as_numpy(y))}")
                if before != [x.tobytes() for x in given if isinstance(x, np.ndarray)]:
                    raise Failure("jit", "an input was written")

    def donation(self, program: Program, target: Target, inputs: Sequence[Array], outs: Sequence[Array]) -> None:
        """The same program, compiled to write its outputs over some of its inputs."""
        with self.during("donate"):
            donated = self.c.subset(len(inputs)) or range(len(inputs))
            executable = NativeExecutable(program, target, tuple(donated))
            for i, (x, y) in enumerate(zip(outs, executable([*inputs, *program.values], max_threads=1), strict=True)):
                if x.tobytes() != as_numpy(y).tobytes():
                    raise Failure("donate", f"output {i} over inputs {list(donated)}: {describe(x, as_numpy(y))}")

    def loops(self, executable: NativeExecutable, given: Sequence[Array], t: Tolerance) -> None:
        """The interpreter of the loop IR on the very routine that was compiled."""
        with self.during("loops"):
            hosts: list[Callable[..., Sequence[Array]]] = [
                (lambda *xs, e=e: call_function(e.params, list(xs))) if e.primitive.name == "callback" else host_function(e)
                for e in executable.callbacks
            ]
            routine = executable.routine
            arrays = [_parts(x, b) for x, b in zip(given, (*routine.inputs, *routine.consts), strict=True)]
            n = len(routine.inputs)
            flat, fault = interpret(routine, arrays[:n], arrays[n:], hosts)
            if fault is not None:
                raise Failure("loops", f"a check failed: {fault}")
            for i, (x, v) in enumerate(zip(flat, executable.program.out_types, strict=True)):
                whole = np.ascontiguousarray(x).view(v.dtype).reshape(v.shape) if dtypes.is_complex(v.dtype) else x
                self.agree("loops", t, i, whole, "loop IR: ")


_PRODUCTS = {"dot_general", "conv", "conv_input_grad", "conv_filter_grad"}


class _Dense(Interpreter):
    """The reference, on dense arrays throughout: NumPy multiplies a strided array by another order of sums."""

    def equation(self, e: Equation, xs: Sequence[Any]) -> Sequence[Any]:
        return super().equation(e, [np.array(x, order="C") for x in xs])


# --- helpers --------------------------------------------------------------------------------------


def _parts(x: Array, buffer: Any) -> Array:
    """A complex array as the array of pairs that a routine takes."""
    return np.ascontiguousarray(x)[..., None].view(buffer.dtype).reshape(buffer.shape) if x.dtype != buffer.dtype else x


def recorded_or_refused(made: Transformed, f: Findings) -> Program | None:
    """The program of what a transform gave; None where it has no rule for what it meets."""
    try:
        return recorded(made.f, made.inputs)
    except MissingRuleError as error:
        f.refused[str(error).split(":")[0][:60]] += 1
        return None


def reference(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """The outputs by the primitives' definitions."""
    opened = Program((*program.inputs, *program.constants), program.equations, program.outputs, name=program.name)
    with np.errstate(all="ignore"):
        return run_program(opened, [*inputs, *program.values])


def failing(program: Program, inputs: Sequence[Any]) -> str:
    """What the reference raises for an index out of bounds; "" where there is none."""
    return failing_call(lambda: reference(program, inputs)) if may_fail(program) else ""


def fails(program: Program, inputs: Sequence[Any]) -> bool:
    return bool(failing(program, inputs))


def may_fail(program: Program) -> bool:
    return "may_fail" in program.effects


def failing_call(run: Callable[[], Any]) -> str:
    try:
        run()
    except IndexOutOfBoundsError as error:
        return str(error).split("\n")[0]
    except FdlError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def told(executable: NativeExecutable, outcome: Any) -> str:
    """The first line of the error that an outcome stands for; "" for none."""
    if outcome.status == runtime.OK:
        return ""
    return str(failure(executable.compiled.sites, outcome.status, outcome.site, outcome.values)).split("\n")[0]


def work(program: Program) -> float:
    """The number of elements that all equations compute, those of loops as often as they run."""
    total = 0.0
    for e in program.equations:
        inner = sum(work(p) for v in e.params.values() for p in (v if isinstance(v, tuple) else (v,)) if isinstance(p, Program))
        total += inner * max(int(e.params.get("length", 4 if e.primitive.name == "while" else 1)), 1)
        total += sum(v.type.size for v in (*e.outputs, *(a for a in e.inputs)))
    return total


def cheap_eagerly(program: Program) -> bool:
    """Whether few kernels must be compiled to run it without jit."""
    return sum(e.primitive.eager == "compiled" for e in everything(program)) <= 2


def same_bits(x: Array, y: Array) -> bool:
    """Whether two arrays are equal, signs of zeros included; any NaN equals any other."""
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return False
    if x.tobytes() == y.tobytes():
        return True
    if not dtypes.is_inexact(x.dtype):
        return False
    if dtypes.is_complex(x.dtype):
        return same_bits(np.ascontiguousarray(x.real), np.ascontiguousarray(y.real)) and same_bits(
            np.ascontiguousarray(x.imag), np.ascontiguousarray(y.imag)
        )
    a, b = x.astype(np.float64), y.astype(np.float64)
    return bool(np.all(((a == b) & (np.signbit(a) == np.signbit(b))) | ((a != a) & (b != b))))


def describe(x: Any, y: Any) -> str:
    """Where two arrays differ first."""
    x, y = np.asarray(x), np.asarray(y)
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{x.dtype}{x.shape} and {y.dtype}{y.shape}"
    with np.errstate(all="ignore"):
        differ = ~((x == y) | ((x != x) & (y != y)))
    if not differ.any():
        return "the signs of zeros or the bits of NaN differ"
    at = tuple(int(k) for k in np.argwhere(differ)[0])
    return f"{list(at)} is {x[at]!r} and {y[at]!r}; {int(differ.sum())} of {x.size} elements differ"


__all__ = ["Case", "Findings", "Type", "check"]
