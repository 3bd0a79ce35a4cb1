"""MNIST: 70,000 handwritten digits, from the checkout, a cache folder, or a mirror.

Wherever the files come from, their content is checked against the digests below, so the data are the original ones
or there is an error.  Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86(11), 1998.

May import: tracer, idx, download.  May be imported by: users.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from fdl.tracer.records import dataclass

from ..tracer import dtypes
from ..tracer.errors import at, user_source
from .idx import DataError, parse_idx, unpacked
from .remote import Remote, fault_of

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

FILES = {
    ("train", "images"): Remote(
        "train-images-idx3-ubyte.gz", 47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    ("train", "labels"): Remote(
        "train-labels-idx1-ubyte.gz", 60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    ("test", "images"): Remote(
        "t10k-images-idx3-ubyte.gz", 7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    ("test", "labels"): Remote(
        "t10k-labels-idx1-ubyte.gz", 10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
"""(split, part) → the file, with its size and SHA-256 when unpacked."""

CHECKOUT = Path(__file__).resolve().parents[2] / "examples" / "data" / "mnist"
"""Where a checkout of fdl keeps the files; no such folder in an installed fdl."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images and their labels: `images` (n, 28, 28, 1), `labels` (n,) int32. A pytree, whose first axis counts examples."""

    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Dataset:
        """The examples that a slice, an integer array or a mask picks.

        Example: `train[:1000]`, `train[train.labels == 3]`.
        """
        if np.ndim(index) == 0 and not isinstance(index, slice):
            raise TypeError(
                f"a Dataset is indexed by a slice, an array of integers or a mask, not by {index!r}.{at(user_source())}"
            )
        return Dataset(self.images[index], self.labels[index])


class Mnist(NamedTuple):
    """Both parts of MNIST: `train`, 60,000 examples, and `test`, 10,000."""

    train: Dataset
    test: Dataset


@overload
def mnist(split: None = None, *, dtype: Any = None, cache: str | os.PathLike[str] | None = None) -> Mnist: ...


@overload
def mnist(split: Literal["train", "test"], *, dtype: Any = None, cache: str | os.PathLike[str] | None = None) -> Dataset: ...


def mnist(
    split: Literal["train", "test"] | None = None, *, dtype: Any = None, cache: str | os.PathLike[str] | None = None
) -> Mnist | Dataset:
    """MNIST's images and labels: both parts, or the one that `split` names.

    The files are taken from a checkout's examples/data/mnist, else from the cache folder, else downloaded into it.

    Args:
        split: "train" (60,000 examples), "test" (10,000), or None for both, as a named tuple.
        dtype: of the images: None or uint8 gives 0 to 255; a floating-point type gives 0 to 1, that is, value / 255.
        cache: the folder to look in (alone) and to download into. By default $FDL_DATA_DIR/mnist, else
            $XDG_CACHE_HOME/fdl/mnist, else ~/.cache/fdl/mnist.

    Raises: DataError when the files are nowhere and cannot be downloaded; it lists where to put which files.

    Example:
        >>> train, test = mnist(dtype="float32")
        >>> train.images.shape, train.labels.shape
        ((60000, 28, 28, 1), (60000,))
    """
    if split not in (None, "train", "test"):
        raise ValueError(f'mnist: split must be "train", "test" or None for both, got {split!r}.{at(user_source())}')
    image_dtype = dtypes.uint8 if dtype is None else dtypes.of(dtype)
    if image_dtype != dtypes.uint8 and not dtypes.is_float(image_dtype):
        raise TypeError(f"mnist: dtype must be uint8 or a floating-point type, got {image_dtype.name}.{at(user_source())}")
    folders = list(_folders(cache))
    if split is not None:
        return _part(split, image_dtype, folders)
    return Mnist(_part("train", image_dtype, folders), _part("test", image_dtype, folders))


def _folders(cache: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The folders to look in; downloads go to the last."""
    if cache is not None:
        yield Path(cache).expanduser()
        return
    if CHECKOUT.is_dir():
        yield CHECKOUT
    named = os.environ.get("FDL_DATA_DIR")
    base = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fdl"
    yield base.expanduser() / "mnist"


def _part(split: str, dtype: dtypes.DType, folders: list[Path]) -> Dataset:
    images = _array(FILES[split, "images"], folders)[..., np.newaxis]
    labels = _array(FILES[split, "labels"], folders).astype(np.int32)
    if dtypes.is_float(dtype):
        # The division is done in float32 (float64 where asked), and rounded once more for the narrow types.
        wide = np.float64 if dtype == dtypes.float64 else np.float32
        images = np.divide(images, wide(255), dtype=wide).astype(dtype, copy=False)
    images.flags.writeable = labels.flags.writeable = False
    return Dataset(images, labels)


def _plain(error: DataError) -> str:
    """What an error says, without the line it was raised for."""
    return str(error).partition("\n  at ")[0]


def _array(remote: Remote, folders: list[Path]) -> np.ndarray[Any, Any]:
    """The array of one file, from the first folder that has it intact, else downloaded into the last."""
    plain = remote.name.removesuffix(".gz")
    damaged = []
    for path in (folder / name for folder in folders for name in (remote.name, plain)):
        if not path.is_file():
            continue
        try:
            content = unpacked(path)
            fault = fault_of(remote, content)
        except DataError as error:
            fault = _plain(error).removeprefix(f"{path}: ")
        if not fault:
            return parse_idx(content, str(path))
        damaged.append(f"{path} is damaged: {fault}")
    if damaged:
        warnings.warn("; ".join([*damaged, f"downloading {remote.name} anew"]), stacklevel=4)
    try:
        from .download import fetch

        path = fetch(remote, MIRRORS, folders[-1])
    except DataError as error:
        names = "".join(f"\n  {file.name}" for file in FILES.values())
        looked = "".join(f"\n  {folder}" for folder in folders)
        notes = "".join(f"\n{note}" for note in damaged)
        raise DataError(
            f"MNIST: {_plain(error)}\nLooked in:{looked}{notes}\nWithout a network, put these four files of the original MNIST "
            f"(packed or not) into {folders[-1]}, or pass their folder as mnist(cache=...):{names}{at(user_source())}"
        ) from None
    return parse_idx(unpacked(path), str(path))
