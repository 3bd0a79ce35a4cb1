"""Training: one compiled call a step (forward, backward, optimizer and random numbers), and a loop with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

import fdl
import fdl.numpy as fnp
from fdl import data, nn, optim, random

Loss = Callable[..., tuple[Any, tuple[Any, dict[str, Any]]]]


class TrainState(NamedTuple):
    """All that a step changes: parameters, the model's and the optimizer's state, and the step's number with the run's key."""

    params: Any
    state: Any
    opt_state: Any
    key: Any
    step: Any


def pixels(images: Any) -> Any:
    """uint8 images as float32 in [0, 1]. Inside a compiled step the conversion costs nothing."""
    return fnp.asarray(images).astype(np.float32) * (1 / 255)


def shifted(key: Any, images: Any, reach: int) -> Any:
    """Each of the images (n, h, w, c) moved by up to `reach` pixels up or down and sideways; zeros come in."""
    n, h, w, _ = images.shape
    margin = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    offsets = random.randint(key, (2, n, 1), 0, 2 * reach + 1)
    rows, columns = offsets[0] + fnp.arange(h), offsets[1] + fnp.arange(w)
    return fnp.pad(images, margin)[fnp.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def classifier_loss(model: nn.Layer, reach: int = 0) -> Loss:
    """The mean cross entropy of a batch with `images` and `labels`; metrics "loss" and "accuracy".

    In training the images are moved at random by up to `reach` pixels.
    """

    def loss(params: Any, state: Any, key: Any, batch: Any, train: bool) -> Any:
        images = fnp.asarray(batch.images)
        if train and reach:
            key, shift_key = random.split(key)
            images = shifted(shift_key, images, reach)
        logits, state = model(params, state, pixels(images), key=key, train=train)
        value = nn.losses.softmax_cross_entropy(logits, batch.labels).mean()
        return value, (state, {"loss": value, "accuracy": nn.losses.accuracy(logits, batch.labels)})

    return loss


def vae_loss(model: nn.Layer) -> Loss:
    """The negative evidence lower bound in nats an image: reconstruction + KL (Kingma and Welling, equation 10, one sample)."""

    def loss(params: Any, state: Any, key: Any, batch: Any, train: bool) -> Any:
        x = pixels(batch.images)
        (logits, mean, log_variance), state = model(params, state, x, key=key, train=train)
        reconstruction = nn.losses.bernoulli_reconstruction(logits, x.reshape(logits.shape)).mean()
        kl = nn.losses.gaussian_kl(mean, log_variance).mean()
        return reconstruction + kl, (state, {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl})

    return loss


def make_step(loss: Loss, optimizer: optim.GradientTransformation) -> Any:
    """The compiled training step `(TrainState, batch) -> (TrainState, metrics)`. It consumes the state that it is given."""

    @fdl.jit(donate_argnums=0)
    def train_step(run: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
        key = random.fold_in(run.key, run.step)
        grads, (state, metrics) = fdl.grad(loss, has_aux=True)(run.params, run.state, key, batch, True)
        updates, opt_state = optimizer.update(grads, run.opt_state, run.params)
        params = optim.apply_updates(run.params, updates)
        return TrainState(params, state, opt_state, run.key, run.step + 1), metrics

    return train_step


def make_eval(loss: Loss) -> Any:
    """The compiled evaluation `(params, state, key, batch) -> metrics` of one batch."""

    @fdl.jit
    def eval_step(params: Any, state: Any, key: Any, batch: Any) -> dict[str, Any]:
        return loss(params, state, key, batch, False)[1][1]

    return eval_step


def start(model: nn.Layer, optimizer: optim.GradientTransformation, seed: int, image: Any) -> TrainState:
    """A new run: parameters for images like `image` (28, 28, 1), and keys from `seed`."""
    init_key, run_key = random.split(random.key(seed))
    params, state = model.init(init_key, pixels(image))
    return TrainState(params, state, optimizer.init(params), run_key, fnp.zeros((), np.int32))


@dataclass
class History:
    """What training measured: `steps` has each step's metrics, `epochs` the test set's after each epoch."""

    steps: dict[str, list[float]] = field(default_factory=dict)
    epochs: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    compile_seconds: float = 0.0
    steps_per_epoch: int = 0


def _append(into: dict[str, list[float]], metrics: dict[str, Any]) -> None:
    for name, value in metrics.items():
        into.setdefault(name, []).append(float(value))


def evaluate(eval_step: Any, run: TrainState, part: Any, batch_size: int = 1000) -> dict[str, float]:
    """The mean metrics over a data set whose size `batch_size` divides; the noise of sampling is that of fixed keys."""
    totals: dict[str, list[float]] = {}
    for i, batch in enumerate(data.Loader(part, batch_size, drop_last=True)):
        _append(totals, eval_step(run.params, run.state, random.fold_in(random.key(0), i), batch))
    return {name: float(np.mean(values)) for name, values in totals.items()}


def fit(
    name: str, loss: Loss, optimizer: optim.GradientTransformation, run: TrainState, train: Any, test: Any,
    epochs: int, batch_size: int, seed: int,
) -> tuple[TrainState, History]:  # fmt: skip
    """Trains for `epochs` over `train`, measures on `test` after each, and shows a live progress bar.

    Returns: the last state, and what was measured.
    """
    train_step, eval_step = make_step(loss, optimizer), make_eval(loss)
    loader = data.Loader(train, batch_size, key=random.key(seed + 1), drop_last=True)
    history = History(steps_per_epoch=len(loader))
    shown: dict[str, str] = {}
    begin = time.perf_counter()
    with tqdm(total=epochs * len(loader), unit="step", dynamic_ncols=True, mininterval=0.2) as bar:
        for epoch, batches in enumerate(loader.epochs(epochs), 1):
            bar.set_description(f"{name:>4} epoch {epoch}/{epochs}")
            run = _epoch(train_step, run, batches, history, shown, bar, begin)
            measured = evaluate(eval_step, run, test)
            _append(history.epochs, measured)
            shown |= {f"test {k}": _short(k, v) for k, v in measured.items() if k == _headline(measured)}
            bar.set_postfix(shown)
    history.seconds = time.perf_counter() - begin
    return run, history


def _epoch(
    train_step: Any, run: TrainState, batches: Iterator[Any], history: History, shown: dict[str, str], bar: Any, begin: float
) -> TrainState:
    for i, batch in enumerate(batches):
        run, metrics = train_step(run, batch)
        _append(history.steps, metrics)
        if not history.compile_seconds:
            history.compile_seconds = time.perf_counter() - begin
        bar.update()
        if i % 50 == 0:
            shown |= {k: _short(k, history.steps[k][-1]) for k in ("loss", _headline(metrics))}
            bar.set_postfix(shown, refresh=False)
    return run


def _headline(metrics: dict[str, Any]) -> str:
    return "accuracy" if "accuracy" in metrics else "loss"


def _short(name: str, value: float) -> str:
    return f"{100 * value:.2f}%" if name == "accuracy" else f"{value:.4g}"
