"""What `custom_jvp` and `custom_vjp` share: a call's arguments by position, its flat form, and the checks of what rules return.

What a call does under each transform is in `tracer.transforms.custom_jvp` and `custom_vjp`, which know flat functions only; here are the
pytrees, the names and the messages.
"""

from __future__ import annotations

import abc
import functools
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from fdl.tracer import dtypes, tree
from fdl.tracer.array import own
from fdl.tracer.errors import DTypeError, ShapeError, TreeError, at, user_source
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import elementwise
from fdl.tracer.trace import Tracer, check_array
from fdl.tracer.trace import described as described_value
from fdl.tracer.transforms.custom_jvp import name_of_rule

from .signature import argument_name, as_value, name_of, sequence


class Custom(abc.ABC):
    """What both kinds share: the arguments by position, and which of them are no arrays."""

    kind = ""

    @abc.abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""

    def __init__(self, f: Callable[..., Any], nondiff_argnums: int | Sequence[int], nondiff_argnames: str | Sequence[str]) -> None:
        functools.update_wrapper(self, f)
        self._f, self._name = f, name_of(f)
        try:
            self._signature: inspect.Signature | None = inspect.signature(f)
        except (TypeError, ValueError):
            self._signature = None
        names = list(self._signature.parameters) if self._signature is not None else []
        nondiff_argnums = sequence(f"{self.kind} {self._name}: nondiff_argnums", nondiff_argnums, int)
        nondiff_argnames = sequence(f"{self.kind} {self._name}: nondiff_argnames", nondiff_argnames, str)
        for n in nondiff_argnames:
            if n not in names:
                raise ValueError(
                    f"{self.kind} {self._name}: nondiff_argnames: {n!r} is no parameter; it has {names}.{at(user_source())}"
                )
        self._nondiff = tuple(sorted({*nondiff_argnums, *(names.index(n) for n in nondiff_argnames)}))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<{self.kind} of {self._name}>"

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, defaults included: rules see them so."""
        if self._signature is None:
            if kwargs:
                raise TypeError(
                    f"{self.kind} {self._name}: its signature is not known: pass arguments by position.{at(user_source())}"
                )
            return args
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"{self.kind} {self._name}{self._signature}: {e}.{at(user_source())}") from None
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"{self.kind} {self._name}: the keyword-only arguments {sorted(bound.kwargs)} have no position, by which rules "
                f"take arguments. Make them positional.{at(user_source())}"
            )
        return bound.args

    def _call_of(self, args: tuple[Any, ...]) -> tuple[Call, list[Any]]:
        """A call with these arguments, and the leaves of those that are differentiated."""
        n = len(args)
        fixed = [i % n for i in self._nondiff if -n <= i < n]
        if len(fixed) != len(self._nondiff):
            raise ValueError(
                f"{self.kind} {self._name}: nondiff_argnums={self._nondiff}, but the call has {n} arguments.{at(user_source())}"
            )
        moving = tuple(i for i in range(n) if i not in fixed)
        leaves, structure = tree.flatten(tuple(args[i] for i in moving))
        roots = [argument_name(self._f, i) for i in moving]
        for i, root in zip(moving, roots, strict=True):
            for path, leaf in tree.flatten_with_paths(args[i])[0]:
                label = f"{self.kind} {self._name}: argument {tree.path_str(path, root)}"
                try:
                    check_array(leaf, label)
                except DTypeError as e:
                    raise DTypeError(f"{e} (a Python value goes into nondiff_argnums)") from None
        call = Call(self.kind, self._f, structure, moving, {i: args[i] for i in sorted(fixed)}, roots)
        call.weak = tuple(type_of(x).weak for x in leaves)
        return call, leaves


class Call:
    """One call of a custom function, as flat functions of its array leaves."""

    def __init__(
        self, kind: str, f: Callable[..., Any], structure: tree.Structure, moving: tuple[int, ...], fixed: dict[int, Any],
        roots: list[str],
    ) -> None:  # fmt: skip
        self.kind, self.f, self.structure = kind, f, structure
        self.moving, self.fixed, self.roots = moving, fixed, roots
        self.name = name_of(f)
        self.out_structure: tree.Structure | None = None
        self.out_types: tuple[Type, ...] = ()
        # A scalar that became a literal of a program is strong when the program runs again: the call remembers.
        self.weak: tuple[bool, ...] = ()

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """All arguments by position, with these leaves."""
        values = dict(zip(self.moving, self.nested(leaves), strict=True)) | self.fixed
        return [values[i] for i in range(len(values))]

    def nested(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments that are differentiated, or tangents of them, with these leaves: fdl arrays, whatever the caller gave."""
        values: tuple[Any, ...] = tree.unflatten(self.structure, [x if isinstance(x, Tracer) else own(x) for x in leaves])
        return values

    def function(self, *leaves: Any) -> list[Any]:
        """The flat function."""
        outs, self.out_structure = tree.flatten(self.f(*self.arguments(leaves)))
        for path, x in zip(tree.paths(self.out_structure), outs, strict=True):
            check_array(x, f"{self.kind} {self.name}: its output{tree.path_str(path)}")
        self.out_types = tuple(type_of(x) for x in outs)
        return outs

    def result(self, outs: Sequence[Any]) -> Any:
        """What the user gets."""
        assert self.out_structure is not None
        return tree.unflatten(self.out_structure, [as_value(x) for x in outs])

    def check_output(self, rule: str, out: Any) -> list[Any]:
        """The leaves of a rule's primal output; raises unless it is like what the function returns, where that is known."""
        outs, s = tree.flatten(out)
        who = f"{self.kind} {self.name}: the primal output of the rule {rule}"
        for path, x in zip(tree.paths(s), outs, strict=True):
            check_array(x, f"{who}{tree.path_str(path)}")
        if self.out_structure is None:
            self.out_structure, self.out_types = s, tuple(type_of(x) for x in outs)
            return outs
        if s != self.out_structure:
            difference = tree.difference(self.out_structure, s, "output")
            raise TreeError(f"{who} is not nested like what {self.name} returns: {difference}{at(user_source())}")
        for i, (path, x, t) in enumerate(zip(tree.paths(s), outs, self.out_types, strict=True)):
            outs[i] = fit(x, t, f"{who}{tree.path_str(path)}", f"as {self.name} returns")
        return outs


def fit(x: Any, t: Type, who: str, why: str) -> Any:
    """`x` in the type `t`; raises ShapeError or DTypeError that begins with `who`.

    Python scalars adapt, on either side: a cotangent of an argument that was given as 2.0 may be of any precision.
    """
    given = check_array(x, who)
    expected = f"expected {t.strong()}, {why}"
    if given.shape != t.shape:
        raise ShapeError(f"{who} has type {given.strong()}, {expected}.{at(user_source())}")
    if given.dtype == t.dtype:
        return x
    adapts = given.weak and dtypes.promote((t.dtype, False), (given.dtype, True))[0] == t.dtype
    if not adapts and not (
        t.weak and dtypes.is_inexact(t.dtype) and dtypes.is_complex(given.dtype) == dtypes.is_complex(t.dtype)
    ):
        raise DTypeError(f"{who} has type {given.strong()}, {expected}. Convert it with .astype.{at(user_source())}")
    return elementwise.convert(x, t.dtype)


class Rule:
    """A user's rule as a slot of the IR: known by its name, equal where function, rule and arguments are."""

    __slots__ = ("_key", "call", "f", "name")

    def __init__(self, f: Callable[..., Any], call: Call) -> None:
        self.f, self.call, self.name = f, call, name_of_rule(f)
        key = (type(self), f, call.f, call.structure, tuple(call.fixed.items()))
        try:
            hash(key)
        except TypeError:
            key = (id(self),)  # type: ignore[assignment]
        self._key: Hashable = key

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self._key == other._key

    def __repr__(self) -> str:
        return f"<rule {self.name}>"


def described(x: Any) -> str:
    """What messages call something that a rule returned."""
    s = tree.structure(x)
    if s != tree.LEAF:
        return tree.described(s)
    try:
        return f"an array of type {type_of(x).strong()}"
    except TypeError:
        return described_value(x)
