"""interleaved: a primitive on complex arrays as an equation on real ones, (re, im) side by side along a last axis of size 2.

    y: c128[3,3] = cholesky x            →       q: f64[3,3,2] = interleaved[operation="cholesky", parts=(True,)] p

Compiled code has no complex type.  `passes.complex` splits complex values into parts, and this is what it makes of a primitive that it has
no rule for: it interleaves the parts of the operands, and takes those of the results apart.  LAPACK takes such memory for complex
numbers as it is, and NumPy a view of it.

Only programs about to be compiled have such equations: there is no derivative and no batching rule.

May be imported by: the passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..ir import Type
from ..primitive import Named, Primitive, lookup


def _packed(t: Type) -> Type:
    return Type((*t.shape, 2), dtypes.real_of(t.dtype), t.weak) if dtypes.is_complex(t.dtype) else t


def _unpacked(t: Type) -> Type:
    return Type(t.shape[:-1], dtypes.complex_of(t.dtype), t.weak)


def _abstract(*xs: Type, operation: str, parts: tuple[bool, ...], **params: Any) -> tuple[Type, ...]:
    inner = lookup(operation)
    found = inner.abstract(*(_unpacked(x) if p else x for x, p in zip(xs, parts, strict=True)), **params)
    return tuple(_packed(t) for t in (found if inner.multiple else (found,)))


def _reference(*xs: np.ndarray, operation: str, parts: tuple[bool, ...], **params: Any) -> tuple[np.ndarray, ...]:
    return interleaving(lookup(operation).reference, *xs, operation=operation, parts=parts, **params)


def interleaving(
    function: Callable[..., Any], *xs: np.ndarray, operation: str, parts: tuple[bool, ...], **params: Any
) -> tuple[np.ndarray, ...]:
    """What `function`, which computes the operation on complex arrays, gives for interleaved ones."""
    outs = function(*(_as_complex(x) if p else x for x, p in zip(xs, parts, strict=True)), **params)
    return tuple(_as_parts(y) for y in (outs if lookup(operation).multiple else (outs,)))


def _as_complex(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(dtypes.complex_of(x.dtype))[..., 0]


def _as_parts(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind != "c":
        return x
    return np.ascontiguousarray(x)[..., None].view(dtypes.real_of(x.dtype))


interleaved_p = Primitive(
    "interleaved",
    abstract=_abstract,
    reference=_reference,
    params_effects=lambda params: lookup(params["operation"]).effects_of(_inner(params)),
    lowering=Named("lapack"),
    multiple=True,
)


def _inner(params: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k not in ("operation", "parts")}
