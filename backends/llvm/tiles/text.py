"""Writing one LLVM function as text: fresh names, blocks, counted loops with carried values.

Tile kernels are generated as SSA text and compiled without IR passes, so what is written here is what runs: nothing
is hoisted, promoted to registers or vectorised later.  Hence loops carry their state in phis, and callers
compute invariants outside the loop.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field

from fdl.tracer.records import dataclass


@dataclass(slots=True)
class Loop:
    """A loop being written: `index` and `values` inside the body; the body sets `next`; `results` are valid after it."""

    index: str
    values: list[str]
    next: list[str] = field(default_factory=list)

    @property
    def results(self) -> list[str]:
        """The carried values after the loop (the phis of its header dominate the exit)."""
        return self.values


class Code:
    """The text of one function `void name(params)`, written from top to bottom.

    Example:
        >>> code = Code("zero", [("ptr", "p"), ("i64", "n")])
        >>> with code.loop("%n") as loop:
        ...     code.store("float", "0.0", code.at("float", "%p", loop.index))
        >>> code.text().splitlines()[0]
        'define internal void @zero(ptr %p, i64 %n) nounwind {'
    """

    def __init__(
        self,
        name: str,
        params: Sequence[tuple[str, str]],
        *,
        linkage: str = "internal",
        attributes: str = "nounwind",
    ) -> None:
        self.name = name
        self._head = f"define {linkage} void @{name}({', '.join(f'{t} %{p}' for t, p in params)}) {attributes}".rstrip() + " {"
        self._lines: list[str] = []
        self._count = 0
        self.block = "entry"
        self.declares: set[str] = set()

    # --- plain instructions -----------------------------------------------------------------------

    def fresh(self, stem: str = "t") -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def emit(self, line: str) -> None:
        self._lines.append(f"  {line}")

    def let(self, instruction: str) -> str:
        """The fresh name that `instruction` is bound to."""
        name = f"%{self.fresh()}"
        self.emit(f"{name} = {instruction}")
        return name

    def label(self, name: str) -> None:
        """Begin block `name`; the block before it must have been ended by a branch."""
        self._lines.append(f"{name}:")
        self.block = name

    def declare(self, line: str) -> None:
        self.declares.add(f"declare {line}")

    # --- i64 arithmetic, folding constants ----------------------------------------------------------

    def _int(self, name: str, a: str | int, b: str | int) -> str:
        if _literal(a) and _literal(b):
            x, y = int(a), int(b)
            folded = {"add": x + y, "sub": x - y, "mul": x * y}.get(name)
            if folded is not None:
                return str(folded)
        if name == "mul" and ("0" in (str(a), str(b))):
            return "0"
        neutral = "1" if name in ("mul", "sdiv") else "0"
        if name in ("add", "mul") and str(a) == neutral:
            return str(b)
        if str(b) == neutral:
            return str(a)
        return self.let(f"{name} i64 {a}, {b}")

    def add(self, a: str | int, b: str | int) -> str:
        return self._int("add", a, b)

    def sub(self, a: str | int, b: str | int) -> str:
        return self._int("sub", a, b)

    def mul(self, a: str | int, b: str | int) -> str:
        return self._int("mul", a, b)

    def div(self, a: str | int, b: str | int) -> str:
        """a / b, truncated."""
        return self._int("sdiv", a, b)

    def ceil_div(self, a: str | int, b: str | int) -> str:
        """⌈a / b⌉ for a ≥ 0, b > 0."""
        return self.div(self.add(a, self.sub(b, 1)), b)

    def min(self, a: str | int, b: str | int) -> str:
        if _literal(a) and _literal(b):
            return str(min(int(a), int(b)))
        self.declare("i64 @llvm.smin.i64(i64, i64)")
        return self.let(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")

    def max(self, a: str | int, b: str | int) -> str:
        if _literal(a) and _literal(b):
            return str(max(int(a), int(b)))
        self.declare("i64 @llvm.smax.i64(i64, i64)")
        return self.let(f"call i64 @llvm.smax.i64(i64 {a}, i64 {b})")

    def compare(self, predicate: str, a: str | int, b: str | int) -> str:
        """i1: `a predicate b`, e.g. "slt"."""
        return self.let(f"icmp {predicate} i64 {a}, {b}")

    def select(self, condition: str, kind: str, a: str | int, b: str | int) -> str:
        return self.let(f"select i1 {condition}, {kind} {a}, {kind} {b}")

    # --- memory -----------------------------------------------------------------------------------

    def at(self, kind: str, base: str, index: str | int) -> str:
        """Address of element `index` of an array of `kind` at `base`."""
        if str(index) == "0":
            return base
        return self.let(f"getelementptr {kind}, ptr {base}, i64 {index}")

    def load(self, kind: str, address: str, align: int = 0) -> str:
        return self.let(f"load {kind}, ptr {address}" + (f", align {align}" if align else ""))

    def store(self, kind: str, value: str, address: str, align: int = 0) -> None:
        self.emit(f"store {kind} {value}, ptr {address}" + (f", align {align}" if align else ""))

    # --- control flow -----------------------------------------------------------------------------

    @contextmanager
    def loop(
        self, stop: str | int, carried: Sequence[tuple[str, str]] = (), *, start: str | int = 0, step: str | int = 1
    ) -> Iterator[Loop]:
        """`for index in range(start, stop, step)`, with `carried` (type, initial value) pairs."""
        head, body, done = self.fresh("head"), self.fresh("body"), self.fresh("done")
        index, after = f"%{self.fresh('i')}", f"%{self.fresh('n')}"
        phis = [f"%{self.fresh('c')}" for _ in carried]
        before = self.block
        self.emit(f"br label %{head}")
        self.label(head)
        hole = len(self._lines)
        state = Loop(index, list(phis))
        more = self.let(f"icmp slt i64 {index}, {stop}")
        self.emit(f"br i1 {more}, label %{body}, label %{done}")
        self.label(body)
        yield state
        assert len(state.next) == len(carried), (len(state.next), len(carried))
        self.emit(f"{after} = add i64 {index}, {step}")
        self.emit(f"br label %{head}")
        lines = [f"  {index} = phi i64 [ {start}, %{before} ], [ {after}, %{self.block} ]"]
        for phi, (kind, init), value in zip(phis, carried, state.next, strict=True):
            lines.append(f"  {phi} = phi {kind} [ {init}, %{before} ], [ {value}, %{self.block} ]")
        self._lines[hole:hole] = lines
        self.label(done)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Statements run only where `condition` (i1) holds; they define nothing that is used after."""
        then, done = self.fresh("then"), self.fresh("done")
        self.emit(f"br i1 {condition}, label %{then}, label %{done}")
        self.label(then)
        yield
        self.emit(f"br label %{done}")
        self.label(done)

    def call(self, symbol: str, *arguments: tuple[str, str | int]) -> None:
        """Call `void symbol(arguments)` with (type, value) pairs."""
        self.emit(f"call void {symbol}({', '.join(f'{t} {v}' for t, v in arguments)})")

    def text(self) -> str:
        """The finished function."""
        return "\n".join([self._head, "entry:", *self._lines, "  ret void", "}"])


class Shared:
    """A function that suits many programs: it is compiled once for all of them, with the `helpers` that it calls.

    Its symbol says all that its text depends on, but for the target. The text is written when it is first asked for: most programs
    meet functions that are compiled already.
    """

    def __init__(
        self, name: str, params: Sequence[tuple[str, str]], write: Callable[[Code], None], helpers: Sequence[Shared] = ()
    ) -> None:
        self.name, self.params, self.helpers = name, tuple(params), tuple(helpers)
        self._write = write

    @property
    def declaration(self) -> str:
        """For a module that calls it."""
        return f"declare void @{self.name}({', '.join(kind for kind, _ in self.params)}) nounwind"

    def code(self) -> Code:
        """The function itself, written anew: few are asked for twice, and many are kept."""
        code = Code(self.name, self.params)
        self._write(code)
        return code

    def module(self) -> str:
        """A module of the function and its helpers, which others can be linked to."""
        codes = [*(helper.code() for helper in self.helpers), self.code()]
        public = codes[-1].text().replace("define internal ", "define ", 1)
        return "\n".join((*sorted(set().union(*(c.declares for c in codes))), *(c.text() for c in codes[:-1]), public))


def _literal(value: str | int) -> bool:
    return isinstance(value, int) or value.lstrip("-").isdigit()
