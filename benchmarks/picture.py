"""The picture of a run: a bar for each row, fdl's median over the best peer's, and a mark at the target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .driver import Row
from .report import judged


def bars(rows: Sequence[Row]) -> list[tuple[str, float, float | None]]:
    """The name, the ratio of medians and the target as such a ratio, of each row that has a peer."""
    found = []
    for row in rows:
        v = judged(row)
        if v is None or v.ratio is None:
            continue
        peer = v.ours.median / v.ratio.median
        found.append((row.case.name, v.ratio.median, None if v.target is None else v.target.median / peer))
    return found


def draw(rows: Sequence[Row], path: Path) -> None:
    """Writes the picture. Raises: ImportError without Matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    matplotlib.rcParams["svg.hashsalt"] = "fdl"  # the same names in the file for the same picture
    found = bars(rows)[::-1]
    figure, axes = pyplot.subplots(figsize=(9, 0.8 + 0.24 * len(found)), layout="constrained")
    for i, (_, ratio, target) in enumerate(found):
        met = target is None or ratio <= target
        axes.barh(i, ratio, color="#3b7dd8" if met else "#e0913a", height=0.7)
        if target is not None:
            axes.plot([target, target], [i - 0.45, i + 0.45], color="black", linewidth=1.5)
    axes.axvline(1.0, color="gray", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(found)), [name for name, *_ in found], fontsize=7)
    axes.set_xscale("log")
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_ylim(-0.7, len(found) - 0.3)
    axes.set_xlabel("time of fdl / time of the best peer (medians); the black mark is the target, blue meets it", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
