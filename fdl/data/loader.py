"""Batches: `Loader` cuts arrays into batches, in an order that a key decides; `split` parts a data set in two.

Both are functions of their arguments: the same key gives the same batches, epoch by epoch, however often and in
whatever order they are asked for.  Batches are NumPy arrays, gathered on demand: a jitted step reads them in place.

May import: random, tracer.  May be imported by: users.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

import fdl.random as random
from fdl.tracer.records import dataclass

from ..tracer import tree
from ..tracer.errors import DTypeError, ShapeError, at, user_source


def _examples(data: Any, caller: str) -> int:
    """The length of the first axis that all arrays of `data` share."""
    pairs, _ = tree.flatten_with_paths(data)
    if not pairs:
        raise ShapeError(f"{caller}: data holds no arrays: {data!r}.{at(user_source())}")
    first = ""
    count = 0
    for path, leaf in pairs:
        name = tree.path_str(path, "data")
        if not hasattr(leaf, "shape"):
            raise DTypeError(
                f"{caller}: {name} is a {type(leaf).__name__}, expected an array. Convert it with np.asarray.{at(user_source())}"
            )
        if not leaf.shape:
            raise ShapeError(
                f"{caller}: {name} is a scalar array, expected a first axis that counts the examples.{at(user_source())}"
            )
        if first and leaf.shape[0] != count:
            raise ShapeError(
                f"{caller}: the arrays differ in their number of examples: {first} has {count}, "
                f"{name} of shape {tuple(leaf.shape)} has {leaf.shape[0]}.{at(user_source())}"
            )
        first, count = first or name, leaf.shape[0]
    return count


def _take(data: Any, index: Any) -> Any:
    return tree.map(lambda leaf: np.asarray(leaf)[index], data)


@dataclass(frozen=True, slots=True)
class Loader:
    """The batches of a data set: an iterable of pytrees like `data`, of `batch_size` examples each.

    Iterating gives epoch 0; `epochs(n)` gives one iterable per epoch, each shuffled anew by `key`.

    Args:
        data: a pytree of arrays with a common first axis, such as `(images, labels)` or `fdl.data.mnist("train")`.
        batch_size: examples in a batch; the last batch of an epoch may be shorter, unless `drop_last`.
        key: an `fdl.random` key that decides every epoch's order.
        shuffle: None shuffles exactly when there is a key; True demands one; False keeps the order.
        drop_last: whether to leave out an epoch's last batch when it is shorter. Compiled steps like one shape.

    Raises: ShapeError, DTypeError or ValueError for data, sizes or keys that do not fit, naming the array.

    Example:
        >>> loader = Loader({"x": np.arange(10), "y": np.arange(10) % 2}, batch_size=4)
        >>> len(loader), [batch["x"].tolist() for batch in loader]
        (3, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])
    """

    data: Any
    batch_size: int
    key: Any = None
    shuffle: bool | None = None
    drop_last: bool = False

    def __post_init__(self) -> None:
        count = _examples(self.data, "Loader")
        try:
            size = operator.index(self.batch_size)
        except TypeError:
            raise DTypeError(f"Loader: batch_size must be an integer, got {self.batch_size!r}.{at(user_source())}") from None
        if size < 1:
            raise ValueError(f"Loader: batch_size must be at least 1, got {size}.{at(user_source())}")
        if self.drop_last and size > count:
            raise ValueError(
                f"Loader: batch_size {size} is above the {count} examples, and drop_last leaves no batch. Lower batch_size."
                f"{at(user_source())}"
            )
        if self.shuffle and self.key is None:
            raise ValueError(f"Loader: shuffle=True needs a key. Pass key=fdl.random.key(seed).{at(user_source())}")

    @property
    def examples(self) -> int:
        """How many examples the data have."""
        return _examples(self.data, "Loader")

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self.examples // self.batch_size if self.drop_last else -(-self.examples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        return self.epoch(0)

    def order(self, epoch: int = 0) -> np.ndarray[Any, Any] | None:
        """The examples' indices in the order of an epoch, an integer array `(examples,)`; None when they keep their own."""
        if self.shuffle is False or self.key is None:
            return None
        return np.asarray(random.permutation(random.fold_in(self.key, epoch), self.examples))

    def epoch(self, epoch: int) -> Iterator[Any]:
        """The batches of the given epoch, which counts from 0."""
        order = self.order(epoch)
        for i in range(len(self)):
            piece = slice(i * self.batch_size, (i + 1) * self.batch_size)
            yield _take(self.data, piece if order is None else order[piece])

    def epochs(self, count: int) -> Iterator[Iterator[Any]]:
        """The batches of `count` epochs, one iterable each.

        Example: `for epoch in loader.epochs(10): for batch in epoch: ...`
        """
        for i in range(count):
            yield self.epoch(i)

    def stack(self, epoch: int = 0) -> Any:
        """All full batches of an epoch as one pytree of arrays `(batches, batch_size, ...)`, for `fdl.scan` over an epoch.

        A shorter last batch is left out, since all have one shape.
        """
        full = self.examples // self.batch_size
        order = self.order(epoch)
        piece = slice(full * self.batch_size)
        chosen = _take(self.data, piece if order is None else order[piece])
        return tree.map(lambda leaf: leaf.reshape(full, self.batch_size, *leaf.shape[1:]), chosen)


def split(data: Any, fraction: float, key: Any = None) -> tuple[Any, Any]:
    """Two parts of a data set: the first with `fraction` of the examples, the second with the others.

    Args:
        data: a pytree of arrays with a common first axis.
        fraction: between 0 and 1, of the number of examples, rounded; both parts must get at least one example.
        key: an `fdl.random` key that decides who goes where; None cuts the data in the order they have.

    Raises: ShapeError, DTypeError or ValueError for data or a fraction that do not fit.

    Example:
        >>> [part.tolist() for part in split(np.arange(5), 0.6)]
        [[0, 1, 2], [3, 4]]
    """
    count = _examples(data, "split")
    if not 0 < fraction < 1:
        raise ValueError(
            f"split: fraction must be between 0 and 1, got {fraction!r}. Divide a number of examples by {count}.{at(user_source())}"
        )
    first = round(fraction * count)
    if not 0 < first < count:
        raise ValueError(f"split: a fraction of {fraction!r} of {count} examples leaves one part empty.{at(user_source())}")
    if key is None:
        return _take(data, slice(first)), _take(data, slice(first, count))
    order = np.asarray(random.permutation(key, count))
    return _take(data, order[:first]), _take(data, order[first:])
