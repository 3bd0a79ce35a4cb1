"""Batching: each value may have one more axis, over which the function is mapped.

`BatchTrace` applies each primitive's batch rule, whose own operations go to the parent trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import DTypeError, MissingRuleError, Place, ShapeError, at, user_place, user_source
from ..ir import Program, Type, type_of
from ..ops.collectives import mentions_axis
from ..ops.elementwise import move_axis
from ..primitive import Axis, Primitive, lookup
from ..trace import Params, Trace, Tracer, bind, current, infer, living, record, using
from .jvp import program_function


class BatchTracer(Tracer):
    """A value with a batch axis, which its `type` leaves out."""

    __slots__ = ("axis", "value")

    def __init__(self, trace: Trace, value: Any, axis: int, source: Place | int = None) -> None:
        self.owner, self.value, self.axis, self.source = trace, value, axis, source

    @property
    def type(self) -> Type:  # type: ignore[override]
        t = type_of(self.value)
        return Type(t.shape[: self.axis] + t.shape[self.axis + 1 :], t.dtype, t.weak)


class BatchTrace(Trace):
    """Applies batch rules over an axis of `size` elements; an `Axis` with a name is the one that collectives of that name go over.

    `twin` is another trace over the lanes of the same axis, whose tracers are as this one's own: a function with a custom rule, which is
    mapped in a trace of its own, may close over lanes of the trace that it was called in.
    """

    axis: Axis

    def __init__(self, parent: Trace, size: int, label: str = "", twin: BatchTrace | None = None) -> None:
        self.parent, self.label, self.twin = parent, label, twin
        self.axis = size if isinstance(size, Axis) else Axis(size)

    def owns(self, x: Any) -> bool:
        """Whether `x` has lanes of this trace."""
        if not isinstance(x, BatchTracer):
            return False
        return self.is_or_has(x.owner)

    def is_or_has(self, trace: Trace) -> bool:
        """Whether `trace` is this one, or a twin of it."""
        t: BatchTrace | None = self
        while t is not None and t is not trace:
            t = t.twin
        return t is not None

    @property
    def size(self) -> Axis:
        """The mapped axis's size."""
        return self.axis

    def process(self, primitive: Primitive, inputs: Sequence[Any], params: Params) -> list[Any]:
        assert self.parent is not None
        own = [self.owns(x) for x in inputs]
        if not any(own) and (self.axis.name is None or not mentions_axis(primitive, params, self.axis.name)):
            return self.parent.process(primitive, inputs, params)
        values = [x.value if mine else x for x, mine in zip(inputs, own, strict=True)]
        axes = [x.axis if mine else None for x, mine in zip(inputs, own, strict=True)]
        rule = primitive.batch
        if rule is None:
            try:
                primitive.rule("batch")
            except MissingRuleError as e:
                raise MissingRuleError(f"{e}{at(user_source())}") from None
        try:
            with using(self.parent):
                outs, out_axes = rule(self.size, values, axes, **params)  # type: ignore[misc]
        except (ShapeError, DTypeError):
            infer(primitive, [type_of(x) for x in inputs], params)  # says what is wrong of one lane, as the user wrote it
            raise
        if not primitive.multiple:
            outs, out_axes = [outs], [out_axes]
        place = user_place()
        return [x if a is None else BatchTracer(self, x, a, place) for x, a in zip(outs, out_axes, strict=True)]


def batch_flat(
    f: Callable[..., Sequence[Any]], size: int, args: Sequence[Any], axes: Sequence[int | None], label: str = "",
    twin: BatchTrace | None = None,
) -> tuple[list[Any], list[int | None]]:  # fmt: skip
    """The outputs of a flat function mapped over the given axes, and the axis of each output (None: not batched).

    `twin`: see `BatchTrace`.
    """
    trace = BatchTrace(current(), size, label or getattr(f, "__name__", ""), twin)
    trace.describe = getattr(f, "describe", None)
    with living(trace):
        outs = f(*[x if a is None else BatchTracer(trace, x, a, k) for k, (x, a) in enumerate(zip(args, axes, strict=True))])
        own = [trace.owns(x) for x in outs]
    return (
        [x.value if mine else x for x, mine in zip(outs, own, strict=True)],
        [x.axis if mine else None for x, mine in zip(outs, own, strict=True)],
    )


def with_batch_axis(x: Any, axis: int | None, size: int) -> Any:
    """`x` with its batch axis in front, repeated `size` times when it has none."""
    if axis is not None:
        return move_axis(x, axis, 0)
    shape = type_of(x).shape
    return bind(lookup("broadcast"), x, shape=(size, *shape), axes=tuple(range(1, len(shape) + 1)))


def batch_program(
    program: Program, size: int, batched: tuple[bool, ...], force: tuple[bool, ...] | None = None
) -> tuple[Program, tuple[bool, ...]]:
    """`program` over inputs of which the marked ones have a batch axis in front, and which outputs have one.

    `force` marks outputs that get a batch axis even where they need none.
    """

    def make() -> tuple[Program, tuple[bool, ...]]:
        out_batched: list[bool] = []

        def f(*args: Any) -> list[Any]:
            outs, axes = batch_flat(program_function(program), size, args, [0 if b else None for b in batched])
            must = force or (False,) * len(outs)
            out_batched[:] = [m or a is not None for m, a in zip(must, axes, strict=True)]
            return [with_batch_axis(x, a, size) if b else x for x, a, b in zip(outs, axes, out_batched, strict=True)]

        types = [Type((size, *t.shape), t.dtype, t.weak) if b else t for t, b in zip(program.in_types, batched, strict=True)]
        result, captured = record(f, types, name=f"batch_{program.name}")
        assert not captured
        return result, tuple(out_batched)

    return program.cached(("batch", int(size), getattr(size, "name", None), batched, force), make)
