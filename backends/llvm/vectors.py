"""Vector loops: full vectors first, then one masked vector, or a scalar loop, for what is left over.

A carry becomes one partial result for each lane, combined at the end by a fixed tree; its initial value comes in last.
"""

from __future__ import annotations

from collections.abc import Callable

from fdl.backends.loops import ir
from fdl.tracer.records import dataclass

from . import flow, scalars
from .flow import Writer
from .text import branch, iota, register_type, vec
from .values import Reg, State, Vector, combine, fold, identity, integer, known, value, widen
from .vectorise import Plan


def vector_for(s: State, loop: ir.For, plan: Plan, write: Writer) -> list[Reg]:
    """Writes a vector loop; returns its carries' results. `write` writes the body's statements."""
    return _Loop(s, loop, plan, write).emit()


@dataclass(frozen=True, slots=True)
class _Loop:
    """One vector loop being written."""

    s: State
    loop: ir.For
    plan: Plan
    write: Writer

    def emit(self) -> list[Reg]:
        """Full vectors first, then one masked vector, or a scalar self.loop, for what is left over."""
        extent = value(self.s, self.loop.extent)
        n = known(extent)
        inits = [value(self.s, c.init) for c in self.loop.carries]
        totals = self._static(n) if n is not None else self._dynamic(extent.text)
        results = []
        for c, init, total in zip(self.loop.carries, inits, totals, strict=True):
            if total is None:
                results.append(init)
                continue
            assert c.combine is not None
            results.append(Reg(combine(self.s.code, c.combine, c.var.dtype, init.text, total, 1)))
        return results

    def _identities(self, lanes: int) -> list[str]:
        return [scalars.constant(identity(c.combine or "", c.var.dtype), c.var.dtype, lanes) for c in self.loop.carries]

    def _folded(self, parts: list[str], lanes: int, to: int) -> list[str]:
        pairs = zip(self.loop.carries, parts, strict=True)
        return [fold(self.s.code, c.combine or "", c.var.dtype, p, lanes, to) for c, p in pairs]

    def _static(self, n: int) -> list[str] | list[None]:
        """The carries' partial results over n iterations; None where there is no iteration."""
        if n <= 0:
            return [None] * len(self.loop.carries)
        if n == 1:
            return self._scalar_rest("0", "1", True, self._identities(1))
        lanes = self.plan.lanes
        while lanes > self.plan.smallest and lanes // 2 >= n:
            lanes //= 2
        main = n - n % lanes
        parts, width = self._identities(lanes), lanes
        if main:
            parts = self._full_vectors(lanes, str(main), main == lanes, str(n), parts)
        rest = n - main
        while rest:
            if not self.plan.masked:
                while width > rest:
                    width //= 2
                if width < self.plan.smallest:
                    break
                parts = self._folded(parts, lanes, width)
                parts = self._one_vector(width, None, integer(n - rest), str(n), parts)
                lanes, rest = width, rest - width
                continue
            while width // 2 >= max(rest, self.plan.smallest):
                width //= 2
            parts = self._folded(parts, lanes, width)
            mask = None if rest == width else _first(rest, width)
            parts = self._one_vector(width, mask, integer(main), str(n), parts)
            lanes, rest = width, 0
        parts = self._folded(parts, lanes, 1)
        return self._scalar_rest(str(n - rest), str(n), rest == 1, parts) if rest else parts

    def _dynamic(self, n: str) -> list[str]:
        """As `_static` for an extent known at run time."""
        code, lanes = self.s.code, self.plan.lanes
        parts = self._identities(lanes)
        main = code.pure(f"and i64 {n}, {-lanes}", n)

        def full() -> list[str]:
            return self._full_vectors(lanes, main, False, n, parts)

        def masked() -> list[str]:
            left = code.pure(f"sub i64 {n}, {main}", n, main)
            bound = code.splat("i32", code.pure(f"trunc i64 {left} to i32", left), lanes)
            mask = code.pure(f"icmp ult {vec('i32', lanes)} {iota('i32', lanes)}, {bound}", bound)
            return self._one_vector(lanes, mask, Reg(main, align=lanes, nonnegative=True), n, parts)

        parts = self._when(code.pure(f"icmp sgt i64 {n}, {lanes - 1}", n), parts, lanes, full)
        left_over = code.pure(f"icmp slt i64 {main}, {n}", main, n)
        if self.plan.masked:
            parts = self._when(left_over, parts, lanes, masked)
            return self._folded(parts, lanes, 1)
        parts = self._folded(parts, lanes, 1)
        return self._when(left_over, parts, 1, lambda: self._scalar_rest(main, n, False, parts))

    def _when(self, condition: str, parts: list[str], lanes: int, body: Callable[[], list[str]]) -> list[str]:
        """`body()`'s partial results where the condition holds, else `parts`."""
        code = self.s.code
        run, done = code.label("run"), code.label("done")
        before = code.block
        with code.scope(branch(condition, run, done), barrier=True):
            code.start(run)
            results = body()
            after = code.block
            code.go(done)
        code.start(done)
        kinds = [vec(register_type(c.var.dtype), lanes) for c in self.loop.carries]
        pairs = zip(kinds, parts, results, strict=True)
        return [code.emit(f"phi {kind} [ {old}, %{before} ], [ {new}, %{after} ]") for kind, old, new in pairs]

    def _full_vectors(self, lanes: int, end: str, once: bool, total: str, parts: list[str]) -> list[str]:
        """All lanes, no mask: iterations 0, lanes, 2 lanes, ... below `end`."""
        if once:
            return self._one_vector(lanes, None, integer(0), total, parts)

        def body(i: str, regs: list[Reg]) -> list[Reg]:
            base = Reg(i, align=lanes, nonnegative=True)
            return [Reg(p, lanes) for p in self._one_vector(lanes, None, base, total, [r.text for r in regs])]

        kinds = [register_type(c.var.dtype) for c in self.loop.carries]
        inits = [Reg(p, lanes) for p in parts]
        return [r.text for r in flow.raw_loop(self.s, "0", end, lanes, kinds, inits, flow.stored_buffers(self.loop.body), body)]

    def _one_vector(self, lanes: int, mask: str | None, base: Reg, total: str, parts: list[str]) -> list[str]:
        """The body once, on `lanes` iterations from `base`; the carries' new partial results."""
        code = self.s.code
        self.s.vector = Vector(lanes, mask, self.plan.varying, len(self.s.iteration))
        self.s.env[self.loop.var.name] = base._replace(step=1)
        for c, part in zip(self.loop.carries, parts, strict=True):
            self.s.env[c.var.name] = Reg(part, lanes)
        self.s.iteration.append((base.text, total))
        self.write(self.s, self.loop.body)
        self.s.iteration.pop()
        results = []
        for c, part in zip(self.loop.carries, parts, strict=True):
            new = widen(self.s, value(self.s, c.next), c.var.dtype)
            if mask is not None:
                kind = vec(register_type(c.var.dtype), lanes)
                new = code.pure(f"select {vec('i1', lanes)} {mask}, {kind} {new}, {kind} {part}", mask, new, part)
            results.append(new)
        self.s.vector = None
        return results

    def _scalar_rest(self, first: str, n: str, once: bool, parts: list[str]) -> list[str]:
        """The last iterations one by one, on targets without masked loads."""
        inits = [Reg(p) for p in parts]
        if not once:
            return [r.text for r in flow.counted(self.s, self.loop, first, n, n, inits, self.write)]
        self.s.env[self.loop.var.name] = Reg(first, nonnegative=True)
        for c, reg in zip(self.loop.carries, inits, strict=True):
            self.s.env[c.var.name] = reg
        self.s.iteration.append((first, n))
        self.write(self.s, self.loop.body)
        self.s.iteration.pop()
        return [value(self.s, c.next).text for c in self.loop.carries]


def _first(count: int, lanes: int) -> str:
    """The constant mask of the first `count` lanes, in full: LLVM crashes on masks that are bitcasts of integers."""
    return "<" + ", ".join("i1 true" if i < count else "i1 false" for i in range(lanes)) + ">"
