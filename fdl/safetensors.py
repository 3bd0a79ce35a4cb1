"""The safetensors format: named arrays in one file, with text beside them, and no code.

A file is the header's length as a little-endian 64-bit integer, the header in JSON, and the arrays' bytes one after the
other, little-endian, last axis fastest.  The header maps each name to {"dtype", "shape", "data_offsets": [begin, end]},
and `__metadata__` to a map from strings to strings.  Source: github.com/huggingface/safetensors, README, "Format".

Reading trusts nothing: every size is checked against the file before memory is taken for it.

May import: tracer, files.  May be imported by: saving.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from collections.abc import Mapping
from io import BufferedReader
from typing import Any

import numpy as np

from .files import replacing
from .tracer import dtypes
from .tracer.errors import DTypeError, FdlError

NAMES: dict[str, dtypes.DType] = {
    "BOOL": dtypes.bool_, "U8": dtypes.uint8, "I8": dtypes.int8, "U16": dtypes.uint16, "I16": dtypes.int16,
    "F16": dtypes.float16, "BF16": dtypes.bfloat16, "U32": dtypes.uint32, "I32": dtypes.int32, "F32": dtypes.float32,
    "U64": dtypes.uint64, "I64": dtypes.int64, "F64": dtypes.float64, "C64": dtypes.complex64,
}  # fmt: skip
"""The format's name → the dtype."""

_NAME_OF = {dtype: name for name, dtype in NAMES.items()}
METADATA = "__metadata__"
_LONGEST_HEADER = 100_000_000  # the format's own limit


class FormatError(FdlError, ValueError):
    """A file is no safetensors file, or a truncated or damaged one; the message names the file and the fault."""


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray[Any, Any]], metadata: Mapping[str, str]) -> None:
    """Writes the named arrays and the metadata to `path`, replacing a file there in one step.

    Raises: DTypeError for a dtype that the format lacks (complex128); OSError of the file system.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)}
    # The widest elements come first, so that every array starts at a multiple of its element's size.
    names = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    begin = 0
    for name in names:
        array = arrays[name]
        if array.dtype not in _NAME_OF:
            raise DTypeError(f"the safetensors format has no arrays of dtype {array.dtype.name} ({name!r}).")
        header[name] = {
            "dtype": _NAME_OF[array.dtype], "shape": list(array.shape), "data_offsets": [begin, begin + array.nbytes],
        }  # fmt: skip
        begin += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in names:
            file.write(raw_bytes(arrays[name]).data)


def raw_bytes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bytes of `array` as the format has them, a uint8 array; a view where possible."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return (flat if sys.byteorder == "little" else flat.byteswap()).view(np.uint8)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """The arrays of a file by name, each with memory of its own, and the metadata.

    Raises: FormatError for anything that is no intact safetensors file; OSError of the file system.
    """
    where = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header, start = _header(file, size, where)
        metadata = header.pop(METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise FormatError(f"{where}: damaged header: {METADATA} is not a map from strings to strings.")
        entries = sorted((_entry(name, entry, where) for name, entry in header.items()), key=lambda e: e[3])
        end = 0
        for name, _, _, begin, stop in entries:
            if begin != end:
                raise FormatError(f"{where}: damaged header: {name!r} starts at byte {begin} of the data, expected {end}.")
            end = stop
        if size != start + end:
            fault = "truncated" if size < start + end else "too long"
            raise FormatError(f"{where}: {fault}: its header describes {start + end} bytes, but the file has {size}.")
        arrays = {name: _array(file, name, dtype, shape, stop - begin, where) for name, dtype, shape, begin, stop in entries}
    return arrays, metadata


def _header(file: BufferedReader, size: int, where: str) -> tuple[dict[str, Any], int]:
    """The header, and the position of the data."""
    if size < 8:
        raise FormatError(f"{where}: {size} bytes are too few for a safetensors file.")
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST_HEADER:
        raise FormatError(f"{where}: not a safetensors file: its first 8 bytes ask for a header of {length} bytes.")
    if 8 + length > size:
        raise FormatError(f"{where}: truncated, or not a safetensors file: a header of {length} bytes in a file of {size}.")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as fault:
        raise FormatError(f"{where}: not a safetensors file, or damaged: its header is no JSON: {fault}") from None
    if not isinstance(header, dict):
        raise FormatError(f"{where}: not a safetensors file: its header is a JSON {type(header).__name__}, expected an object.")
    return header, 8 + length


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _entry(name: str, entry: Any, where: str) -> tuple[str, dtypes.DType, tuple[int, ...], int, int]:
    """An array's name, dtype, shape, and first and last byte in the data."""
    match entry:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise FormatError(f"{where}: damaged header: the entry of {name!r} lacks its dtype, shape or data_offsets.")
    if code not in NAMES:
        raise FormatError(f"{where}: {name!r} has dtype {code}, expected one of {', '.join(NAMES)}.")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise FormatError(f"{where}: damaged header: {name!r} has shape {shape}.")
    nbytes = math.prod(shape) * NAMES[code].itemsize
    if begin < 0 or end - begin != nbytes:
        raise FormatError(f"{where}: damaged header: {name!r} of {nbytes} bytes is said to lie at {begin} to {end}.")
    return name, NAMES[code], tuple(shape), begin, end


def _array(
    file: BufferedReader, name: str, dtype: dtypes.DType, shape: tuple[int, ...], nbytes: int, where: str
) -> np.ndarray[Any, Any]:
    buffer = np.empty(nbytes, np.uint8)
    if file.readinto(buffer.data) != nbytes:
        raise FormatError(f"{where}: truncated while it was read: {name!r} lacks bytes.")
    if dtype == dtypes.bool_ and (buffer > 1).any():
        # A bool whose byte is neither 0 nor 1 makes compiled code do anything.
        raise FormatError(f"{where}: damaged data: {name!r} is a bool array with bytes other than 0 and 1.")
    array = buffer.view(dtype)
    return (array if sys.byteorder == "little" else array.byteswap()).reshape(shape)
