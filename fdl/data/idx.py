"""The IDX format, in which MNIST and its kin are distributed: a header of sizes, then big-endian numbers.

A file is two zero bytes, a byte for the element type, a byte for the number of axes, each axis as a big-endian
32-bit size, then the elements with the last axis fastest.  Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST
database of handwritten digits", section "File formats".

May import: tracer.  May be imported by: the rest of `fdl.data`.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..tracer.errors import FdlError, at, user_source

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""An IDX file's type byte → the NumPy dtype of its elements."""

GZIP_MAGIC = b"\x1f\x8b"


class DataError(FdlError, ValueError):
    """A data file is missing or damaged, or could not be fetched; the message names the file and says what to do."""


def parse_idx(content: bytes, name: str = "IDX data") -> np.ndarray[Any, Any]:
    """The array that the bytes of an IDX file hold, read-only, in native byte order.

    Args:
        content: the whole file, unpacked.
        name: what errors call it.

    Raises: DataError that names the file and the fault.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]))
        array([[7, 8, 9]], dtype=uint8)
    """
    if len(content) < 4:
        raise DataError(f"{name}: {len(content)} bytes are too few for an IDX header of at least 4.{at(user_source())}")
    zero, code, axes = struct.unpack_from(">HBB", content)
    if zero != 0 or code not in TYPES:
        known = ", ".join(f"0x{c:02x}" for c in TYPES)
        raise DataError(
            f"{name}: not an IDX file: it starts with {content[:4].hex(' ')}, expected 00 00, "
            f"a type byte (one of {known}), and the number of axes.{at(user_source())}"
        )
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError(
            f"{name}: truncated: its {axes} sizes need a header of {start} bytes, but the file has {len(content)}.{at(user_source())}"
        )
    shape = struct.unpack_from(f">{axes}I", content, 4)
    dtype = np.dtype(TYPES[code])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "too long"
        raise DataError(
            f"{name}: {fault}: {shape} of {dtype.name} takes {expected} bytes, but the file has {len(content)}.{at(user_source())}"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    array.flags.writeable = False
    return array


def read_idx(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """The array in an IDX file, packed with gzip or not, read-only.

    Raises: DataError that names the file and the fault; FileNotFoundError.
    """
    return parse_idx(unpacked(path), os.fspath(path))


def unpacked(path: str | os.PathLike[str]) -> bytes:
    """The content of a file, unpacked if it is gzip's (told by its first bytes, not by its name).

    Raises: DataError for a damaged gzip file.
    """
    content = Path(path).read_bytes()
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as fault:
        raise DataError(f"{os.fspath(path)}: damaged gzip file of {len(content)} bytes: {fault}{at(user_source())}") from None
