"""Loops with a test: `while_loop`, and `fori_loop`, which is a scan where its bounds are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fdl.numpy.promote import as_operand, asarray, to_dtype
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, at, user_source
from fdl.tracer.ir import Type, type_of
from fdl.tracer.trace import Tracer, bind, described
from fdl.tracer.transforms.jvp import known_value
from fdl.tracer.transforms.while_loop import while_p
from fdl.transforms.signature import name_of

from .recording import arrays, check_carry, record_call, settled
from .scans import check_unroll, repeat


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """The carry after repeating `carry = body_fun(carry)` while `cond_fun(carry)` is true.

    It has forward derivatives (`jvp`); for reverse mode use `scan` or `fori_loop`.  Under `vmap` each lane ends by itself.

    Args:
        cond_fun: takes the carry, returns one bool.
        body_fun: takes the carry, returns the next, of the same types.
        init_val: the first carry, a pytree.

    Raises: ShapeError that names the key path at which the carry changes its type; DTypeError for a test that is no bool.

    Example:
        >>> import fdl
        >>> int(fdl.while_loop(lambda i: i < 10, lambda i: i + 3, 0))
        12
    """
    return _while("while_loop", cond_fun, body_fun, body_fun, arrays(init_val, "while_loop: init_val"), (init_val,))


def _while(
    label: str,
    cond_fun: Callable[[Any], Any],
    step: Callable[[Any], Any],
    f: Callable[..., Any],
    init: Any,
    given: Sequence[Any],
    skip: int = 0,
) -> Any:
    """`while_loop` of `step`, which errors call `f`; `given` as in `record_call`, `skip` as in `check_carry`."""
    init, body = settled(label, init, lambda c: record_call(step, (c,), label, given))
    check_carry(label, f, init, body.structure, body.out_types, skip)
    test = record_call(cond_fun, (init,), label, given)
    if test.structure != tree.LEAF:
        raise DTypeError(
            f"{label}: {name_of(cond_fun)} must return one bool, got {tree.described(test.structure)}. Return the test alone."
            f"{at(user_source())}"
        )
    found = test.out_types[0].strong()
    if found != Type((), dtypes.bool_):
        way = "Reduce it by .any() or .all()" if found.dtype == dtypes.bool_ else "Compare it with something"
        raise DTypeError(f"{label}: {name_of(cond_fun)} must return one bool, got {found}. {way}.{at(user_source())}")
    outs = bind(
        while_p, *test.captured, *body.captured, *tree.leaves(init),
        cond=test.program, body=body.program, n_cond=len(test.captured), n_body=len(body.captured),
    )  # fmt: skip
    return tree.unflatten(tree.structure(init), outs)


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any, *, unroll: int | bool | None = None
) -> Any:
    """The carry after `carry = body_fun(i, carry)` for i in [lower, upper).

    With bounds that are known when it is traced it is a `scan`, and has derivatives of both modes; with a traced bound it is a
    `while_loop`, and has forward derivatives only.

    Args:
        lower, upper: integers of one dtype (Python ints are int32, or int64 where they need it, and adapt).
        body_fun: takes the number and the carry; returns the next carry, of the same types.
        init_val: the first carry, a pytree.
        unroll: how many steps compiled code writes out at once, True for all; for known bounds only.

    Raises: DTypeError for bounds that are no integers, or of two dtypes; ShapeError as `scan`.

    Example:
        >>> import fdl
        >>> int(fdl.fori_loop(0, 5, lambda i, c: c + i, 0))
        10
    """
    bounds = []
    for bound in (lower, upper):
        x = as_operand(bound, "fori_loop: a bound")
        t = type_of(x)
        if t.shape != () or not dtypes.is_int(t.dtype):
            raise DTypeError(
                f"fori_loop: bounds must be integer scalars, got {described(bound)}. Convert it with int(...) or .astype(int)."
                f"{at(user_source())}"
            )
        bounds.append((x, t))
    (low, a), (high, b) = bounds
    dtype, weak = dtypes.promote((a.dtype, a.weak), (b.dtype, b.weak))
    if any(t.dtype != dtype and not t.weak for t in (a, b)):
        raise DTypeError(
            f"fori_loop: bounds have dtypes {a.dtype.name} and {b.dtype.name}: expected one dtype. "
            f"Convert one with .astype({dtype.name!r}).{at(user_source())}"
        )
    low, high = (x if t.dtype == dtype else to_dtype(x, dtype, weak) for x, t in ((low, a), (high, b)))
    init = arrays(init_val, "fori_loop: init_val")

    def step(carry: Any) -> Any:
        i, value = carry
        return i + 1, body_fun(i, value)

    first = asarray(low)
    if isinstance(low, Tracer) or isinstance(high, Tracer):
        if unroll is not None and unroll is not False and unroll != 1:
            raise ValueError(
                f"fori_loop: unroll={unroll!r} needs bounds that are known when it is traced. "
                f"Give Python ints, or make the argument static.{at(user_source())}"
            )
        return _while("fori_loop", lambda s: s[0] < high, step, body_fun, (first, init), ((first, init_val),), 1)[1]
    count = max(int(known_value(high)) - int(known_value(low)), 0)
    steps = check_unroll("fori_loop", unroll, count)
    return repeat("fori_loop", step, body_fun, (first, init), ((first, init_val),), count, steps, skip=1)[1]
