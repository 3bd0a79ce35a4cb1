"""Arrays to and from files, and how they are printed, under NumPy's names: its own files, and its settings."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import as_numpy
from fdl.tracer.trace import check_array

from .promote import as_operand, asarray

get_printoptions, set_printoptions, printoptions = np.get_printoptions, np.set_printoptions, np.printoptions

File = str | os.PathLike[str] | BinaryIO


def _numpy(what: str, x: Any) -> np.ndarray:
    value = as_operand(x, what)
    check_array(value, what)
    return np.asarray(as_numpy(value) if not isinstance(value, (bool, int, float, complex)) else asarray(value).data)


def save(file: File, arr: Any, allow_pickle: bool = True) -> None:
    """Writes an array to a file in NumPy's .npy format.

    `fdl.save` writes pytrees. `allow_pickle` is accepted as NumPy has it: arrays of numbers are never pickled.
    """
    np.save(file, _numpy("save: the array", arr))


def savez(file: File, *args: Any, **kwds: Any) -> None:
    """Writes several arrays to one file in NumPy's .npz format, under the names arr_0, arr_1, ... or their keywords."""
    named: dict[str, Any] = {k: _numpy(f"savez: {k}", x) for k, x in kwds.items()}
    np.savez(file, *(_numpy(f"savez: array {i}", x) for i, x in enumerate(args)), **named)


def load(file: File) -> Any:
    """The array that `save` wrote, or a dict of the arrays that `savez` wrote.

    Nothing in a file is executed: pickled objects are refused.

    Example:
        >>> import io
        >>> f = io.BytesIO()
        >>> save(f, np.arange(3.0)); _ = f.seek(0)
        >>> load(f).tolist()
        [0.0, 1.0, 2.0]
    """
    found = np.load(file, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return asarray(_known(found))
    with found:
        return {name: asarray(_known(found[name])) for name in found.files}


def _known(x: np.ndarray) -> np.ndarray:
    """`x`; bfloat16 where the file, whose format does not know it, has two bytes without a meaning."""
    return x.view(dtypes.bfloat16) if x.dtype.kind == "V" and x.dtype.itemsize == 2 else x


def fromfile(file: File, dtype: Any = np.float64, count: int = -1, sep: str = "", offset: int = 0) -> Any:
    """The array of the numbers in a file: bytes, or text where a separator is given.

    Args:
        dtype: of the numbers in the file.
        count: how many, -1 for all.
        offset: how many bytes to skip.
    """
    return asarray(np.fromfile(file, dtypes.of(dtype), count, sep, offset=offset))


def iterable(y: Any) -> bool:
    """Whether one can iterate over `y`: 0-d arrays and numbers are not iterable.

    Example:
        >>> iterable([1]), iterable(np.float32(1))
        (True, False)
    """
    return bool(np.iterable(y))


__all__ = [
    "fromfile", "get_printoptions", "iterable", "load", "printoptions", "save", "savez", "set_printoptions",
]  # fmt: skip
