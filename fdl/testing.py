"""For tests of differentiable code: `check_grads` compares derivatives with finite differences.

A direction is drawn at random, and the derivative along it compared with a central difference.  An error in any element of a
derivative shows along almost every direction, so that one is enough; only then is the culprit looked for, argument by argument
and element by element. Differences are taken in float64, whatever the dtype of the arguments, where the function lets them be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes, tree
from fdl.tracer.array import as_numpy
from fdl.tracer.errors import FdlError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.records import dataclass
from fdl.tracer.trace import check_array
from fdl.transforms.autodiff import jvp, vjp
from fdl.transforms.checks import check_callable
from fdl.transforms.signature import argument_name, name_of

TOLERANCE = {dtypes.float16: 2e-2, dtypes.bfloat16: 1e-1, dtypes.float32: 2e-3, dtypes.float64: 1e-5}
"""How far derivatives of a dtype may be from the differences, absolutely and relatively."""
STEP = {dtypes.float16: 1e-1, dtypes.bfloat16: 2e-1, dtypes.float32: 5e-3, dtypes.float64: 1e-5}
"""The step of a difference of a function that computes in a dtype, relative to its argument: about the cube root of its precision."""
_MODES = ("fwd", "rev")
_MOST_ELEMENTS = 512


class GradientError(FdlError, AssertionError):
    """A derivative and its finite difference disagree."""


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: str | Sequence[str] = _MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    *,
    seed: int = 0,
) -> None:
    """Returns None where the derivatives of `f` at `args` agree with finite differences, up to an order.

    Args:
        f: a function of pytrees of arrays that returns one; real or complex. Integer arguments and outputs are constants.
        args: its positional arguments, away from the kinks of `f`.
        order: up to which order; the derivatives of order k are checked as first derivatives of those of order k - 1, in every
            mix of `modes`.
        modes: "fwd" (jvp), "rev" (vjp), or both.
        atol, rtol: tolerances; by default those in `TOLERANCE` for the coarsest dtype among arguments and outputs.
        eps: the step of the differences, relative to the size of each argument; by default that in `STEP`.
        seed: of the random directions.

    Raises: GradientError, an AssertionError, with the argument's key path, the direction, both values and the worst element;
        ValueError when there is nothing to check.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> check_grads(lambda p: fnp.tanh(p["w"] * 2.0), ({"w": fnp.arange(3.0)},), order=2)
    """
    wanted = (modes,) if isinstance(modes, str) else tuple(modes)
    if not wanted or any(m not in _MODES for m in wanted):
        raise ValueError(f"check_grads: modes: expected 'fwd', 'rev' or both, got {modes!r}.{at(user_source())}")
    _check_order(order)
    check_callable(f, "check_grads")
    if not isinstance(args, (tuple, list)):
        raise TypeError(
            f"check_grads: args must be a tuple of arguments, got {type(args).__name__}. Write (x,).{at(user_source())}"
        )
    flat, structure = tree.flatten(tuple(args))
    paths = [tree.path_str(p, argument_name(f, i)) for i, a in enumerate(args) for p, _ in tree.flatten_with_paths(a)[0]]
    for path, x in zip(paths, flat, strict=True):
        check_array(x, f"check_grads({name_of(f)}): argument {path}")
    strong = [(t.dtype, False) for t in map(type_of, flat) if dtypes.is_inexact(t.dtype) and not t.weak]
    leaves = [_array(x, strong) for x in flat]
    if not any(_moves(x) for x in leaves):
        raise ValueError(
            f"check_grads({name_of(f)}): no argument is floating-point: there is nothing to check.{at(user_source())}"
        )
    check = _Check(structure, paths, atol, rtol, eps, np.random.default_rng(seed), seed, name_of(f))
    check.run(f, leaves, order, wanted, "")


def _check_order(order: Any) -> None:
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 1:
        raise ValueError(f"check_grads: order: expected an int from 1, got {order!r}.{at(user_source())}")


def _array(x: Any, among: Sequence[tuple[np.dtype[Any], bool]] = ()) -> np.ndarray[Any, Any]:
    """`x` as an ndarray; a Python number in the dtype that it takes among floating-point arrays of the types `among`."""
    t = type_of(x)
    weak = t.weak and dtypes.is_inexact(t.dtype)
    return np.array(as_numpy(x), dtypes.promote((t.dtype, True), *among)[0] if weak else t.dtype)


def _moves(x: np.ndarray[Any, Any]) -> bool:
    return dtypes.is_inexact(x.dtype)


def _raised(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`x` in float64, or complex128."""
    if not _moves(x):
        return x
    return x.astype(dtypes.complex128 if dtypes.is_complex(x.dtype) else dtypes.float64)


def _pairing(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    """The real part of the sum of products: how cotangents act on tangents, without conjugation."""
    return float(sum(np.sum(x * y).real for x, y in zip(xs, ys, strict=True)))


Flat = Callable[[Sequence[np.ndarray[Any, Any]]], list[np.ndarray[Any, Any]]]


@dataclass(slots=True)
class _Check:
    """One run of `check_grads`: how arguments are nested and named, the tolerances, and the source of directions."""

    structure: tree.Structure
    paths: list[str]
    atol: float | None
    rtol: float | None
    eps: float | None
    random: np.random.Generator
    seed: int
    name: str

    def run(
        self, f: Callable[..., Any], leaves: list[np.ndarray[Any, Any]], order: int, modes: tuple[str, ...], of: str,
        precision: np.dtype[Any] = dtypes.float64,
    ) -> None:  # fmt: skip
        """Checks the first derivatives of `f`, whose name is `of`, and those of its derivatives; its values are of `precision`."""
        point = _Point(self, f, leaves, precision)
        direction = [self.drawn(x, by_size=True) if _moves(x) else np.zeros(x.shape) for x in leaves]
        cts = [self.drawn(y) for y in point.outputs]
        if "fwd" in modes:
            label = f"jvp of {of}" if of else "jvp"
            point.check_forward(direction, label)
            if order > 1:
                self.run(
                    lambda *args: jvp(f, args, self.like(direction, args))[1], leaves, order - 1, modes, label, point.precision
                )
        if "rev" in modes:
            label = f"vjp of {of}" if of else "vjp"
            point.check_reverse(direction, cts, label)
            if order > 1:
                self.run(lambda *args: point.pulled(args, cts), leaves, order - 1, modes, label, point.precision)

    def drawn(self, x: np.ndarray[Any, Any], by_size: bool = False) -> np.ndarray[Any, Any]:
        """Normally distributed numbers in the shape of `x`, and of its size."""
        v = self.random.normal(size=x.shape)
        if dtypes.is_complex(x.dtype):
            v = v + 1j * self.random.normal(size=x.shape)
        wide = _raised(x)
        size = math.sqrt(float(np.mean(np.abs(wide) ** 2))) if x.size else 0.0
        return np.asarray(v * (max(size, 1e-3) if by_size and size and math.isfinite(size) else 1.0))

    def like(self, values: Sequence[np.ndarray[Any, Any]], args: Any) -> Any:
        """`values` as tangents of `args`."""
        flat, s = tree.flatten(tuple(args))
        return tree.unflatten(s, [np.asarray(v).astype(type_of(x).dtype) for v, x in zip(values, flat, strict=True)])


class _Point:
    """A function at a point, and how its derivatives are compared there."""

    def __init__(
        self, check: _Check, f: Callable[..., Any], leaves: list[np.ndarray[Any, Any]], precision: np.dtype[Any]
    ) -> None:
        self.check, self.f, self.leaves = check, f, leaves
        out = f(*tree.unflatten(check.structure, leaves))
        flat, self.out_structure = tree.flatten(out)
        self.all_outputs = [_array(x) for x in flat]
        self.out_paths = [f"output{tree.path_str(p)}" for p in tree.paths(self.out_structure)]
        self.picked = [i for i, y in enumerate(self.all_outputs) if _moves(y)]
        self.outputs = [self.all_outputs[i] for i in self.picked]
        if not self.outputs:
            raise ValueError(
                f"check_grads({check.name}): no output is floating-point: there is nothing to check.{at(user_source())}"
            )
        self.wide = [_raised(x) for x in leaves]
        # A derivative has its argument's dtype, whatever it was computed in: a coarser precision is handed down.
        self.precision = max(precision, self._precision(), key=lambda d: TOLERANCE[d])
        used = [dtypes.real_of(x.dtype) for x in (*leaves, *self.outputs) if _moves(x)]
        coarsest = max([*used, self.precision], key=lambda d: TOLERANCE[d])
        self.step = check.eps or STEP[self.precision]
        self.atol = TOLERANCE[coarsest] if check.atol is None else check.atol
        self.rtol = TOLERANCE[coarsest] if check.rtol is None else check.rtol

    def _precision(self) -> np.dtype[Any]:
        """In what the function computes where it is given float64; it is given the arguments as they are where it takes no others."""
        try:
            ys = self.values(self.wide)
            same = [y.shape for y in ys] == [y.shape for y in self.outputs]
        except (FdlError, TypeError, ValueError):
            same = False
        if not same:
            self.wide = list(self.leaves)
            ys = self.outputs
        given = [dtypes.real_of(x.dtype) for x in (*ys, *self.wide) if _moves(x)]
        return max(given, key=lambda d: TOLERANCE[d])

    def values(self, leaves: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """The floating-point outputs."""
        flat = tree.leaves(self.f(*tree.unflatten(self.check.structure, leaves)))
        return [_array(flat[i]) for i in self.picked]

    def difference(self, direction: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """The central difference of the outputs along a direction."""

        def moved(step: float) -> list[np.ndarray[Any, Any]]:
            xs = [
                (_raised(x) + step * d).astype(x.dtype) if _moves(x) else x for x, d in zip(self.wide, direction, strict=True)
            ]
            return [_raised(y) for y in self.values(xs)]

        return [(a - b) / (2 * self.step) for a, b in zip(moved(self.step), moved(-self.step), strict=True)]

    def pulled(self, args: Any, cts: Sequence[np.ndarray[Any, Any]]) -> Any:
        """The cotangents of `args` for these cotangents of the floating-point outputs."""
        out, pull = vjp(self.f, *args)
        given = dict(zip(self.picked, cts, strict=True))
        flat, s = tree.flatten(out)
        ready = [np.asarray(given.get(i, np.zeros(type_of(y).shape))).astype(type_of(y).dtype) for i, y in enumerate(flat)]
        return pull(tree.unflatten(s, ready))

    # --- comparing --------------------------------------------------------------------------------

    def check_forward(self, direction: Sequence[np.ndarray[Any, Any]], label: str) -> None:
        """Raises unless `jvp` along the direction is the difference."""
        path, alone = "all arguments together", list(direction)
        expected, got = self._forward(alone)
        worst = self._worst(expected, got)
        if worst is None:
            return
        for name, part in self._alone(direction):
            e, g = self._forward(part)
            found = self._worst(e, g)
            if found is not None:
                path, alone, expected, got, worst = name, part, e, g, found
                break
        i, index = worst
        where = self.out_paths[self.picked[i]] + (f"[{', '.join(map(str, index))}]" if index else "")
        wanted, given = expected[i][index], got[i][index]
        values = f"{_number(wanted)}, got {_number(given)} (the worst element: {where})"
        raise GradientError(self._message(label, path, alone, values, abs(wanted - given)))

    def _forward(
        self, direction: Sequence[np.ndarray[Any, Any]]
    ) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
        args = tree.unflatten(self.check.structure, self.leaves)
        dots = tree.leaves(jvp(self.f, args, self.check.like(direction, args))[1])
        return self.difference(direction), [_raised(_array(dots[i])) for i in self.picked]

    def _worst(
        self, expected: Sequence[np.ndarray[Any, Any]], got: Sequence[np.ndarray[Any, Any]]
    ) -> tuple[int, tuple[int, ...]] | None:
        """The output and the index of the element that is furthest off, where one is too far."""
        found, most = None, 1.0
        for i, (e, g) in enumerate(zip(expected, got, strict=True)):
            if e.size == 0:
                continue
            usual = math.sqrt(float(np.mean(np.abs(e) ** 2)))
            allowed = self.atol + self.rtol * np.maximum(np.maximum(np.abs(e), np.abs(g)), usual)
            with np.errstate(invalid="ignore"):
                excess = np.abs(e - g) / allowed
            excess = np.where(np.isnan(excess), np.inf, excess)
            k = int(np.argmax(excess))
            if excess.flat[k] > most:
                found, most = (i, tuple(int(n) for n in np.unravel_index(k, e.shape))), float(excess.flat[k])
        return found

    def check_reverse(self, direction: Sequence[np.ndarray[Any, Any]], cts: Sequence[np.ndarray[Any, Any]], label: str) -> None:
        """Raises unless the cotangents that `vjp` gives act on the direction as the difference does."""
        grads = [_raised(_array(x)) for x in tree.leaves(self.pulled(tree.unflatten(self.check.structure, self.leaves), cts))]
        fine, expected, got = self._acts_alike(direction, cts, grads)
        if fine:
            return
        path, alone, worst = "all arguments together", list(direction), ""
        moving = [i for i, x in enumerate(self.leaves) if _moves(x)]
        for i, (name, part) in zip(moving, self._alone(direction), strict=True):
            fine, e, g = self._acts_alike(part, cts, grads)
            if not fine:
                path, alone, expected, got, worst = name, part, e, g, self._worst_element(i, cts, grads[i])
                break
        values = f"{_number(expected)}, got {_number(got)}{worst}"
        raise GradientError(self._message(label, path, alone, values, abs(expected - got)))

    def _acts_alike(
        self,
        direction: Sequence[np.ndarray[Any, Any]],
        cts: Sequence[np.ndarray[Any, Any]],
        grads: Sequence[np.ndarray[Any, Any]],
    ) -> tuple[bool, float, float]:
        moving = [(g, d) for x, g, d in zip(self.leaves, grads, direction, strict=True) if _moves(x)]
        got = _pairing(*zip(*moving, strict=True))
        expected = _pairing(cts, self.difference(direction))
        usual = math.sqrt(sum(float(np.sum(np.abs(g * d) ** 2)) for g, d in moving))
        allowed = self.atol + self.rtol * max(abs(got), abs(expected), usual)
        return bool(abs(got - expected) <= allowed), expected, got

    def _worst_element(self, i: int, cts: Sequence[np.ndarray[Any, Any]], grad: np.ndarray[Any, Any]) -> str:
        """The element of argument `i` whose gradient is furthest off; one of the first, where there are many."""
        x = self.leaves[i]
        size = max(float(np.max(np.abs(_raised(x)), initial=0.0)), 1e-3)
        worst: tuple[float, tuple[int, ...], Any, Any] | None = None
        for index in list(np.ndindex(x.shape))[:_MOST_ELEMENTS]:
            parts = []
            for unit in (1.0, 1j) if dtypes.is_complex(x.dtype) else (1.0,):
                direction = [
                    np.zeros(y.shape, dtypes.complex128 if dtypes.is_complex(y.dtype) else dtypes.float64) for y in self.leaves
                ]
                direction[i][index] = unit * size
                parts.append(_pairing(cts, self.difference(direction)) / size)
            expected = parts[0] if len(parts) == 1 else complex(parts[0], -parts[1])
            off = float(abs(grad[index] - expected))
            off = math.inf if math.isnan(off) else off
            if worst is None or off > worst[0]:
                worst = off, index, expected, grad[index]
        if worst is None:
            return ""
        _, index, e, g = worst
        where = self.check.paths[i] + (f"[{', '.join(map(str, index))}]" if index else "")
        return f"; the worst element is {where}: expected {_number(e)}, got {_number(g)}"

    def _alone(self, direction: Sequence[np.ndarray[Any, Any]]) -> Iterator[tuple[str, list[np.ndarray[Any, Any]]]]:
        """Each argument's part of the direction by itself."""
        for i, (path, x) in enumerate(zip(self.check.paths, self.leaves, strict=True)):
            if _moves(x):
                yield path, [d if j == i else np.zeros_like(d) for j, d in enumerate(direction)]

    def _message(self, label: str, path: str, direction: Sequence[np.ndarray[Any, Any]], values: str, off: float) -> str:
        shown = [d for d in direction if d.size and np.any(d)]
        text = ", ".join(np.array2string(d, precision=4, threshold=6, separator=", ") for d in shown[:3]).replace("\n", "")
        if not math.isfinite(off):
            return (
                f"check_grads({self.check.name}): {label} is not finite, or the function is not, for argument {path}: the derivative along "
                f"{text} (seed {self.check.seed}): expected {values}. Check at a point around which the function is finite."
            )
        return (
            f"check_grads({self.check.name}): {label} is wrong for argument {path}: the derivative along {text} (seed {self.check.seed}): "
            f"expected {values}; they differ by {off:.3g}, allowed are atol={self.atol:.3g}, rtol={self.rtol:.3g} "
            f"(central difference with step {self.step:.3g})"
        )


def _number(x: Any) -> str:
    return f"{complex(x):.6g}" if np.iscomplexobj(x) or isinstance(x, complex) else f"{float(x):.6g}"
