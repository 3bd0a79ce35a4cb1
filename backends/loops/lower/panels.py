"""How an axis is cut into panels that run in parallel: by the shape alone, so that results do not depend on the number of threads.

May be imported by: the builders of this package, the tile kernels.
"""

from __future__ import annotations

from fdl.backends.loops.ir import INDEX, Const, Value
from fdl.backends.loops.values import mul, op, sub
from fdl.tracer.records import dataclass

GRAIN = 4_000_000
"""Floating-point operations worth a task of their own: 15 to 30 microseconds of one core."""
SLICE = 800_000
"""Those that a panel of a matrix product has at least: 3 microseconds, ten times what giving work to a thread that is awake takes."""
STREAM = 1 << 15
"""Elements of an operand that are work enough for a panel where the other one has few rows or columns: it waits for memory."""
TASKS = 32
"""Panels that an output is cut into: so many, or up to a quarter more where they come out evenly."""
ROWS = 64
"""The least rows of a panel: every panel reads the whole second operand. Half of it where there are few."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An axis of `size` cut into `count` panels of `step`; the last one is shorter where `step * count > size`."""

    size: int
    step: int

    @property
    def count(self) -> int:
        return -(-self.size // self.step)

    def extent(self, p: Value) -> Value:
        """The size of panel `p`."""
        if self.size % self.step == 0:
            return Const(self.step, INDEX)
        return op("min", Const(self.step, INDEX), sub(self.size, mul(p, self.step)))


THREADS = (2, 4, 6, 8, 12, 16)
"""Numbers of threads that shall get equal shares of panels."""
RAGGED, ODD = 0.15, 0.06
"""Parts of the time that are lost where the last panel is shorter, since the size is then a run-time value in all, and where the size is no
multiple of what is asked for."""


def cut(size: int, parts: int, multiple: int = 1) -> Cut:
    """`size` in up to `parts` panels, and half as many or more, such that threads wait for each other as little as can be.

    784 rows in up to 15 parts: 14 panels of 56, which 2 threads share equally, rather than 7 of 112.
    """
    parts = max(1, min(parts, size))

    def cost(step: int) -> float:
        count = -(-size // step)
        time = sum(-(-count // threads) * threads * step for threads in THREADS)
        return time * (1 + RAGGED * (size % step != 0) + ODD * (step % multiple != 0))

    even = [-(-size // n) for n in range(parts, parts // 2, -1)]
    rounded = [min(size, -(-step // multiple) * multiple) for step in even]
    return Cut(size, min((*rounded, *even), key=cost))


PARTS = 16
"""The most partial results of a sum over images or rows."""
PART_ELEMENTS = 1 << 15
"""Elements that a part reads at least, unless it computes for as long as a task."""


def parts(rows: int, elements: int, flops: int = 0, most: int = PARTS) -> Cut:
    """How `rows` that are summed up are cut into parts. What reads the same rows gets the same parts, and so may share a loop."""
    return cut(rows, min(rows, most, max(flops // GRAIN, elements // PART_ELEMENTS, 1)))


def panels(m: int, n: int, k: int, tasks: int = TASKS) -> tuple[Cut, Cut]:
    """How C[m, n] of depth `k` is cut: by rows where there are many, else by columns."""
    wanted = min(tasks, max(2 * m * n * k // SLICE, n * k // STREAM, m * k // STREAM))
    if wanted < 2:
        return Cut(m, max(m, 1)), Cut(n, max(n, 1))
    rows = _by_rows(m, wanted)
    if rows.count > 1:
        return rows, Cut(n, n)
    return rows, cut(n, min(wanted, max(n // 96, 1)), 16)


def _by_rows(m: int, wanted: int) -> Cut:
    """`m` rows in as many panels as are worth a reading of the second operand each, or a quarter more: `cut` may choose among them."""
    least = ROWS if m >= 8 * ROWS else ROWS // 2
    parts = min(wanted, m // least)
    return cut(m, parts + parts // 4, 8)


def blocks(m: int, n: int, width: int, tasks: int = TASKS) -> tuple[Cut, Cut]:
    """How C[m, n] is cut if its second operand is far, and packed in panels of `width` columns: by rows and by columns.

    A block reads its columns of the second operand, and packs its rows of the first unless they are few: rows are packed as often as
    columns are cut, each time for a hundredth of the whole. So columns are cut in two, or in more where there are not rows enough.
    """
    rows = _by_rows(m, tasks // 2)
    wanted = max(1, min(-(-tasks // rows.count), -(-n // width)))
    return rows, whole_panels(Cut(n, -(-n // wanted)), width)


def whole_panels(columns: Cut, width: int) -> Cut:
    """Columns cut between packed panels of `width`."""
    return Cut(columns.size, min(columns.size, -(-columns.step // width) * width))


FAR = 3 << 20
"""Bytes over which a second operand lies from which on it is packed: out of the second-level cache, its rows on pages apart."""
THIN, THIN_DEPTH = 6, 32
"""With so few columns, at this depth, a product is computed as dot products, from a copy of the second operand whose columns are
contiguous: as rows they would fill a part of a vector, and each element of the first operand would be loaded by itself."""
NARROW = 16
"""Rows or columns of a second operand that are too few to pack."""
PACKED_MEMORY = 1 << 28
"""The most bytes of a packed operand."""
