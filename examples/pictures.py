"""The demo's pictures: curves, filters, a confusion matrix, and what a VAE has learnt. Matplotlib, into files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from .train import History

INK, GRID = "#22313f", "#d9dee3"
BLUE, ORANGE, GREEN = "#2c6fbb", "#d9722e", "#3a8f5c"
STYLE = {
    "figure.dpi": 120,
    "savefig.dpi": 160,
    "savefig.bbox": "tight",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}
plt.rcParams.update(STYLE)  # type: ignore[arg-type]


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
    return path


def _smooth(values: list[float], width: int) -> np.ndarray[Any, Any]:
    """The running mean over `width` steps, of equal length: fewer at the start."""
    total = np.cumsum(np.insert(np.asarray(values, np.float64), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (total[ends] - total[starts]) / (ends - starts)


def curves(path: Path, name: str, history: History, goal: float | None = None) -> Path:
    """Loss, and accuracy (in percent) or the loss's two terms, over epochs: training steps as a line, the test set as dots."""
    n = history.steps_per_epoch
    x = np.arange(1, len(history.steps["loss"]) + 1) / n
    epochs = np.arange(1, len(history.epochs["loss"]) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    left.plot(x, history.steps["loss"], color=BLUE, alpha=0.18, linewidth=0.7)
    left.plot(x, _smooth(history.steps["loss"], max(n // 5, 1)), color=BLUE, linewidth=1.6, label="training")
    left.plot(epochs, history.epochs["loss"], "o-", color=ORANGE, markersize=4, label="test")
    left.set(title=f"{name}: loss", xlabel="epoch", ylabel="nats an image")
    if "accuracy" in history.steps:
        left.set_yscale("log")
        right.plot(x, 100 * _smooth(history.steps["accuracy"], max(n // 5, 1)), color=BLUE, linewidth=1.6, label="training")
        right.plot(epochs, 100 * np.asarray(history.epochs["accuracy"]), "o-", color=ORANGE, markersize=4, label="test")
        right.set(title=f"{name}: accuracy", xlabel="epoch", ylabel="%", ylim=(94, 100.1))
    else:
        # The first steps are far above everything that follows.
        left.set_ylim(0.97 * min(history.epochs["loss"]), 1.25 * max(history.epochs["loss"]))
        for term, color in (("reconstruction", BLUE), ("kl", GREEN)):
            right.plot(x, _smooth(history.steps[term], max(n // 5, 1)), color=color, linewidth=1.6, label=f"{term}, training")
            right.plot(epochs, history.epochs[term], "o", color=color, markersize=4, label=f"{term}, test")
        right.set(title=f"{name}: the loss's terms", xlabel="epoch", ylabel="nats an image", ylim=(0, 160))
    if goal is not None:
        side = right if "accuracy" in history.steps else left
        side.axhline(goal, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label="to reach")
    left.legend()
    right.legend()
    return _save(figure, path)


def _tiles(images: np.ndarray[Any, Any], columns: int, gap: int = 2, paper: float = 1.0) -> np.ndarray[Any, Any]:
    """Images (n, h, w) side by side in rows of `columns`, with light gaps."""
    n, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap), paper, np.float32)
    for i, image in enumerate(images):
        y, x = gap + (i // columns) * (h + gap), gap + (i % columns) * (w + gap)
        sheet[y : y + h, x : x + w] = image
    return sheet


def _sheet(axes: Any, sheet: np.ndarray[Any, Any], title: str, cmap: str = "gray", **limits: float) -> None:
    axes.imshow(sheet, cmap=cmap, interpolation="nearest", **(limits or {"vmin": 0.0, "vmax": 1.0}))
    axes.set_title(title)
    axes.axis("off")


def reconstructions(path: Path, originals: Any, rebuilt: Any) -> Path:
    """Originals (n, 28, 28) over what the VAE makes of them, in pairs of rows of ten."""
    originals, rebuilt = (np.asarray(v).reshape(-1, 10, 28, 28) for v in (originals, rebuilt))
    pairs = np.stack([originals, rebuilt], 1).reshape(-1, 28, 28)
    figure, axes = plt.subplots(figsize=(7, 0.72 * len(pairs) / 10 + 0.4), layout="constrained")
    _sheet(axes, _tiles(pairs, 10), "Test images (odd rows) and their reconstructions (even rows)")
    return _save(figure, path)


def samples(path: Path, images: Any) -> Path:
    """Images (n, 28, 28) decoded from latents that are drawn from the prior."""
    figure, axes = plt.subplots(figsize=(6.4, 6.7), layout="constrained")
    _sheet(axes, _tiles(np.asarray(images).reshape(-1, 28, 28), 12), "Samples: decoded draws from the prior")
    return _save(figure, path)


def manifold(path: Path, points: Any, labels: Any, grid: Any, side: int, share: float) -> Path:
    """Left, the test set's latent means on their first two principal axes, by digit; right, what the decoder makes of that plane.

    Args:
        points: (n, 2), in standard deviations along each axis.
        grid: (side², 28, 28), decoded from −2.2 to 2.2 standard deviations along each axis, the top row at +2.2.
        share: of the variance that the two axes hold.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.4, 6.3), layout="constrained")
    points, labels = np.asarray(points), np.asarray(labels)
    scatter = left.scatter(points[:, 0], points[:, 1], c=labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=5, alpha=0.65, linewidths=0)
    for digit in range(10):
        middle = np.median(points[labels == digit], 0)
        box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": scatter.cmap(digit), "linewidth": 1.6}
        left.text(*middle, str(digit), fontsize=13, fontweight="bold", ha="center", va="center", color=INK, bbox=box)
    left.set(xlabel="first principal axis / σ", ylabel="second principal axis / σ", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    left.set_title(f"Latent means of the test set ({100 * share:.0f} % of their variance in this plane)")
    _sheet(right, _tiles(np.asarray(grid).reshape(-1, 28, 28), side, gap=0), "The decoder along that plane, from −2.2 σ to 2.2 σ")
    return _save(figure, path)


def filters(path: Path, first: Any, second: Any, responses: Any) -> Path:
    """The first convolution's filters (3, 3, 1, n) and its response (n, h, w) to a digit, and the second's (3, 3, n, m)."""
    first, second = np.asarray(first), np.asarray(second)
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(13.5, 4.9), layout="constrained", width_ratios=[1, 1, 1.75]
    )
    tiles = np.kron(first[:, :, 0].transpose(2, 0, 1), np.ones((1, 8, 8)))
    limit = float(np.abs(tiles).max())
    _sheet(left, _tiles(tiles, 4, 3, np.nan), f"First layer: {len(tiles)} filters", "RdBu_r", vmin=-limit, vmax=limit)
    maps = np.asarray(responses)
    _sheet(middle, _tiles(maps / np.maximum(maps.max(), 1e-9), 4), "What they answer to a digit")
    tiles = np.kron(second.transpose(2, 3, 0, 1).reshape(-1, *second.shape[:2]), np.ones((1, 4, 4)))
    limit = float(np.quantile(np.abs(tiles), 0.995))
    title = f"Second layer: {second.shape[3]} filters (columns) over {second.shape[2]} channels (rows)"
    _sheet(right, _tiles(tiles, second.shape[3], 2, np.nan), title, "RdBu_r", vmin=-limit, vmax=limit)
    return _save(figure, path)


def confusion(path: Path, name: str, labels: Any, guesses: Any) -> Path:
    """How often each digit (row) was taken for each (column), over a test set."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (np.asarray(labels), np.asarray(guesses)), 1)
    wrong = counts * (1 - np.eye(10, dtype=int))
    figure, axes = plt.subplots(figsize=(5.8, 5.4), layout="constrained")
    axes.grid(False)
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(int(wrong.max()), 1) * 1.25)
    for i, j in np.ndindex(10, 10):
        if i == j:
            axes.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="#e4eef7", edgecolor="white"))
        if counts[i, j]:
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=8.5, color=INK)
    error = 100 * wrong.sum() / max(counts.sum(), 1)
    axes.set(title=f"{name}: {wrong.sum()} of {counts.sum():,} test images wrong ({error:.2f} %)", xlabel="predicted", ylabel="true",
             xticks=range(10), yticks=range(10))  # fmt: skip
    return _save(figure, path)
