"""Loops of known length: `scan`, and `map`, which carries nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.numpy.promote import known_size
from fdl.tracer import tree
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops.shape import concatenate, reshape, slice_axis
from fdl.tracer.trace import Tracer, bind
from fdl.tracer.transforms.scan import scan_p
from fdl.transforms.batching import vmap
from fdl.transforms.signature import name_of

from .recording import Recorded, arrays, check_carry, record_call, settled


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> Any:
    """The final carry, and the stacked outputs of `carry, y = f(carry, x)` over the leading axis of `xs`.

    It has derivatives of both modes: in reverse it keeps what its steps leave behind, and goes back over it.  Compiled, it is one native
    loop, in which `xs` are read where they lie and outputs written where they end.

    Args:
        f: takes a carry and one slice of `xs`; returns the next carry, of the same types, and an output.
        init: the first carry, a pytree. A Python number takes the type that `f` gives it.
        xs: a pytree of arrays with one leading size, or None with `length` given; `f` then gets None.
        length: the number of steps; that of `xs` where it is given.
        reverse: whether to go from the last slice to the first; outputs stay in the order of `xs`.
        unroll: how many steps compiled code writes out at once; True for all. The result is the same.

    Raises: ShapeError for sizes that differ, and for a carry that changes its type, naming the key path.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> total, partial = fdl.scan(lambda c, x: (c + x, c + x), 0.0, fnp.arange(4.0))
        >>> float(total), partial.tolist()
        (6.0, [0.0, 1.0, 3.0, 6.0])
    """
    given = init
    init, xs = arrays(init, "scan: init"), arrays(xs, "scan: xs")
    n = _length("scan", xs, length)
    steps = check_unroll("scan", unroll, n)
    slices = tree.map(lambda x: type_of(x).with_shape(type_of(x).shape[1:]), xs)

    def make(carry: Any) -> Recorded:
        r = record_call(f, (tree.map(type_of, carry), slices), "scan", (given, slices))
        if r.structure.type not in (tuple, list) or len(r.structure.children) != 2:
            raise ShapeError(
                f"scan: {name_of(f)} must return a pair (carry, output), got {tree.described(r.structure)}.{at(user_source())}"
            )
        return r

    init, body = settled("scan", init, make)
    n_carry = len(tree.leaves(init))
    carried, output = body.structure.children
    check_carry("scan", f, init, carried, body.out_types[: carried.size])
    outs = _bind(body, tree.leaves(init), tree.leaves(xs), n, bool(reverse), steps)
    return tree.unflatten(carried, outs[:n_carry]), tree.unflatten(output, outs[n_carry:])


def repeat(
    label: str,
    step: Callable[[Any], Any],
    f: Callable[..., Any],
    init: Any,
    given: Sequence[Any],
    length: int,
    unroll: int,
    skip: int = 0,
) -> Any:
    """The carry after `length` times `carry = step(carry)`.

    Errors call the step `f`; `given` as in `record_call`, `skip` as in `check_carry`.
    """
    init, body = settled(label, init, lambda c: record_call(step, (c,), label, given))
    check_carry(label, f, init, body.structure, body.out_types, skip)
    return tree.unflatten(body.structure, _bind(body, tree.leaves(init), [], length, False, unroll))


def _bind(body: Recorded, init: list[Any], xs: list[Any], length: int, reverse: bool, unroll: int) -> list[Any]:
    more = {"unroll": unroll} if unroll > 1 else {}
    outs: list[Any] = bind(
        scan_p, *body.captured, *init, *xs,
        body=body.program, n_consts=len(body.captured), n_carry=len(init), length=length, reverse=reverse, **more,
    )  # fmt: skip
    return outs


def _length(label: str, xs: Any, length: Any) -> int:
    """The number of steps, which all leading sizes have to agree on."""
    sizes = {}
    for path, x in tree.flatten_with_paths(xs)[0]:
        if not type_of(x).shape:
            raise ShapeError(
                f"{label}: {tree.path_str(path, 'xs')} is 0-d: it has no leading axis to go over.{at(user_source())}"
            )
        sizes[tree.path_str(path, "xs")] = type_of(x).shape[0]
    if length is not None:
        if isinstance(length, Tracer):
            length = known_size(label, length, "length")
        if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < 0:
            raise ShapeError(f"{label}: length={length!r}: expected an int that is not negative.{at(user_source())}")
        sizes["length"] = int(length)
    if len(set(sizes.values())) != 1:
        none = "xs has no arrays" if label == "map" else "xs has no arrays; give length="
        listed = ", ".join(f"{k}: {v}" for k, v in sizes.items()) or none
        raise ShapeError(f"{label}: leading sizes must be given and agree: {listed}.{at(user_source())}")
    return next(iter(sizes.values()))


def check_unroll(label: str, unroll: Any, length: int) -> int:
    """The number of steps to write out at once. Raises ValueError for anything but a bool or an int that is not negative."""
    if unroll is None or unroll is False:
        return 1
    if unroll is True:
        return max(length, 1)
    if not isinstance(unroll, (int, np.integer)) or unroll < 0:
        raise ValueError(f"{label}: unroll={unroll!r}: expected a bool, or an int from 1.{at(user_source())}")
    return max(1, min(int(unroll), length))


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """The stacked results of `f` on each slice of `xs` along its leading axis, one after another (as a loop; `vmap` does all at once).

    Args:
        batch_size: how many slices to do at once, by `vmap`, in each step of the loop; those left over are done at once after it.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.map(lambda x: x * x, fnp.arange(3.0)).tolist()
        [0.0, 1.0, 4.0]
    """
    xs = arrays(xs, "map: xs")
    n = _length("map", xs, None)
    if batch_size is None:
        return scan(_mapped(f), None, xs)[1]
    size = _batch_size(batch_size)
    count = n // size
    if count <= 1 and n <= size:
        return vmap(f)(xs)
    whole = tree.map(lambda x: reshape(slice_axis(x, 0, 0, count * size), (count, size, *type_of(x).shape[1:])), xs)
    ys = tree.map(lambda y: reshape(y, (count * size, *type_of(y).shape[2:])), scan(_mapped(vmap(f)), None, whole)[1])
    if n == count * size:
        return ys
    rest = vmap(f)(tree.map(lambda x: slice_axis(x, 0, count * size, n), xs))
    return tree.map(lambda a, b: concatenate([a, b], 0), ys, rest)


def _batch_size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"map: batch_size={value!r}: expected an int from 1.{at(user_source())}")
    return int(value)


def _mapped(f: Callable[[Any], Any]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """`f` as the body of a scan that carries nothing, under its own name."""

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        return carry, f(x)

    body.__name__ = name_of(f)
    return body


__all__ = ["check_unroll", "map", "repeat", "scan"]
