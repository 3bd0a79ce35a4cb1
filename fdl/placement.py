"""Values to and from the device, of which there is one: the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.numpy.promote import as_operand, asarray, check_device
from fdl.tracer import tree
from fdl.tracer.array import as_numpy
from fdl.tracer.trace import Tracer


def block_until_ready(x: Any) -> Any:
    """`x` itself: results are there when the call that computes them returns. It is here for programs that time JAX too."""
    return x


def device_put(x: Any, device: Any = None) -> Any:
    """The pytree `x` with its leaves as arrays on `device`, "cpu" or None.

    Raises: ShapeError for another device; DTypeError for a leaf that is no array.

    Example:
        >>> device_put({"a": np.ones(2)})["a"].device
        'cpu'
    """
    check_device("device_put", device)
    return tree.map(lambda leaf: asarray(as_operand(leaf, "device_put: a leaf")), x)


def device_get(x: Any) -> Any:
    """The pytree `x` with its arrays as NumPy arrays of their own memory.

    Example:
        >>> import fdl.numpy as fnp
        >>> type(device_get([fnp.ones(2)])[0])
        <class 'numpy.ndarray'>
    """

    def host(leaf: Any) -> Any:
        # The conversion of a tracer is an error, and says what to do.
        return np.asarray(leaf) if isinstance(leaf, Tracer) else np.array(as_numpy(as_operand(leaf, "device_get: a leaf")))

    return tree.map(host, x)
