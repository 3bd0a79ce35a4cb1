"""What the derivatives ask of their arguments: arrays of the right dtypes, and pytrees that fit. Every error names the argument."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import elementwise
from fdl.tracer.trace import check_array, described

from .signature import FlatFunction, argument_name, as_value, check_leaves, name_of

ArgNums = int | Sequence[int]


def arrays(x: Any) -> Any:
    """`x`, a pytree, with its leaves as users get them."""
    return tree.map(as_value, x)


def check_callable(f: Any, transform: str) -> None:
    """Raises TypeError unless `f` can be called."""
    if not callable(f):
        raise TypeError(f"{transform} expects a function, got {described(f)}.{at(user_source())}")


def positions_of(transform: str, argnums: Any) -> tuple[int, ...]:
    """`argnums` as a tuple; raises TypeError for anything but an int or a sequence of ints."""
    try:
        numbers = list(argnums) if is_several(argnums) else [argnums]
        if any(isinstance(n, bool) for n in numbers):
            raise TypeError
        return tuple(operator.index(n) for n in numbers)
    except TypeError:
        raise TypeError(
            f"{transform}: argnums: expected an int or a sequence of ints, got {argnums!r}.{at(user_source())}"
        ) from None


def is_several(argnums: Any) -> bool:
    """Whether `argnums` is a sequence, for which a derivative is a tuple."""
    try:
        operator.index(argnums)
    except TypeError:
        return True
    return False


class Differentiated:
    """A call's arguments that are differentiated, as flat leaves, and the function of these leaves that is left.

    Attributes:
        leaves: the leaves of the chosen arguments, in order.
        paths: how a message names each leaf: "params['w']".
        function: of the leaves; it remembers the structure of what `f` returned.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        transform: str,
        argnums: ArgNums,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        has_aux: bool,
    ) -> None:
        positions = positions_of(transform, argnums)
        self.several = is_several(argnums)
        chosen = [self._position(f, transform, p, args, kwargs) for p in positions]
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"{transform}({name_of(f)}): argnums={argnums!r} names an argument twice.{at(user_source())}")
        self.paths: list[str] = []
        self.structures = []
        self.leaves: list[Any] = []
        for p in chosen:
            root = argument_name(f, p)
            check_leaves(f, transform, root, args[p])
            leaves, s = tree.flatten(args[p])
            self.leaves += leaves
            self.structures.append(s)
            self.paths += [tree.path_str(path, root) for path in tree.paths(s)]
        self.types = [type_of(x) for x in self.leaves]
        structures = self.structures

        def inner(*leaves: Any) -> Any:
            rest, new = iter(leaves), list(args)
            for p, s in zip(chosen, structures, strict=True):
                new[p] = tree.unflatten(s, [next(rest) for _ in range(s.size)])
            return f(*new, **kwargs)

        inner.__name__ = name_of(f)
        structure = tree.structure((tuple(self.leaves), {}))
        self.function = FlatFunction(inner, structure, has_aux, user=f, names=lambda: self.paths)

    @staticmethod
    def _position(f: Callable[..., Any], transform: str, p: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        n = len(args)
        if -n <= p < n:
            return p % n
        name = argument_name(f, p) if p >= 0 else ""
        passed = f"{name!r} was passed by keyword" if name in kwargs else f"the call has {n} positional arguments"
        raise ValueError(
            f"{transform}({name_of(f)}): argnums={p}, but {passed}. Pass that argument by position.{at(user_source())}"
        )

    def tree_of(self, values: Sequence[Any]) -> Any:
        """One value for each leaf, in the structure of the chosen arguments: a tuple of them where argnums is a sequence."""
        rest = iter(values)
        result = tuple(tree.unflatten(s, [next(rest) for _ in range(s.size)]) for s in self.structures)
        return result if self.several else result[0]


# --- dtypes ---------------------------------------------------------------------------------------


def check_inputs(
    f: Callable[..., Any],
    transform: str,
    chosen: Differentiated,
    *,
    holomorphic: bool,
    allow_int: bool = False,
    allow_complex: bool = True,
) -> None:
    """Raises a DTypeError that names the first argument that has no derivative here."""
    for path, t in zip(chosen.paths, chosen.types, strict=True):
        who = f"{transform}({name_of(f)}): argument {path} has dtype {t.dtype.name}"
        if holomorphic and not dtypes.is_complex(t.dtype):
            raise DTypeError(
                f"{who}, expected a complex one, since holomorphic=True. Convert it with .astype.{at(user_source())}"
            )
        if not dtypes.is_inexact(t.dtype) and not allow_int:
            raise DTypeError(
                f"{who}, expected a floating-point one. Convert it with .astype(float), or choose other argnums.{at(user_source())}"
            )
        if dtypes.is_complex(t.dtype) and not holomorphic and not allow_complex:
            raise DTypeError(
                f"{who}: forward mode cannot tell the two real derivatives of a complex argument apart. Pass holomorphic=True "
                f"where the function is holomorphic, or split it in real and imaginary parts.{at(user_source())}"
            )


def check_outputs(
    f: Callable[..., Any], transform: str, outs: Sequence[Any], s: tree.Structure, *, holomorphic: bool, allow_complex: bool = False
) -> None:
    """Raises a DTypeError that names the first output that has no derivative here.

    Args:
        allow_complex: whether complex outputs have one where the arguments are real: in forward mode.
    """
    for path, x in zip(tree.paths(s), outs, strict=True):
        t = type_of(x)
        who = f"{transform}({name_of(f)}): the output{tree.path_str(path)} has dtype {t.dtype.name}"
        if holomorphic and not dtypes.is_complex(t.dtype):
            raise DTypeError(f"{who}, expected a complex one, since holomorphic=True.{at(user_source())}")
        if not holomorphic and dtypes.is_complex(t.dtype) and not allow_complex:
            raise DTypeError(
                f"{who}, expected a real floating-point one. For a holomorphic function pass holomorphic=True; else differentiate its real "
                f"and imaginary parts.{at(user_source())}"
            )
        if not dtypes.is_inexact(t.dtype):
            raise DTypeError(f"{who}, expected a floating-point one. Return it with has_aux=True.{at(user_source())}")


def check_scalar(f: Callable[..., Any], transform: str, function: FlatFunction, outs: Sequence[Any], holomorphic: bool) -> None:
    """Raises ShapeError or DTypeError unless a function returned one real scalar (a complex one when holomorphic)."""
    if function.out_structure != tree.LEAF or type_of(outs[0]).shape != ():
        got = (
            f"an array of shape {type_of(outs[0]).shape}"
            if function.out_structure == tree.LEAF
            else tree.described(function.out_structure)
        )
        raise ShapeError(
            f"{transform}({name_of(f)}): the function must return one scalar, got {got}. "
            f"Sum or average it, use has_aux=True for what goes along, or use vjp.{at(user_source())}"
        )
    t = type_of(outs[0])
    if not (dtypes.is_complex(t.dtype) if holomorphic else dtypes.is_float(t.dtype)):
        wanted = "complex scalar, since holomorphic=True" if holomorphic else "real floating-point scalar"
        hint = " For a holomorphic function pass holomorphic=True." if dtypes.is_complex(t.dtype) else ""
        raise DTypeError(
            f"{transform}({name_of(f)}): the function returns dtype {t.dtype.name}, expected a {wanted}.{hint}{at(user_source())}"
        )


# --- tangents and cotangents ----------------------------------------------------------------------


def cast(x: Any, t: Type, what: str) -> Any:
    """`x` as a tangent or cotangent of type `t`; raises ShapeError or DTypeError that begins with `what`. Python scalars adapt."""
    given = type_of(x)
    if given.shape != t.shape:
        raise ShapeError(f"{what} has shape {given.shape}, expected {t.shape}.{at(user_source())}")
    if given.dtype != t.dtype:
        if not given.weak:
            raise DTypeError(
                f"{what} has dtype {given.dtype.name}, expected {t.dtype.name}. Convert it with .astype.{at(user_source())}"
            )
        return elementwise.convert(x, t.dtype)
    return x


def like_primals(
    who: str, names: Sequence[str], structure: tree.Structure, types: Sequence[Type], tangents: Sequence[Any]
) -> list[Any]:
    """The leaves of `tangents`, a tuple of pytrees like the primals; None in the place of tangents of integers.

    Args:
        who: how errors begin.
        names: what they call the primals.
    """
    for i, tangent in enumerate(tangents):
        name = names[i] if i < len(names) else f"argument {i}"
        for path, x in tree.flatten_with_paths(tangent)[0]:
            check_array(x, f"{who}: the tangent of {tree.path_str(path, name)}")
    dots, given = tree.flatten(tuple(tangents))
    if structure != given:
        difference = tree.difference(structure, given, "tangents")
        raise ShapeError(f"{who}: the tangents are not nested like the primals: {difference}.{at(user_source())}")
    labels = [tree.path_str(path, name) for name, s in zip(names, structure.children, strict=True) for path in tree.paths(s)]
    return [
        cast(d, t.strong(), f"{who}: the tangent of {label}") if dtypes.is_inexact(t.dtype) else None
        for label, d, t in zip(labels, dots, types, strict=True)
    ]


def flat_primals(
    f: Callable[..., Any], transform: str, primals: Sequence[Any], has_aux: bool
) -> tuple[list[Any], tree.Structure, FlatFunction]:
    """The leaves of positional arguments, the structure of their tuple, and `f` as a function of the leaves."""
    check_callable(f, transform)
    for i, p in enumerate(primals):
        check_leaves(f, transform, argument_name(f, i), p)
    flat, structure = tree.flatten(tuple(primals))
    return flat, structure, flat_function(f, structure, has_aux)


def flat_function(f: Callable[..., Any], structure: tree.Structure, has_aux: bool = False) -> FlatFunction:
    """`f` as a function of the leaves of its tuple of positional arguments."""
    return FlatFunction(f, tree.Structure(tuple, None, (structure, tree.structure({})), structure.size), has_aux)
