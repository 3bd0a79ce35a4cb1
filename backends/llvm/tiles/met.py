"""The rows of input that a row of output meets, through the taps across rows: read in place, or from copies.

Copies hold a row in the layout that a kernel wants: with zeros around it, or its channels apart.  Outputs next to each other meet most
rows together, and so a copy stays until its place is needed: along each outer axis there are as many places as taps reach.

May be imported by: the tile emitters of convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod

from fdl.backends.llvm.tiles.micro import Simd
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.llvm.tiles.windows import Axis, partner
from fdl.tracer.records import dataclass


def rings(axes: Sequence[Axis]) -> tuple[int, ...]:
    """For each outer axis, how many neighbouring positions the taps of one output span: that many copied rows are kept.

    () where taps are so far apart that nothing would be gained.
    """
    found = tuple((a.taps - 1) * a.dilation // a.spread + 1 for a in axes)
    return found if prod(found) <= 2 * prod(a.taps for a in axes) else ()


def copies(axes: Sequence[Axis]) -> int:
    """Copied rows at a time."""
    return prod(rings(axes) or (a.taps for a in axes))


@dataclass(frozen=True, slots=True)
class MetRows:
    """The list of the rows that the current output row meets, at run time.

    Attributes:
        axes, strides: the outer axes, and what lies between positions along them.
        elements: those of a copied row, or 0 where rows are read in place.
        copy: writes the copy (to, from) of a row.
        met: (address, number of the taps) pairs, `count` of them.
        held: the number of the input row that each copy is of, or -1.
    """

    code: Code
    s: Simd
    axes: tuple[Axis, ...]
    strides: tuple[int, ...]
    elements: int
    copy: Callable[[str, str], None]
    copies: str
    met: str
    count: str
    held: str

    def forget(self) -> None:
        """Holds no copies any more."""
        if self.elements and rings(self.axes):
            with self.code.loop(copies(self.axes)) as slot:
                self.code.store("i64", "-1", self.code.at("i64", self.held, slot.index))

    def find(self, at: Sequence[str], x: str) -> str:
        """Lists the rows of `x` that the outputs `at` meet, and returns their number."""
        code = self.code
        code.store("i64", "0", self.count)
        with ExitStack() as stack:
            taps = [stack.enter_context(code.loop(axis.taps)).index for axis in self.axes]
            found = [partner(code, axis, o, k) for axis, o, k in zip(self.axes, at, taps, strict=True)]
            meets = found[0][1]
            for _, also in found[1:]:
                meets = code.let(f"and i1 {meets}, {also}")
            with code.when(meets):
                n = code.load("i64", self.count)
                position = [i for i, _ in found]
                row = code.at(self.s.element, x, dot(code, position, self.strides))
                if self.elements:
                    row = self._copied(position, n, row)
                entry = code.at("i64", self.met, code.mul(n, 2))
                code.store("ptr", row, entry)
                code.store("i64", number(code, taps, [a.taps for a in self.axes]), code.at("i64", entry, 1))
                code.store("i64", code.add(n, 1), self.count)
        return code.load("i64", self.count)

    def _copied(self, position: list[str], n: str, row: str) -> str:
        """The address of a copy of the input row at `position`, the n-th one that the output row meets."""
        code = self.code
        places = rings(self.axes)
        if not places:
            to = code.at(self.s.element, self.copies, code.mul(n, self.elements))
            self.copy(to, row)
            return to
        slot = number(code, [code.let(f"urem i64 {i}, {ring}") for i, ring in zip(position, places, strict=True)], places)
        which = number(code, position, [a.inputs for a in self.axes])
        to = code.at(self.s.element, self.copies, code.mul(slot, self.elements))
        held = code.at("i64", self.held, slot)
        with code.when(code.compare("ne", code.load("i64", held), which)):
            code.store("i64", which, held)
            self.copy(to, row)
        return to

    @contextmanager
    def each(self, count: str) -> Iterator[tuple[str, str, str]]:
        """The loop over the rows found: (place in the list, address, number of the taps)."""
        code = self.code
        with code.loop(count) as i:
            entry = code.at("i64", self.met, code.mul(i.index, 2))
            yield i.index, code.load("ptr", entry), code.load("i64", code.at("i64", entry, 1))


def met_rows(
    code: Code,
    s: Simd,
    axes: tuple[Axis, ...],
    strides: tuple[int, ...],
    copied: tuple[int, str],
    copy: Callable[[str, str], None],
) -> MetRows:
    """A list of rows; `copied` are the elements of a copy (0: none) and where copies are."""
    elements, place = copied
    taps = prod(a.taps for a in axes)
    return MetRows(
        code, s, axes, strides, elements, copy, place, code.let(f"alloca [{2 * taps} x i64], align 16"), code.let("alloca i64"),
        code.let(f"alloca [{copies(axes)} x i64], align 16"),
    )  # fmt: skip


def dot(code: Code, position: Sequence[str], strides: Sequence[int]) -> str:
    """The offset of a position along the outer axes."""
    total = "0"
    for i, stride in zip(position, strides[: len(position)], strict=True):
        total = code.add(total, code.mul(i, stride))
    return total


def number(code: Code, position: Sequence[str], sizes: Sequence[int]) -> str:
    """The row-major number of a position among `sizes`."""
    total = position[0]
    for i, n in zip(position[1:], sizes[1:], strict=True):
        total = code.add(code.mul(total, n), i)
    return total


@contextmanager
def nest(code: Code, *extents: str | int) -> Iterator[list[str]]:
    """Nested loops."""
    with ExitStack() as stack:
        yield [stack.enter_context(code.loop(extent)).index for extent in extents]
