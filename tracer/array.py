"""`Array`: an immutable array of concrete values, and `ArrayBase`, what it shares with tracers.

An `Array` owns a private, read-only, C-contiguous ndarray, or the elements of one that is made when somebody asks for
it.  Operators are installed on `ArrayBase` by `fdl.numpy`, so that an expression means the same for arrays and tracers.

Invariant: nobody else can write to an Array's memory.  May be imported by: everything after `ir`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes
from .errors import DonatedError, DTypeError, at, user_source
from .ir import Type


class ArrayBase:
    """What arrays and tracers have in common. Operators and array methods are added by `fdl.numpy`."""

    __slots__ = ()
    __array_priority__ = 1000
    type: Type

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return self.type.shape

    @property
    def dtype(self) -> dtypes.DType:
        """Element type, a `numpy.dtype`."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.type.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.type.size

    @property
    def device(self) -> str:
        """The name of the device that holds the memory."""
        return "cpu"

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def weak_type(self) -> bool:
        """Whether the value came from Python scalars only, so that it adapts to the dtype of other operands."""
        return self.type.weak

    def __hash__(self) -> int:
        raise TypeError(
            f"unhashable: an array, of type {self.type.strong()}, is compared element by element, and cannot be the key of a dict or "
            f"a member of a set. Use a name, a number or a tuple of numbers as the key.{at(user_source())}"
        )

    def __len__(self) -> int:
        if not self.type.shape:
            raise TypeError(
                f"len() of a 0-d array of type {self.type.strong()}: it has no axes. Its .size is 1.{at(user_source())}"
            )
        return self.type.shape[0]


class Array(ArrayBase):
    """An immutable array on a device. Made by `fdl.numpy` functions, `fdl.numpy.asarray`, and compiled calls."""

    __slots__ = ("__weakref__", "_consumed", "_stored", "_weak")

    _stored: Any
    """The ndarray, None when a call has consumed it, or what has its elements and an `array()` that makes the ndarray."""
    _weak: bool
    _consumed: str | None

    def __init__(self, data: Any, weak: bool = False) -> None:
        """Takes ownership of `data`: an ndarray that nobody else will write to. Users call `fdl.numpy.asarray`."""
        if type(data) is not np.ndarray:
            data = np.asarray(data)
        _known(data.dtype)
        if not data.flags.c_contiguous or not data.flags.aligned:
            data = np.array(data, order="C", copy=True)
        if data.flags.writeable:
            data.flags.writeable = False
        self._stored, self._weak, self._consumed = data, weak, None

    @property
    def data(self) -> np.ndarray[Any, Any]:
        """The read-only ndarray behind this array; raises DonatedError when a call has consumed it."""
        stored = self._stored
        return stored if type(stored) is np.ndarray else self._made()

    def _made(self) -> np.ndarray[Any, Any]:
        """The ndarray, made of the elements that a call has left in an object of its own."""
        stored = self._stored
        if stored is None:
            raise DonatedError(
                f"this array was donated and its memory reused by {self._consumed}. "
                f"Keep the call's result instead, or drop donate_argnums there.{at(user_source())}"
            )
        if not isinstance(stored, np.ndarray):
            self._stored = stored = stored.array()
        return stored

    @property
    def type(self) -> Type:  # type: ignore[override]
        d = self.data
        return Type(d.shape, d.dtype, self._weak)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> dtypes.DType:
        return self.data.dtype

    def is_deleted(self) -> bool:
        """Whether a call has consumed this array."""
        return self._stored is None

    def block_until_ready(self) -> Array:
        """This array: computations on the CPU have ended when their call returns."""
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        d = self.data
        if dtype is not None and np.dtype(dtype) != d.dtype:
            if copy is False:
                raise ValueError(
                    f"cannot convert {d.dtype} to {dtype} without a copy. Leave copy=False out.{at(user_source())}"
                )
            return d.astype(dtype)
        return d.copy() if copy else d

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        """The elements as a DLPack capsule: the memory itself, read-only, for a consumer that knows of that (1.0), else a copy.

        Raises: BufferError where `copy` is False and a copy is needed, or `dl_device` is not the CPU.
        """
        if dl_device is not None and tuple(int(n) for n in dl_device) != self.__dlpack_device__():
            raise BufferError(f"an array on the CPU cannot be put on DLPack device {tuple(dl_device)}.{at(user_source())}")
        knows_read_only = max_version is not None and tuple(max_version) >= (1, 0)
        if copy is False and not knows_read_only:
            raise BufferError(
                "__dlpack__: copy=False for a consumer that knows no read-only flag (max_version below 1.0): it could write to an "
                f"array that is immutable. Leave copy out.{at(user_source())}"
            )
        d = self.data if knows_read_only and not copy else self.data.copy()
        return d.__dlpack__(max_version=max_version) if max_version is not None else d.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        """The DLPack device: (1, 0), the CPU."""
        return (1, 0)

    def __buffer__(self, flags: int) -> memoryview:
        return self.data.data

    def item(self, *index: int) -> Any:
        """The element at `index` (the only element of an array of size 1) as a Python scalar."""
        return self.data.item(*index)

    def tolist(self) -> Any:
        """The elements as nested lists of Python scalars."""
        return self.data.tolist()

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth value of an array of shape {self.shape} is ambiguous. Use .any() or .all(), and & or | instead of `and` "
                f"or `or`.{at(user_source())}"
            )
        return bool(self.data.item())

    def _scalar(self, what: str) -> Any:
        if self.data.ndim:
            raise TypeError(
                f"{what}() takes a 0-d array; this one is {self.type}. Index it, or use .item().{at(user_source())}"
            )
        return self.data.item()

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    def __index__(self) -> int:
        if self.data.ndim or self.data.dtype.kind not in "iu":
            raise TypeError(f"only a 0-d integer array is an index; this one is {self.type}.{at(user_source())}")
        return int(self.data)

    def __format__(self, spec: str) -> str:
        return format(self.data.item(), spec) if spec and self.data.ndim == 0 else format(str(self), spec)

    def __repr__(self) -> str:
        if self._stored is None:
            return f"Array(donated to {self._consumed})"
        body = np.array2string(self.data, separator=", ", prefix="Array(")
        return f"Array({body}, dtype={self.data.dtype.name}{', weak_type=True' if self._weak else ''})"

    def __str__(self) -> str:
        return str(self.data)

    def __copy__(self) -> Array:
        return self

    def __deepcopy__(self, memo: Any) -> Array:
        return Array(private(self.data), self._weak)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.data.tobytes(), dtypes.SHORT[self.data.dtype], self.data.shape, self._weak)


def _rebuild(data: bytes, dtype: str, shape: tuple[int, ...], weak: bool) -> Array:
    return Array(private(np.frombuffer(data, dtypes.FROM_SHORT[dtype]).reshape(shape)), weak)


EMPTY: Callable[[tuple[int, ...], dtypes.DType], np.ndarray[Any, Any]] = np.empty
"""Gives the memory of an array that is to be filled."""


def install(empty: Callable[[tuple[int, ...], dtypes.DType], np.ndarray[Any, Any]]) -> None:
    """Fills the slot: where the memory of arrays comes from."""
    global EMPTY
    EMPTY = empty


LARGE = 1 << 19
"""Bytes from which on a result of NumPy's is worth a copy to memory where kernels read it better."""


def is_placed(data: np.ndarray[Any, Any]) -> bool:
    """Whether an Array may own `data` as it is: it is nobody else's, and not large on a misaligned address."""
    own = data.base is None and data.flags.owndata and data.flags.writeable
    return own and (data.nbytes < LARGE or data.ctypes.data % 64 == 0)


def private(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy of `data` for an Array to own: C-contiguous, in native byte order, and where kernels read it best."""
    copy = EMPTY(data.shape, _known(data.dtype.newbyteorder("=")))
    copy[...] = data
    return copy


def _known(dtype: dtypes.DType) -> dtypes.DType:
    """The dtype of fdl's that `dtype` is equal to."""
    if dtype not in dtypes.SHORT:
        raise DTypeError(
            f"fdl has no arrays of dtype {dtype}. Expected one of {', '.join(d.name for d in dtypes.ALL)}.{at(user_source())}"
        )
    return dtypes.FROM_SHORT[dtypes.SHORT[dtype]]


def own(value: Any) -> Array:
    """An Array with `value`'s elements, copied unless it is an Array already. `value`: Array, ndarray or scalar."""
    if isinstance(value, Array):
        return value
    scalar = dtypes.scalar_type(value)
    if scalar is not None:
        return Array(_of_scalar(value, scalar[0]), scalar[1])
    return Array(private(np.asarray(value)))


def as_numpy(value: Any) -> np.ndarray[Any, Any]:
    """The elements of an Array, ndarray, or scalar as an ndarray, without a copy where possible; not to be written to."""
    if isinstance(value, Array):
        return value.data
    if isinstance(value, np.ndarray):
        return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    scalar = dtypes.scalar_type(value)
    if scalar is None:
        raise DTypeError(f"not an array: {value!r} of type {type(value).__name__}.{at(user_source())}")
    return _of_scalar(value, scalar[0])


def _of_scalar(value: Any, dtype: dtypes.DType) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):  # a Python float beyond float32 is an infinity
        return np.asarray(value, dtype)
