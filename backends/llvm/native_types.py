"""Python types made at run time of compiled functions, by CPython's `PyType_FromSpec`.

Imported by `callpath_native`.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Mapping
from typing import Any


class Slot(enum.IntEnum):
    """Slot numbers of the stable ABI (typeslots.h)."""

    TP_CALL = 50
    TP_CLEAR = 51
    TP_DEALLOC = 52
    TP_DESCR_GET = 54
    TP_DOC = 56
    TP_METHODS = 64
    TP_NEW = 65
    TP_TRAVERSE = 71
    TP_MEMBERS = 72
    TP_GETSET = 73


class Flag(enum.IntFlag):
    """Flags of types (object.h)."""

    DISALLOW_INSTANTIATION = 1 << 7
    BASETYPE = 1 << 10
    HAVE_VECTORCALL = 1 << 11
    HAVE_GC = 1 << 14
    METHOD_DESCRIPTOR = 1 << 17
    DEFAULT = 1 << 18


# What members and methods take (structmember.h, methodobject.h).
_T_PYSSIZET, _READONLY, _METH_NOARGS = 19, 1, 4


class _Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("function", ctypes.c_void_p)]


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t), ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]  # fmt: skip


class _Method(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


class _Getset(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("get", ctypes.c_void_p), ("set", ctypes.c_void_p), ("doc", ctypes.c_char_p),
        ("closure", ctypes.c_void_p),
    ]  # fmt: skip


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("basicsize", ctypes.c_int), ("itemsize", ctypes.c_int), ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    ]  # fmt: skip


def members(offsets: Mapping[bytes, int]) -> Any:
    """A table of read-only members of the type Py_ssize_t, by name; ends with a row of zeros, as each table does."""
    return (_Member * (len(offsets) + 1))(*[_Member(n, _T_PYSSIZET, at, _READONLY, None) for n, at in offsets.items()])


def methods(functions: Mapping[bytes, int]) -> Any:
    """A table of methods without arguments, by name: each the address of a function of `self` and a null pointer."""
    return (_Method * (len(functions) + 1))(*[_Method(n, address, _METH_NOARGS, None) for n, address in functions.items()])


def getsets(accessors: Mapping[bytes, tuple[int, int]]) -> Any:
    """A table of attributes, by name: the addresses of their getter and setter."""
    return (_Getset * (len(accessors) + 1))(*[_Getset(n, get, set_, None, None) for n, (get, set_) in accessors.items()])


def make_type(name: bytes, basicsize: int, flags: Flag, slots: Mapping[Slot, Any]) -> type:
    """A heap type. `slots`: addresses of functions, and tables, which live as long as the process: the type points into them."""
    rows = [_Slot(slot, v if isinstance(v, int) else ctypes.addressof(v)) for slot, v in slots.items()]
    table = (_Slot * (len(rows) + 1))(*rows)
    spec = _Spec(name, basicsize, 0, Flag.DEFAULT | flags, table)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("PyType_FromSpec", ctypes.pythonapi))
    made: type = make(ctypes.addressof(spec))
    for kept in (spec, table, *[v for v in slots.values() if not isinstance(v, int)]):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    return made
