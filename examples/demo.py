"""Trains an MLP, a CNN and a VAE on MNIST, prints a table of results, and leaves pictures.

    python -m examples.demo --model all|mlp|cnn|vae --seed 0 --epochs N --out out [--plan]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fdl
import fdl.numpy as fnp
from fdl import data, nn, optim, random

from . import models, pictures
from .train import History, Loss, TrainState, classifier_loss, fit, make_step, pixels, start, vae_loss


@dataclass(frozen=True)
class Task:
    """A model, how to train it, and what it has to reach."""

    name: str
    model: nn.Layer
    loss: Loss
    epochs: int
    batch_size: int
    rate: float
    metric: str
    goal: float
    reference: str
    draw: Callable[[Task, TrainState, Any, Path], list[Path]]

    def reached(self, value: float) -> bool:
        """Whether a test figure meets the goal."""
        return value >= self.goal if self.metric == "accuracy" else value <= self.goal

    def show(self, value: float) -> str:
        """A figure with its unit."""
        return f"{100 * value:.2f} %" if self.metric == "accuracy" else f"{value:.2f} nats"


@dataclass(frozen=True)
class Result:
    """What one task came to."""

    task: Task
    history: History
    files: list[Path]

    @property
    def value(self) -> float:
        """The metric on the test set after the last epoch."""
        return self.history.epochs[self.task.metric][-1]


def _guesses(task: Task, run: TrainState, images: Any) -> np.ndarray[Any, Any]:
    predict = fdl.jit(lambda params, x: fnp.argmax(nn.stateless(task.model)(params, pixels(x)), -1))
    return np.concatenate([np.asarray(predict(run.params, batch)) for batch in data.Loader(images, 1000)])


def draw_classifier(task: Task, run: TrainState, test: Any, out: Path) -> list[Path]:
    """The confusion matrix, and a CNN's filters."""
    files = [pictures.confusion(out / f"{task.name.lower()}-confusion.png", task.name, test.labels, _guesses(task, run, test.images))]
    if task.name == "CNN":
        assert isinstance(task.model, nn.Sequential)
        first, second = (i for i, layer in enumerate(task.model.layers) if isinstance(layer, nn.Conv))
        digit = models.standardised(pixels(test.images[0]))
        answer, _ = task.model.layers[first](run.params[first], (), digit)
        maps = np.asarray(nn.relu(answer)).transpose(2, 0, 1)
        files.append(pictures.filters(out / "cnn-filters.png", run.params[first]["w"], run.params[second]["w"], maps))
    return files


def draw_vae(task: Task, run: TrainState, test: Any, out: Path) -> list[Path]:
    """Reconstructions, samples, and the latent manifold."""
    vae = task.model
    assert isinstance(vae, models.VAE)
    decode = fdl.jit(lambda params, z: nn.sigmoid(vae.decode(params, z)))
    encode = fdl.jit(lambda params, x: vae.encode(params, pixels(x))[0])

    means = np.concatenate([np.asarray(encode(run.params, x)) for x in data.Loader(test.images, 1000)])
    middle = means.mean(0)
    _, spread, axes = np.linalg.svd(means - middle, full_matrices=False)
    deviations = spread[:2] / np.sqrt(len(means))
    points = (means - middle) @ axes[:2].T / deviations
    share = float((spread[:2] ** 2).sum() / (spread**2).sum())
    side = 20
    along = np.linspace(-2.2, 2.2, side)
    plane = np.stack(np.meshgrid(along, along[::-1]), -1).reshape(-1, 2) * deviations
    draws = np.asarray(random.normal(random.key(7), (144, vae.latents)))

    # One call decodes all of them: a call for each of the three would be a compilation for each of their sizes.
    latents = [means[:40], draws, (middle + plane @ axes[:2]).astype(np.float32)]
    pixel_means = np.asarray(decode(run.params, np.concatenate(latents)))
    rebuilt, samples, grid = np.split(pixel_means, np.cumsum([len(z) for z in latents])[:-1])
    return [
        pictures.reconstructions(out / "vae-reconstructions.png", test.images[:40] / 255.0, rebuilt),
        pictures.samples(out / "vae-samples.png", samples),
        pictures.manifold(out / "vae-manifold.png", points, test.labels, grid, side, share),
    ]


def tasks() -> dict[str, Task]:
    """The demo's tasks by name."""
    mlp, cnn, vae = models.mlp(), models.cnn(), models.VAE()
    return {
        "mlp": Task("MLP", mlp, classifier_loss(mlp), 10, 128, 1e-3, "accuracy", 0.98, "about 98 %", draw_classifier),
        "cnn": Task("CNN", cnn, classifier_loss(cnn, reach=1), 6, 64, 1e-3, "accuracy", 0.99, "about 99 %", draw_classifier),
        "vae": Task("VAE", vae, vae_loss(vae), 10, 128, 1e-3, "loss", 107.0, "105 to 106 nats", draw_vae),
    }


def optimizer_for(task: Task, steps: int) -> optim.GradientTransformation:
    """Adam; for the classifiers its rate falls to 0 along a cosine, which settles the last epochs' accuracy."""
    return optim.adam(optim.schedules.cosine_decay(task.rate, steps) if task.metric == "accuracy" else task.rate)


def solve(task: Task, mnist: Any, seed: int, epochs: int | None, out: Path, plan: bool) -> Result:
    """Trains one task, draws its pictures, and with `plan` prints its step's memory plan first."""
    train, test = mnist
    epochs = epochs or task.epochs
    optimizer = optimizer_for(task, epochs * (len(train.images) // task.batch_size))
    run = start(task.model, optimizer, seed, train.images[0])
    if plan:
        batch = train[: task.batch_size]
        print(f"Memory plan of the {task.name}'s training step:\n{make_step(task.loss, optimizer).lower(run, batch).plan}\n")
    run, history = fit(task.name, task.loss, optimizer, run, train, test, epochs, task.batch_size, seed)
    goal = 100 * task.goal if task.metric == "accuracy" else task.goal
    files = [pictures.curves(out / f"{task.name.lower()}-curves.png", task.name, history, goal)]
    files += task.draw(task, run, test, out)
    return Result(task, history, files)


def table(results: list[Result]) -> str:
    """The results beside the references, as text."""
    head = ("model", "epochs", "test", "reference", "to reach", "", "seconds", "ms a step")
    rows = [head]
    for r in results:
        steps = len(r.history.steps["loss"])
        each = 1000 * (r.history.seconds - r.history.compile_seconds) / max(steps - 1, 1)
        sign = "≥" if r.task.metric == "accuracy" else "≤"
        epochs, goal = str(len(r.history.epochs["loss"])), f"{sign} {r.task.show(r.task.goal)}"
        verdict = "reached" if r.task.reached(r.value) else "missed"
        times = f"{r.history.seconds:.1f}", f"{each:.2f}"
        rows.append((r.task.name, epochs, r.task.show(r.value), r.task.reference, goal, verdict, *times))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * w for w in widths), *lines[1:]])


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; returns 0, or 1 when a run of full length missed its goal."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=["all", "mlp", "cnn", "vae"], default="all", help="which to train (all)")
    parser.add_argument("--seed", type=int, default=0, help="of parameters, batches, dropout and noise (0)")
    parser.add_argument("--epochs", type=int, default=None, help="instead of 10 for the MLP and the VAE, 6 for the CNN")
    parser.add_argument("--out", type=Path, default=Path("out"), help="the folder for pictures (out)")
    parser.add_argument("--plan", action="store_true", help="print each training step's memory plan")
    options = parser.parse_args(arguments)
    if options.epochs is not None and options.epochs < 1:
        parser.error("--epochs must be at least 1")
    known = tasks()
    chosen = list(known) if options.model == "all" else [options.model]
    mnist = data.mnist()
    results = [solve(known[name], mnist, options.seed, options.epochs, options.out, options.plan) for name in chosen]
    print(f"\n{table(results)}\n\nPictures:")
    for result in results:
        for file in result.files:
            print(f"  {file}")
    full = [r for r in results if len(r.history.epochs["loss"]) >= r.task.epochs]
    return 0 if all(r.task.reached(r.value) for r in full) else 1


if __name__ == "__main__":
    sys.exit(main())
