"""`frompyfunc`: a function of scalars as an object that also reduces, accumulates, and updates elements, as NumPy's ufuncs do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.trace import bind, record
from fdl.tracer.transforms.scan import scan_p

from .functional import vectorize
from .indexing import getitem
from .promote import as_operand, asarray, broadcast_to, canonical_axis, to_dtype


class ufunc:
    """A function of scalars that broadcasts its arguments, with NumPy's methods for functions of two arguments.

    Attributes:
        nin, nout, nargs: how many arguments and results there are, and both together.
        identity: what a reduction over nothing gives; None where that is an error.

    The methods run as loops over elements, in order, so that the function need not be associative.
    """

    __slots__ = ("__name__", "_call", "identity", "nargs", "nin", "nout")

    def __init__(self, func: Callable[..., Any], /, nin: int, nout: int, *, identity: Any = None) -> None:
        if nin < 1 or nout < 1:
            raise ShapeError(f"frompyfunc: nin={nin}, nout={nout}: expected at least 1 of each.{at(user_source())}")
        self.nin, self.nout, self.nargs, self.identity = nin, nout, nin + nout, identity
        self.__name__ = getattr(func, "__name__", "f")
        self._call = vectorize(func)

    def __repr__(self) -> str:
        return f"<fdl.numpy.ufunc {self.__name__!r}>"

    def __call__(self, *args: Any) -> Any:
        """The function of each element of the arguments, broadcast together."""
        if len(args) != self.nin:
            raise TypeError(f"{self.__name__}: expected {self.nin} arguments, got {len(args)}.{at(user_source())}")
        out = self._call(*args)
        if self.nout > 1 and (not isinstance(out, tuple) or len(out) != self.nout):
            raise TypeError(
                f"{self.__name__}: expected a tuple of {self.nout} results, got {type(out).__name__}.{at(user_source())}"
            )
        return out

    def _binary(self, method: str) -> None:
        if (self.nin, self.nout) != (2, 1):
            raise TypeError(
                f"{self.__name__}.{method}: needs a function of two arguments with one result, this one has {self.nin} and {self.nout}."
                f"{at(user_source())}"
            )

    def reduce(
        self, a: Any, axis: int | None = 0, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None
    ) -> Any:
        """The elements of `a` along `axis` (None: all) combined one after another: f(f(a0, a1), a2), ...

        Args:
            initial: what the combination begins with; needed with `where`, unless the function has an identity.
            where: booleans that broadcast with `a`: which elements take part.

        Raises: ShapeError where there is nothing to combine, and no identity.

        Example:
            >>> frompyfunc(lambda x, y: 2 * x + y, 2, 1).reduce(np.array([1.0, 2.0, 3.0])).tolist()
            11.0
        """
        self._binary("reduce")
        x = self._operand(a, dtype)
        ndim = type_of(x).ndim
        mask = None if where is None else broadcast_to(asarray(where, dtypes.bool_), type_of(x).shape)
        if axis is None:
            flat = (type_of(x).size,)
            x, mask = s.reshape(x, flat), None if mask is None else s.reshape(mask, flat)
        k = 0 if axis is None else canonical_axis(f"{self.__name__}.reduce", axis, ndim)
        rows = e.move_axis(x, k, 0)
        start = self.identity if initial is None else initial
        n = type_of(rows).shape[0]
        if start is None and (n == 0 or mask is not None):
            raise ShapeError(
                f"{self.__name__}.reduce: an empty or masked reduction needs `initial`: the function has no identity.{at(user_source())}"
            )
        carry: Any
        if start is None:
            carry, rows = getitem(rows, 0), s.slice_axis(rows, 0, 1, n)
        else:
            first = to_dtype(as_operand(start), type_of(x).dtype)
            carry = broadcast_to(asarray(first), type_of(rows).shape[1:])
        masks = [] if mask is None else [e.move_axis(mask, k, 0)]
        y = self._fold(carry, [rows, *masks])[0]
        if not keepdims:
            return y
        shape = (1,) * ndim if axis is None else (*type_of(y).shape[:k], 1, *type_of(y).shape[k:])
        return s.reshape(y, shape)

    def _operand(self, a: Any, dtype: Any) -> Any:
        x = asarray(a, dtype)
        # The results' dtype is what the function gives when it is given two of them.
        kept = type_of(self._call(*(s.broadcast(e.scalar_like(0, x), (1,), ()) for _ in range(2)))).dtype
        return to_dtype(x, kept) if dtype is None else x

    def _fold(self, carry: Any, rows: list[Any]) -> tuple[Any, Any]:
        """The last combination of `carry` with each row, and all of them."""
        t = type_of(carry)

        def step(c: Any, row: Any, *mask: Any) -> list[Any]:
            new = self._call(c, row)
            if type_of(new).shape != t.shape or type_of(new).dtype != t.dtype:
                raise DTypeError(
                    f"{self.__name__}: gives {type_of(new).strong()} for two arguments of type {t.strong()}: it cannot be repeated."
                    f"{at(user_source())}"
                )
            if mask:
                new = e.select(mask[0], new, c)
            new = to_dtype(new, t.dtype, t.weak)
            return [new, new]

        types = [type_of(r).with_shape(type_of(r).shape[1:]) for r in rows]
        body, captured = record(step, [t, *types], self.__name__, "fold")
        n = type_of(rows[0]).shape[0]
        last, each = bind(
            scan_p, *captured, carry, *rows, body=body, n_consts=len(captured), n_carry=1, length=n, reverse=False
        )
        return last, each

    def accumulate(self, a: Any, axis: int = 0, dtype: Any = None) -> Any:
        """All partial combinations along `axis`: a0, f(a0, a1), f(f(a0, a1), a2), ...

        Example:
            >>> frompyfunc(lambda x, y: 2 * x + y, 2, 1).accumulate(np.array([1.0, 2.0, 3.0])).tolist()
            [1.0, 4.0, 11.0]
        """
        self._binary("accumulate")
        x = self._operand(a, dtype)
        k = canonical_axis(f"{self.__name__}.accumulate", axis, type_of(x).ndim)
        rows = e.move_axis(x, k, 0)
        n = type_of(rows).shape[0]
        if n == 0:
            return x
        first = getitem(rows, 0)
        rest = self._fold(first, [s.slice_axis(rows, 0, 1, n)])[1]
        whole = s.concatenate([s.reshape(first, (1, *type_of(first).shape)), rest], 0)
        return e.move_axis(whole, 0, k)

    def outer(self, a: Any, b: Any, /) -> Any:
        """The function of every pair of an element of `a` and one of `b`: axes of `a`, then those of `b`."""
        self._binary("outer")
        x, y = asarray(a), asarray(b)
        return self(s.reshape(x, type_of(x).shape + (1,) * type_of(y).ndim), y)

    def at(self, a: Any, indices: Any, b: Any = None, *, inplace: bool = False) -> Any:
        """`a` with the function applied at `indices` (to the element, and to `b`), as often as an element is named.

        Raises: DTypeError for `inplace`: arrays are immutable.

        Example:
            >>> frompyfunc(lambda x, y: x + y, 2, 1).at(np.zeros(3), np.array([1, 1]), 5.0).tolist()
            [0.0, 10.0, 0.0]
        """
        if inplace:
            raise DTypeError(
                f"{self.__name__}.at: arrays are immutable. Leave inplace out, and use the result.{at(user_source())}"
            )
        x = asarray(a)
        if self.nin == 1:
            return x.at[indices].apply(self)
        self._binary("at")
        size = type_of(x).size
        dtype = dtypes.int32 if size < 2**31 else dtypes.int64
        places = getitem(s.reshape(s.iota((size,), dtype, 0), type_of(x).shape), indices)
        shape, n = type_of(places).shape, type_of(places).size
        values = s.reshape(broadcast_to(asarray(b), shape), (n,))
        t, v = type_of(s.reshape(x, (size,))), type_of(values)

        def step(carry: Any, place: Any, value: Any) -> list[Any]:
            return [carry.at[place].set(to_dtype(self._call(getitem(carry, place), value), t.dtype))]

        body, captured = record(step, [t, type_of(places).with_shape(()), v.with_shape(())], self.__name__, "at")
        out = bind(
            scan_p, *captured, s.reshape(x, (size,)), s.reshape(places, (n,)), values,
            body=body, n_consts=len(captured), n_carry=1, length=n, reverse=False,
        )  # fmt: skip
        return s.reshape(out[0], type_of(x).shape)

    def reduceat(self, a: Any, indices: Any, axis: int = 0, dtype: Any = None) -> Any:
        """Reductions of parts of `a` along `axis`: part i begins at `indices[i]`, and ends before `indices[i + 1]` (the last, at the end).

        A part that would end before it begins is one element.

        Example:
            >>> frompyfunc(lambda x, y: x + y, 2, 1).reduceat(np.arange(5.0), np.array([0, 3, 1])).tolist()
            [3.0, 3.0, 10.0]
        """
        self._binary("reduceat")
        x = self._operand(a, dtype)
        k = canonical_axis(f"{self.__name__}.reduceat", axis, type_of(x).ndim)
        rows, where = e.move_axis(x, k, 0), asarray(indices)
        n, parts = type_of(rows).shape[0], type_of(where).size
        if type_of(where).ndim != 1 or not dtypes.is_int(type_of(where).dtype):
            raise ShapeError(
                f"{self.__name__}.reduceat: indices are {type_of(where)}, expected one axis of integers.{at(user_source())}"
            )
        if parts == 0:
            return e.move_axis(s.slice_axis(rows, 0, 0, 0), 0, k)
        one, rest = e.scalar_like(1, where), type_of(rows).shape[1:]
        stop = s.concatenate([s.slice_axis(where, 0, 1, parts), s.reshape(np.asarray(n).astype(type_of(where).dtype), (1,))], 0)
        stop = e.max(stop, e.add(where, one))
        first = getitem(rows, where)

        # Every part at once: each row is offered to all, and taken by those that it lies in, after their first one.
        every = s.broadcast(rows, (n, parts, *rest), (0, *range(2, 2 + len(rest))))
        places = s.broadcast(s.iota((n,), type_of(where).dtype, 0), (n, parts), (0,))
        inside = e.logical_and(
            e.gt(places, s.broadcast(where, (n, parts), (1,))), e.lt(places, s.broadcast(stop, (n, parts), (1,)))
        )
        masks = s.broadcast(inside, (n, parts, *rest), (0, 1))
        return e.move_axis(self._fold(first, [every, masks])[0], 0, k)


def frompyfunc(func: Callable[..., Any], /, nin: int, nout: int, *, identity: Any = None) -> ufunc:
    """A `ufunc` of a function of `nin` scalars with `nout` results.

    Args:
        identity: what a reduction over nothing gives.

    Example:
        >>> frompyfunc(lambda x, y: x * y + 1, 2, 1)(np.arange(3.0), 2.0).tolist()
        [1.0, 3.0, 5.0]
    """
    return ufunc(func, nin, nout, identity=identity)


__all__ = ["frompyfunc", "ufunc"]
