"""The picture: each curve's time over its size on logarithmic axes, fdl and JAX; a ring marks a cliff."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ..record import TITLES
from .curves import LIBRARIES
from .fits import cliffs
from .run import Found

COLOURS = {"fdl": "#3b7dd8", "jax": "#e0913a"}
ACROSS = 2


def ringed(found: Found, library: str) -> list[tuple[int, float]]:
    """(size, seconds) of the points behind a cliff."""
    points = found.points.get(library, ())
    behind = {c.after for c in cliffs(points)}
    return [(p.n, p.seconds) for p in points if p.n in behind]


def draw(found: Sequence[Found], path: Path) -> None:
    """Writes the picture. Raises: ImportError without Matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "fdl"  # the same names in the file for the same picture
    down = max(1, math.ceil(len(found) / ACROSS))
    figure, grid = pyplot.subplots(down, ACROSS, figsize=(9, 2.6 * down), layout="constrained", squeeze=False)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    for axes, one in zip(grid.flat, found, strict=False):
        for library in LIBRARIES:
            points = one.points.get(library, ())
            if not points:
                continue
            axes.plot(
                [p.n for p in points], [p.seconds for p in points], marker="o", markersize=3, linewidth=1.2,
                color=COLOURS[library], label=TITLES[library],
            )  # fmt: skip
            rings = ringed(one, library)
            axes.plot(
                [n for n, _ in rings],
                [s for _, s in rings],
                "o",
                markersize=9,
                markerfacecolor="none",
                markeredgecolor="crimson",
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(one.curve.name, fontsize=8)
        axes.set_xlabel(one.curve.axis, fontsize=7)
        axes.set_ylabel("seconds", fontsize=7)
        axes.tick_params(labelsize=7)
        axes.grid(True, linewidth=0.3)
        if one.points:
            axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
