"""What convolution and pooling share: window parameters as tuples, padding by name, and leading batch axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fdl.numpy import reshape
from fdl.tracer.errors import ShapeError, at, user_source

Sizes = int | tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Padding = str | int | Sequence[int | tuple[int, int]]


def sizes(caller: str, what: str, value: Sizes, rank: int | None = None) -> tuple[int, ...]:
    """A parameter with one entry for each spatial axis; an int stands for all (two, where nothing else tells)."""
    out = (value,) * (rank or 2) if isinstance(value, int) else tuple(value)
    if (rank is not None and len(out) != rank) or not out or any(n < 1 for n in out):
        count = "" if rank is None else f" {rank}"
        raise ShapeError(
            f"{caller}: {what}={value!r}: expected a positive int, or a tuple of{count} positive ints.{at(user_source())}"
        )
    return out


def static_padding(caller: str, padding: Padding) -> Any:
    """Padding in a hashable form, for a layer's field."""
    if isinstance(padding, str) and padding not in ("SAME", "VALID"):
        raise ShapeError(
            f'{caller}: padding={padding!r}: expected "SAME", "VALID", an int, or (low, high) pairs.{at(user_source())}'
        )
    if isinstance(padding, (str, int)):
        return padding
    return tuple(p if isinstance(p, int) else tuple(p) for p in padding)


def pairs(
    caller: str,
    padding: Padding,
    spatial: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> Pairs:
    """The (low, high) padding of each spatial axis.

    "VALID" is none.  "SAME" makes the output ⌈n / stride⌉ long, with the odd zero after.  An int pads all sides of all axes,
    an int for an axis both its sides.
    """
    if padding == "VALID":
        return ((0, 0),) * len(window)
    if padding == "SAME":
        out = []
        for n, k, s, d in zip(spatial, window, strides, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            out.append((total // 2, total - total // 2))
        return tuple(out)
    entries = (padding,) * len(window) if isinstance(padding, int) else padding
    fits = not isinstance(entries, str) and len(entries) == len(window)
    both = tuple((p, p) if isinstance(p, int) else tuple(p) for p in entries) if fits else ()
    if not both or any(len(p) != 2 for p in both):
        raise ShapeError(
            f'{caller}: padding={padding!r}: expected "SAME", "VALID", an int, or {len(window)} (low, high) pairs.{at(user_source())}'
        )
    return both  # type: ignore[return-value]


def merge_batch(x: Any, shape: tuple[int, ...], example_axes: int) -> tuple[Any, tuple[int, ...]]:
    """`x` with its batch axes merged into one, and those axes' sizes."""
    lead = shape[: len(shape) - example_axes]
    return (x if len(lead) == 1 else reshape(x, (math.prod(lead), *shape[len(lead) :]))), lead


def split_batch(y: Any, lead: tuple[int, ...]) -> Any:
    """`y` with its first axis cut into batch axes again."""
    return y if len(lead) == 1 else reshape(y, (*lead, *y.shape[1:]))
