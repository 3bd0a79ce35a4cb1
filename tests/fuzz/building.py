"""A program under construction: typed values with their sample values, and ways to make the operands that a primitive wants.

Every equation is evaluated on the sample inputs as soon as it is recorded. So a generator knows what its operands hold: it maps them into
a function's domain only where they lie outside, results that grow are scaled down, and what makes NaN or is refused is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import as_numpy
from fdl.tracer.errors import FdlError, IndexOutOfBoundsError
from fdl.tracer.ir import Equation, Literal, Program, Type, Variable
from fdl.tracer.ops import elementwise as ew
from fdl.tracer.ops import shape as shapes
from fdl.tracer.primitive import lookup
from fdl.tracer.trace import ProgramTrace, bind, current, living, using

from .choices import Choices
from .values import Array, Profile, Shape, cast, draw_dtype, draw_shape, draw_value, kind, sample

LIMITS = {dtypes.float16: 60.0, dtypes.bfloat16: 1e3}
"""Results larger than this (1e3 in other dtypes) are scaled down."""


class Rejected(Exception):
    """An equation did not work out: it was refused, or its results are of no use."""


@dataclass(frozen=True, slots=True)
class Value:
    """A traced array and what it holds on the sample inputs."""

    tracer: Any
    sample: Array

    @property
    def shape(self) -> Shape:
        return self.sample.shape

    @property
    def dtype(self) -> dtypes.DType:
        return self.sample.dtype

    @property
    def size(self) -> int:
        return self.sample.size

    @property
    def ndim(self) -> int:
        return self.sample.ndim


class Builder:
    """A program that grows. `pool` has its values, the latest last.

    Args:
        inner: whether this is the body of another program, which takes what it is given, and closes over nothing.
    """

    def __init__(self, choices: Choices, profile: Profile, inner: bool = False, depth: int = 0) -> None:
        self.c, self.profile, self.inner, self.depth = choices, profile, inner, depth
        self.trace = ProgramTrace(current(), "a random program")
        self.env: dict[Variable, Array] = {}
        self.pool: list[Value] = []
        self.samples: list[Array] = []
        self.used: list[str] = []
        """The entries that made it, in order."""
        self.broken: list[Any] = []
        """What the equation gives whose index is out of bounds: the program ends with it."""

    # --- values -----------------------------------------------------------------------------------

    def new_input(self, value: Array) -> Value:
        """A further input of the program."""
        tracer = self.trace.new_input(Type(value.shape, value.dtype))
        self.env[tracer.variable] = value
        self.samples.append(value)
        return self.add(Value(tracer, value))

    def add(self, value: Value) -> Value:
        self.pool.append(value)
        return value

    def known(self, tracer: Any) -> Value:
        """The `Value` of what a traced function returned."""
        with using(self.trace):
            atom = self.trace.atom(tracer)
        if isinstance(atom, Literal):
            return Value(atom, atom.value)
        if atom not in self.env:  # captured
            self.env[atom] = as_numpy(tracer)
        return Value(tracer, self.env[atom])

    def emit(self, run: Callable[..., Any], *operands: Value, keep: bool = True) -> list[Value]:
        """The results of a traced function, which are added to the pool.

        Raises: Rejected, after having taken back what was recorded, where fdl refuses it or the results are wild or huge.
        """
        start = len(self.trace.equations)
        outs: list[Any] = []
        try:
            with using(self.trace):
                found = run(*(v.tracer for v in operands))
            outs = list(found) if isinstance(found, (list, tuple)) else [found]
            for e in self.trace.equations[start:]:
                self._evaluate(e)
            values = [self.known(x) for x in outs]
            if not self.profile.wild:
                self._check(values)
        except Rejected:
            del self.trace.equations[start:]
            raise
        except IndexOutOfBoundsError as error:
            # From here on the program fails: what follows has no values, so nothing follows.
            if self.profile.outside and not self.inner:
                self.broken = outs
            else:
                del self.trace.equations[start:]
            raise Rejected("an index is out of bounds") from error
        except FdlError as error:
            del self.trace.equations[start:]
            raise Rejected(str(error)) from error
        if keep:
            self.pool += [
                v for v in values if isinstance(v.tracer, Literal) is False and all(v.tracer is not p.tracer for p in self.pool)
            ]
        return values

    def _evaluate(self, e: Equation) -> None:
        inputs = [a.value if isinstance(a, Literal) else self.env[a] if a in self.env else self._captured(a) for a in e.inputs]
        with np.errstate(all="ignore"):
            out = e.primitive.reference(*inputs, **e.params)
        for v, x in zip(e.outputs, out if e.primitive.multiple else (out,), strict=True):
            x = np.asarray(x)
            assert (x.shape, x.dtype) == (v.type.shape, v.type.dtype), (
                f"{e.primitive}: reference {x.dtype}{x.shape}, type {v.type}"
            )
            self.env[v] = x

    def _captured(self, a: Variable) -> Array:
        for variable, value in self.trace.captured.values():
            if variable is a:
                self.env[a] = as_numpy(value)
                return self.env[a]
        raise AssertionError(f"{a} is bound nowhere")

    def _check(self, values: Sequence[Value]) -> None:
        for v in values:
            if not dtypes.is_inexact(v.dtype) or v.size == 0:
                continue
            with np.errstate(all="ignore"):
                top = float(np.max(np.abs(v.sample.astype(np.complex128 if kind(v.dtype) == "c" else np.float64))))
            if not top <= 50 * LIMITS.get(v.dtype, 1e3):
                raise Rejected(f"a result of size {top}")

    def bind(self, name: str, *operands: Value, **params: Any) -> list[Value]:
        """The results of a primitive."""
        return self.emit(lambda *xs: bind(lookup(name), *xs, **params), *operands)

    # --- choosing operands ------------------------------------------------------------------------

    def any(self, kinds: str = "bifc", rank: tuple[int, int] = (0, 5), size: int | None = None) -> Value:
        """A value of one of the kinds and of a rank in a range, with at most `size` elements; a new one where there is none."""
        fitting = [
            v for v in self.pool
            if kind(v.dtype) in kinds and rank[0] <= v.ndim <= rank[1] and (size is None or v.size <= size)
        ]  # fmt: skip
        if fitting and self.c.chance(92):
            return self.c.pick(fitting[-8:] if self.c.chance(70) else fitting)
        others = [v for v in self.pool if rank[0] <= v.ndim <= rank[1] and (size is None or v.size <= size)]
        if others and self.c.chance(60):
            return self.converted(self.c.pick(others), draw_dtype(self.c, self.profile, kinds))
        shape = draw_shape(self.c, self.profile, self.c.integer(rank[0], min(rank[1], 3)))
        if size is not None and math.prod(shape) > size:
            shape = tuple(min(n, 3) for n in shape)
        return self.fresh(shape, draw_dtype(self.c, self.profile, kinds))

    def operand(self, shape: Shape, dtype: dtypes.DType, splat: bool = False) -> Value:
        """A value of exactly this type; with `splat`, sometimes one of shape ()."""
        if splat and shape != () and self.c.chance(12):
            shape = ()
        fitting = [v for v in self.pool if v.shape == shape and v.dtype == dtype]
        if fitting and self.c.chance(80):
            return self.c.pick(fitting)
        alike = [v for v in self.pool if v.shape == shape and not (kind(v.dtype) == "c" and kind(dtype) != "c")]
        if alike and self.c.chance(70):
            return self.converted(self.c.pick(alike), dtype)
        near = [v for v in self.pool if v.dtype == dtype and v.size]
        if near and self.c.chance(55):
            return self.reshaped(self.c.pick(near), shape)
        return self.fresh(shape, dtype)

    def fresh(self, shape: Shape, dtype: dtypes.DType) -> Value:
        """A new input, a constant, or in the body of another program a splat number or a sequence."""
        if not self.inner:
            value = draw_value(self.c, self.profile, shape, dtype)
            if len(self.samples) < 6 and self.c.chance(70):
                return self.new_input(value)
            return self.constant(value)
        if shape and self.c.chance(40) and dtype != dtypes.bool_:
            axis = self.c.integer(0, len(shape) - 1)
            found = self.emit(lambda: shapes.iota(shape, dtype, axis), keep=False)[0]
            return self.scaled(found, 0.25) if dtypes.is_inexact(dtype) else found
        number = sample(self.c.rng(), (), dtype)
        return self.emit(lambda: shapes.broadcast(number, shape, ()))[0] if shape else self.literal(number)

    def constant(self, value: Array) -> Value:
        """A value that the program closes over: a literal where it is 0-d."""
        if value.shape == ():
            return self.literal(value)
        assert not self.inner, "the body of another program closes over nothing"
        value = value.copy()
        value.flags.writeable = False
        return self.add(self.known(value))

    def literal(self, value: Any, dtype: dtypes.DType | None = None) -> Value:
        a = np.asarray(value, dtype)
        return Value(Literal(a, Type((), a.dtype)), a)

    # --- making values fit ------------------------------------------------------------------------

    def converted(self, v: Value, dtype: dtypes.DType) -> Value:
        """`v` in another dtype."""
        if v.dtype == dtype:
            return v
        return self.emit(lambda x: ew.convert(x, dtype), v)[0]

    def reshaped(self, v: Value, shape: Shape) -> Value:
        """Elements of `v` in another shape: reshaped, broadcast, or cut out of it or of copies of it."""
        size = _size(shape)
        if v.shape == shape:
            return v
        if v.size == size:
            return self.emit(lambda x: shapes.reshape(x, shape), v)[0]
        axes = _broadcast_axes(v.shape, shape)
        if axes is not None:
            return self.emit(lambda x: shapes.broadcast(x, shape, axes), v)[0]
        assert v.size, "nothing can be made of no elements"

        def run(x: Any) -> Any:
            flat = shapes.reshape(x, (v.size,))
            copies = -(-size // v.size)
            if copies > 1:
                flat = shapes.reshape(shapes.broadcast(flat, (copies, v.size), (1,)), (copies * v.size,))
            return shapes.reshape(shapes.slice(flat, (0,), (size,)), shape)

        return self.emit(run, v)[0]

    def ranked(self, v: Value, rank: int) -> Value:
        """`v` with another number of axes: the last ones joined, or axes of size 1 put in front."""
        if v.ndim == rank:
            return v
        if v.ndim > rank:
            k = max(rank - 1, 0)
            shape: Shape = (*v.shape[:k], math.prod(v.shape[k:])) if rank else ()
            if not rank:
                return self.reshaped(v, ()) if v.size else self.literal(sample(self.c.rng(), (), v.dtype))
        else:
            shape = (*(1,) * (rank - v.ndim), *v.shape)
        return self.emit(lambda x: shapes.reshape(x, shape), v)[0]

    def scaled(self, v: Value, factor: float) -> Value:
        """`v` times a number."""
        if not isinstance(v.tracer, Literal):
            return self.emit(lambda x: ew.mul(x, cast(factor, v.dtype)), v)[0]
        return self.literal(cast(v.sample.astype(np.complex128 if kind(v.dtype) == "c" else np.float64) * factor, v.dtype))

    def tamed(self, v: Value) -> Value:
        """`v`, or a small multiple of it where it is large."""
        limit = LIMITS.get(v.dtype, 1e3)
        if self.profile.wild or not dtypes.is_inexact(v.dtype) or v.size == 0:
            return v
        top = float(np.max(np.abs(v.sample.astype(np.complex128 if kind(v.dtype) == "c" else np.float64))))
        return v if top <= limit else self.scaled(v, 2.0 ** math.floor(-math.log2(top) + 2))

    def within(self, v: Value, low: float, high: float) -> Value:
        """`v`, or a wave of it, with all elements between two bounds."""
        x = v.sample
        if (
            self.profile.wild
            or not dtypes.is_float(v.dtype)
            or (x.size and bool(np.all((x >= low) & (x <= high))))
            or x.size == 0
        ):
            return v
        middle, half = (low + high) / 2, (high - low) / 2
        return self.emit(
            lambda x: ew.add(ew.mul(ew.sin(x), cast(0.98 * half, v.dtype)), cast(middle, v.dtype)), v
        )[0]  # fmt: skip

    def indices(self, shape: Shape, sizes: Sequence[int], mode: str) -> Value:
        """Integers of shape (*shape, len(sizes)), each below its size where they must be."""
        c, k = self.c, len(sizes)
        dtype = dtypes.FROM_SHORT[c.weighted([("i32", 6), ("i64", 2), ("u8", 1), ("u32", 1), ("i8", 1)])]
        outside = self.profile.outside and not self.inner and c.chance(40)
        if mode == "raise" and not outside and min(sizes) == 0 and math.prod(shape):
            raise Rejected("nothing to index")
        slack = 2 if mode != "raise" or outside else 0
        low = np.array([-slack if dtypes.is_signed(dtype) else 0] * k)
        high = np.minimum(np.array(sizes) + slack, np.iinfo(dtype).max)
        if not self.inner:
            value = c.rng().integers(low, np.maximum(high, low + 1), (*shape, k)).astype(dtype)
            return self.new_input(value) if len(self.samples) < 6 else self.constant(value)
        if min(sizes) == 0:
            raise Rejected("nothing to index")
        # What the body is given: in bounds here, and perhaps not in a later iteration, or in another lane.
        given = [v for v in self.pool if kind(v.dtype) == "i" and v.size and ((v.sample >= 0) & (v.sample < min(sizes))).all()]
        if self.profile.outside and given and c.chance(80):
            meant = [v for v in given if v.shape == (2,) and v.dtype == dtypes.int32]
            return self.reshaped(c.pick(meant if meant and c.chance(70) else given), (*shape, k))
        axis = c.integer(0, len(shape))
        largest = cast(min(min(sizes), np.iinfo(dtype).max), dtype)

        def run() -> Any:
            return ew.rem(shapes.iota((*shape, k), dtype, axis), largest)

        return self.emit(run, keep=False)[0]

    # --- sub-programs -----------------------------------------------------------------------------

    def child(self, samples: Sequence[Array]) -> Builder:
        """A builder of a body that takes arrays like these."""
        with using(self.trace):
            builder = Builder(self.c, self.profile, inner=True, depth=self.depth + 1)
        for value in samples:
            builder.new_input(value)
        return builder

    def finish(self, outputs: Sequence[Value], name: str = "main") -> tuple[Program, list[Any]]:
        """The program, with what it closes over as constants, and these constants."""
        with living(self.trace):
            program, captured = self.trace.finish([v.tracer for v in outputs], name)
        n = len(captured)
        values = tuple(np.array(as_numpy(x), order="C") for x in captured)
        return Program(program.inputs[n:], program.equations, program.outputs, program.inputs[:n], values, name), captured


def _size(shape: Shape) -> int:
    return math.prod(shape)


def _broadcast_axes(small: Shape, large: Shape) -> tuple[int, ...] | None:
    """The axes of `large` that those of `small` go to, where it can be broadcast from the right."""
    skip = len(large) - len(small)
    if skip < 0 or any(m not in (1, n) for m, n in zip(small, large[skip:], strict=True)):
        return None
    return tuple(range(skip, len(large)))
