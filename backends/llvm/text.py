"""LLVM IR as text, one function at a time: `Module` collects functions, `Code` writes the instructions of one.

`Code` keeps the text small and the loops tight without any IR pass, by three habits:

* *Value numbering.* A pure instruction is looked up by its text first, so an expression that the loop IR repeats is
  computed once.
* *Loop-invariant code motion.* A pure instruction is written into the outermost open scope where its operands exist.
  While a loop body is being written, the block in front of the loop (its preheader) is still open, so an
  instruction that depends on nothing in the loop lands there.
* *No speculation past a condition.* A *pinned* scope (the arm of a branch) keeps its instructions; a scope behind a
  *barrier* (an arm, or a loop that may run no iteration) keeps its loads.

A scope is a run of basic blocks that starts and ends in one place; its lines join its parent's when it closes.
Operands are text: "%v7", "%i.main", or a constant ("7", "splat (float 0x...)", "zeroinitializer").

May be imported by: everything in backends.llvm.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType

from .target import Target

ATTRIBUTE: Final = "#0"
ATTRIBUTE_COLD: Final = "#1"
ATTRIBUTES: Final = (
    'attributes #0 = { nounwind "no-stack-arg-probe" }\nattributes #1 = { nounwind noinline cold "no-stack-arg-probe" }\n'
)
"""The attribute groups of every function: #0 the usual one, #1 for helpers off the common path."""

PART: Final = 16_000
"""Characters of functions in one part of a module: some fifteen milliseconds of LLVM's time."""

_NAMED = re.compile(r"@([\w.$]+)")
_DEFINED = re.compile(r"^(?:define [^@\n]*)?@([\w.$]+)(?=\(| =)", re.MULTILINE)

_INTEGER = {8: "i8", 16: "i16", 32: "i32", 64: "i64"}


def memory_type(dtype: DType) -> str:
    """The LLVM type of one stored element: an integer for bool (i8), float16 and bfloat16 (i16) and the integers."""
    return {dtypes.float32: "float", dtypes.float64: "double"}.get(dtype) or _INTEGER[dtypes.bits(dtype)]


def register_type(dtype: DType) -> str:
    """The LLVM type of one element in a register: i1 for bool, and float for float16 and bfloat16.

    A 16-bit float in a register is a float that has exactly the value of a 16-bit one.
    """
    if dtype == dtypes.bool_:
        return "i1"
    if dtype in (dtypes.float16, dtypes.bfloat16, dtypes.float32):
        return "float"
    return "double" if dtype == dtypes.float64 else _INTEGER[dtypes.bits(dtype)]


def vec(element: str, lanes: int) -> str:
    """The type of `lanes` elements: the element type itself for one."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def mangle(element: str, lanes: int) -> str:
    """The suffix by which LLVM's intrinsics name a type: "v16f32"."""
    short = {"float": "f32", "double": "f64", "half": "f16"}.get(element, element)
    return short if lanes == 1 else f"v{lanes}{short}"


def float_literal(value: float, element: str = "double") -> str:
    """`value` as an LLVM constant, rounded to `element` ("float" or "double") first."""
    if element == "float":
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def splat_literal(element: str, literal: str, lanes: int) -> str:
    """A constant in every lane, as an operand."""
    return literal if lanes == 1 else f"splat ({element} {literal})"


def iota(element: str, lanes: int, step: int = 1) -> str:
    """The constant vector 0, step, 2 step, ... as an operand."""
    return "<" + ", ".join(f"{element} {i * step}" for i in range(lanes)) + ">"


def jump(label: str) -> str:
    """A jump."""
    return f"br label %{label}"


def branch(condition: str, yes: str, no: str) -> str:
    """A conditional jump."""
    return f"br i1 {condition}, label %{yes}, label %{no}"


class Module:
    """The text of one LLVM module: declarations, constants, helper functions, functions."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.declares: dict[str, None] = {}
        self.externals: dict[str, None] = {}
        self.globals: dict[str, str] = {}
        self.helpers: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        """Declaration of a function → its text, both from the type of its result on."""
        self.entry = ""
        """The text of the function that is called from outside."""

    def declare(self, line: str) -> None:
        """Adds an intrinsic's declaration once."""
        self.declares[line] = None

    def external(self, symbol: str, line: str) -> None:
        """Adds the declaration of a symbol that the engine must be given an address for."""
        self.externals[symbol] = None
        self.declares[line] = None

    def parts(self) -> tuple[str, ...]:
        """The module's text, without what is shared: whole, or in several parts that can be compiled side by side, and are linked."""
        lengths = [len(text) for text in (self.entry, *self.functions.values())]
        count = round(sum(lengths) / max(PART, *lengths))
        if count < 2:
            own = [*(f"define internal {text}" for text in self.functions.values()), f"define {self.entry}"]
            return ("\n".join((*self.declares, *self.globals.values(), *self.helpers.values(), *own, ATTRIBUTES)),)
        sizes = [len(self.entry)] + [0] * (count - 1)
        shares: list[list[str]] = [[] for _ in sizes]
        for declaration in sorted(self.functions, key=lambda line: len(self.functions[line]), reverse=True):
            least = sizes.index(min(sizes))
            shares[least].append(declaration)
            sizes[least] += len(self.functions[declaration])
        # Functions name no others of the module, but the entry names them all.
        elsewhere = [f"declare hidden {line}" for line in self.functions if line not in shares[0]]
        first = [*elsewhere, *(f"define hidden {self.functions[line]}" for line in shares[0]), f"define {self.entry}"]
        rest = [[f"define hidden {self.functions[line]}" for line in share] for share in shares[1:]]
        common = _definitions((*self.globals.values(), *self.helpers.values()))
        return tuple("\n".join((*self.declares, *_needed(common, own), *own, ATTRIBUTES)) for own in (first, *rest))


def _definitions(texts: Iterable[str]) -> dict[str, str]:
    """Symbol → the text that defines it."""
    return {symbol: text for text in texts for symbol in _DEFINED.findall(text)}


def _needed(definitions: Mapping[str, str], texts: Iterable[str]) -> list[str]:
    """Those of the definitions that some texts name, or that are named by one of them in turn."""
    found: dict[str, None] = {}
    todo = list(texts)
    while todo:
        for symbol in _NAMED.findall(todo.pop()):
            text = definitions.get(symbol)
            if text is not None and text not in found:
                found[text] = None
                todo.append(text)
    return list(found)


class Scope:
    """A run of blocks being written; `block` is the label of the current one."""

    __slots__ = ("block", "lines", "memo")

    def __init__(self, block: str) -> None:
        self.lines: list[str] = []
        self.memo: dict[str, str] = {}
        self.block = block


class Code:
    """The instructions of one function."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.target = module.target
        self.allocas: list[str] = []
        self.scopes: list[Scope] = [Scope("entry")]
        self.depth: dict[str, int] = {}
        self.packed: dict[str, str] = {}
        """Register with a 16-bit float's value → register with its bits, where these are known; see `halves`."""
        self.pin = 0
        self.barrier = 0
        self._count = 0

    # --- names and scopes -------------------------------------------------------------------------

    def name(self, stem: str = "v") -> str:
        """A fresh register name."""
        self._count += 1
        return f"%{stem}{self._count}"

    def label(self, stem: str) -> str:
        """A fresh block label."""
        self._count += 1
        return f"{stem}{self._count}"

    @property
    def level(self) -> int:
        """The depth of the innermost open scope."""
        return len(self.scopes) - 1

    @property
    def block(self) -> str:
        """The label of the block being written."""
        return self.scopes[-1].block

    @contextmanager
    def scope(self, entry: str = "", *, pinned: bool = False, barrier: bool = False) -> Iterator[None]:
        """Opens a scope, which starts a block of its own and whose last block goes on after it.

        `entry` is the jump that ends the block in front of it. It is written when the scope closes: until then that block
        takes what the scope need not compute itself.
        """
        saved = self.pin, self.barrier
        self.scopes.append(Scope(self.block))
        if pinned:
            self.pin = self.level
        if pinned or barrier:
            self.barrier = self.level
        yield
        inner = self.scopes.pop()
        self.pin, self.barrier = saved
        if entry:
            self.scopes[-1].lines.append("  " + entry)
        self.scopes[-1].lines += inner.lines
        self.scopes[-1].block = inner.block

    # --- instructions -----------------------------------------------------------------------------

    def do(self, line: str) -> None:
        """Writes an instruction without a result."""
        self.scopes[-1].lines.append("  " + line)

    def emit(self, rhs: str, stem: str = "v") -> str:
        """Writes an instruction here, whatever it depends on; returns its result."""
        name = self.name(stem)
        self.scopes[-1].lines.append(f"  {name} = {rhs}")
        self.depth[name] = len(self.scopes) - 1
        return name

    def pure(self, rhs: str, *operands: str) -> str:
        """The result of an instruction without effects: found again, or written as far out as `operands` allow."""
        return self._place(rhs, rhs, self.pin, operands)

    def load(self, rhs: str, version: str, floor: int, *operands: str) -> str:
        """As `pure`, for a load: equal loads of one `version` (buffer and number) are one, none is written above scope `floor`."""
        return self._place(f"{rhs} {version}", rhs, max(self.barrier, floor), operands)

    def _place(self, key: str, rhs: str, floor: int, operands: tuple[str, ...]) -> str:
        depth, at = self.depth, 0
        for operand in operands:
            d = depth.get(operand, 0)
            if d > at:
                at = d
        for scope in self.scopes[at:]:
            found = scope.memo.get(key)
            if found is not None:
                return found
        if floor > at:
            at = floor
        self._count += 1
        name = f"%v{self._count}"
        scope = self.scopes[at]
        scope.lines.append(f"  {name} = {rhs}")
        scope.memo[key] = name
        depth[name] = at
        return name

    def alloca(self, element: str, count: int, align: int) -> str:
        """Stack memory that lives as long as the call."""
        name = self.name("stack")
        self.allocas.append(f"  {name} = alloca {element}, i64 {count}, align {align}")
        return name

    def start(self, label: str) -> None:
        """Starts the block `label`; the previous one must have ended."""
        scope = self.scopes[-1]
        scope.lines.append(f"{label}:")
        scope.block = label

    def go(self, label: str) -> None:
        """Ends the block with a jump."""
        self.do(jump(label))

    def reserve(self) -> int:
        """Keeps a place in the current scope for instructions that are known later (phis); see `fill`."""
        self.scopes[-1].lines.append("")
        return len(self.scopes[-1].lines) - 1

    def fill(self, place: int, lines: list[str]) -> None:
        """Puts `lines` in a reserved place of the current scope."""
        self.scopes[-1].lines[place] = "\n".join("  " + line for line in lines)

    def split(self) -> None:
        """Starts a new block when the current run is long, which keeps instruction selection linear."""
        label = self.label("next")
        self.go(label)
        self.start(label)

    # --- intrinsics and helpers -------------------------------------------------------------------

    def intrinsic(self, name: str, element: str, lanes: int, *args: str) -> str:
        """The result of the LLVM intrinsic `name` on arguments of its own result type ("fma", "fabs", "ctpop", ...)."""
        kind = vec(element, lanes)
        symbol = f"@llvm.{name}.{mangle(element, lanes)}"
        self.module.declare(f"declare {kind} {symbol}({', '.join([kind] * len(args))})")
        return self.pure(f"call {kind} {symbol}({', '.join(f'{kind} {a}' for a in args)})", *args)

    def splat(self, element: str, value: str, lanes: int) -> str:
        """`value` in every lane."""
        if lanes == 1:
            return value
        if not value.startswith("%"):
            return splat_literal(element, value, lanes)
        kind = vec(element, lanes)
        first = self.pure(f"insertelement {kind} poison, {element} {value}, i64 0", value)
        return self.pure(f"shufflevector {kind} {first}, {kind} poison, <{lanes} x i32> zeroinitializer", first)

    def any_lane(self, condition: str, lanes: int) -> str:
        """Whether the condition holds in any lane, as an i1."""
        if lanes == 1:
            return condition
        symbol = f"@llvm.vector.reduce.or.v{lanes}i1"
        self.module.declare(f"declare i1 {symbol}(<{lanes} x i1>)")
        return self.pure(f"call i1 {symbol}(<{lanes} x i1> {condition})", condition)

    def finish(self, header: str) -> str:
        """The function's text under `header` ("define i32 @f(ptr %p) #0"); the last block must have ended."""
        assert len(self.scopes) == 1
        return "\n".join([header + " {", "entry:", *self.allocas, *self.scopes[0].lines, "}", ""])
