"""Python functions called from compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.numpy.promote import asarray
from fdl.tracer import tree
from fdl.tracer.array import as_numpy
from fdl.tracer.errors import ShapeError
from fdl.tracer.ir import Type
from fdl.tracer.ops.callback import callback


def pure_callback(function: Callable[..., Any], result: Any, *args: Any) -> Any:
    """What `function(*args)` returns: a pure Python function of NumPy arrays, called where the value is needed, compiled loops included.

    Args:
        function: takes pytrees of ndarrays like `args`; it may be called any number of times.
        result: the types of what it returns: a pytree of arrays or of `fdl.eval_shape` results.

    Raises: ShapeError when it returns other shapes or dtypes. Its derivative is zero.

    Example:
        >>> import fdl, fdl.numpy as fnp, numpy as np
        >>> f = fdl.jit(lambda x: fdl.pure_callback(np.flip, x, x) + 1.0)
        >>> f(fnp.arange(3.0)).tolist()
        [3.0, 2.0, 1.0]
    """
    leaves, structure = tree.flatten(args)
    wanted, out_structure = tree.flatten(result, is_leaf=lambda x: isinstance(x, Type))
    types = tuple(t.strong() if isinstance(t, Type) else asarray(t).type.strong() for t in wanted)
    name = getattr(function, "__name__", "function")

    def flat(*values: Any) -> list[Any]:
        outs, given = tree.flatten(function(*tree.unflatten(structure, values)))
        if given != out_structure:
            raise ShapeError(f"pure_callback({name}): {tree.difference(out_structure, given, 'result')}")
        arrays = [as_numpy(x) for x in outs]
        for path, a, t in zip(tree.paths(out_structure), arrays, types, strict=True):
            if a.shape != t.shape or a.dtype != t.dtype:
                raise ShapeError(
                    f"pure_callback({name}): result{tree.path_str(path)} has type {a.dtype.name}{a.shape}, expected {t}"
                )
        return [np.asarray(a) for a in arrays]

    flat.__name__ = name
    outs = callback(flat, types, [asarray(x) for x in leaves], effect=None, name=name)
    return tree.unflatten(out_structure, outs)
