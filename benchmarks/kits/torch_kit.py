"""PyTorch's kit: eager, and compiled where that is faster."""

from __future__ import annotations

import copy
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
import torch
import torch as np  # noqa: F401  (a kit's module that is closest to NumPy's)
from torch.nn import functional as functional

from benchmarks.record import Bench
from benchmarks.timing import quickest

set_threads = torch.set_num_threads
nn = torch.nn


COMPILED = {"no": (False,), "try": (False, True), "only": (True,)}[os.environ.get("BENCHMARKS_TORCH_COMPILE", "no")]
"""The ways to run that are tried: not compiled, compiled (which needs a C++ compiler), or both; the driver says which."""


def versions() -> dict[str, str]:
    """Of what runs."""
    return {"PyTorch": f"{torch.__version__} ({'the faster of eager and torch.compile' if len(COMPILED) > 1 else 'eager'})"}


def tensor(a: Any) -> Any:
    """A tensor of its own memory."""
    return torch.from_numpy(numpy.array(a))


def arrays(values: Any) -> Any:
    """The same of nested dicts, lists and tuples."""
    if isinstance(values, dict):
        return {k: arrays(v) for k, v in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(arrays(v) for v in values)
    return tensor(values)


def _faster(variants: Mapping[str, Callable[[], Bench]]) -> Bench:
    """The quickest variant that works; the first must."""
    (first, make), *others = variants.items()
    made = {first: make()}
    for name, build in others:
        try:
            made[name] = build()
            made[name].call()
        except Exception as error:
            made.pop(name, None)
            print(f"torch: {name} did not work: {str(error).splitlines()[0][:200]}", file=sys.stderr, flush=True)
    return made[quickest(made)] if len(made) > 1 else made[first]


def eager(f: Callable[..., Any], *args: Any) -> Bench:
    """A function of tensors, without gradients, not compiled."""
    own = [arrays(a) for a in args]

    def call() -> Any:
        with torch.no_grad():
            return f(*own)

    return Bench(call)


def function(f: Callable[..., Any], *args: Any) -> Bench:
    """A function of tensors, without gradients."""
    ways = {
        False: ("eager", lambda: eager(f, *args)),
        True: ("compiled", lambda: eager(torch.compile(f, dynamic=False), *args)),
    }
    return _faster(dict(ways[compiled] for compiled in COMPILED))


def linear(w: Any, b: Any) -> torch.nn.Linear:
    """A linear layer of weights (in, out)."""
    layer = torch.nn.Linear(*w.shape)
    with torch.no_grad():
        layer.weight.copy_(tensor(w).T)
        layer.bias.copy_(tensor(b))
    return layer


def conv(w: Any, b: Any, padding: Any = 0) -> torch.nn.Conv2d:
    """A convolution of HWIO filters."""
    layer = torch.nn.Conv2d(w.shape[2], w.shape[3], w.shape[:2], padding=padding)
    with torch.no_grad():
        layer.weight.copy_(tensor(w).permute(3, 2, 0, 1))
        layer.bias.copy_(tensor(b))
    return layer


def after_flattening(w: Any, height: int, width: int, channels: int) -> Any:
    """Weights for features that PyTorch flattens channels first, from weights for channels last."""
    return w.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(w.shape)


def images(x: Any, channels_last: bool) -> Any:
    """NHWC images as PyTorch has them, in either memory layout."""
    t = tensor(x).permute(0, 3, 1, 2)
    return t.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def adam(parameters: Any) -> torch.optim.Optimizer:
    """Adam at 1e-3, the fused one."""
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


def sgd(parameters: Any, momentum: float = 0.0) -> torch.optim.Optimizer:
    """Gradient descent at 0.01, the fused one."""
    return torch.optim.SGD(parameters, lr=0.01, momentum=momentum, fused=True)


def most_allocated(call: Callable[[], Any]) -> float:
    """The bytes that a call has allocated and not freed, at most, by PyTorch's profiler."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = itertools.accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))
    return float(max(held, default=0))


def _trainer(
    model: torch.nn.Module, loss: Callable[..., Any], optimizer: Callable[[Any], Any], batch: Sequence[Any],
    noisy: bool, steps: int, compiled: bool,
) -> Bench:  # fmt: skip
    model = copy.deepcopy(model)
    begin = copy.deepcopy(model.state_dict())
    opt = optimizer([p for p in model.parameters() if p.requires_grad])
    value_of = torch.compile(loss, dynamic=False) if compiled else loss

    def step(*xs: Any) -> Any:
        opt.zero_grad(set_to_none=True)
        value = value_of(model, *xs)
        value.backward()
        opt.step()
        return value.detach()

    def call() -> Any:
        if not steps:
            return step(*batch)
        return torch.stack([step(*(b[i] for b in batch)) for i in range(steps)])

    def reset() -> None:
        model.load_state_dict(begin)
        opt.state.clear()
        model.train(noisy)

    def results() -> Sequence[Any]:
        reset()
        model.eval()
        losses = [call().numpy() for _ in range(1 if steps else 3)]
        reset()
        return losses

    def peak() -> float:
        call()  # makes the optimizer's state, which outlives the step
        opt.zero_grad(set_to_none=True)  # a step begins without gradients: what it frees first would count as less than nothing
        return most_allocated(call)

    reset()
    return Bench(call, results, reset, peak)


def train(
    model: Callable[[bool], torch.nn.Module], loss: Callable[..., Any], optimizer: Callable[[Any], Any],
    batch: Callable[[bool], Sequence[Any]], noisy: bool = False, steps: int = 0, layouts: bool = False,
) -> Bench:  # fmt: skip
    """Training steps of `loss(model, *batch)`, in whichever way is faster.

    Args:
        model, batch: make the module and the tensors, for channels-last images or not.
        noisy: whether the module trains (else it evaluates). What is compared comes from steps without noise.
        steps: 0 for single steps, else the steps of one call.
        layouts: whether channels-last images are worth a try.
    """
    variants: dict[str, Callable[[], Bench]] = {}
    for channels_last in (False, True) if layouts else (False,):
        for compiled in COMPILED:
            name = f"{'compiled' if compiled else 'eager'}{', channels last' if channels_last else ''}"
            variants[name] = lambda last=channels_last, c=compiled: _trainer(  # type: ignore[misc]
                model(last), loss, optimizer, batch(last), noisy, steps, c
            )
    return _faster(variants)
