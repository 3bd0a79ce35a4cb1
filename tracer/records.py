"""Dataclasses whose methods cost nothing until they are used.

    from .records import dataclass

    @dataclass(frozen=True, slots=True)
    class Tile:
        '''A contraction around a tile kernel.'''
        kernel: str

It is `dataclasses.dataclass`: the same options, fields, `replace`, `match`, pickles, equality, hash and text; for type checkers it
is that function itself.  The standard one compiles the source of up to six methods for each class, 0.3 ms of import for a frozen
one, and fdl has nearly two hundred.  Here equality, hash, text and the refusal to be assigned are functions that know the class's fields,
and `__init__`, which is what is called most, is compiled when it is first looked up: by the first instance, or by `help`.  A class
takes a tenth of the time, and its instances the same.  Equality is that of the tuples of fields, on every Python.

Invariant: what a class is, its fields and slots, is the standard function's own work; only methods are added here, and standard
dataclasses may derive from it.  It takes the options that fdl uses, and no field that `__init__` doesn't take.

May be imported by: everything.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, fields
from operator import attrgetter
from reprlib import recursive_repr
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, init=True, eq=True, frozen=False, slots=False):
        """A class with the fields that its annotations name: `dataclasses.dataclass` with the options of that name.

        Example:
            >>> @dataclass(frozen=True, slots=True)
            ... class Point:
            ...     x: int
            ...     y: int = 0
            >>> Point(1), Point(1) == Point(1, 0), {Point(1)} == {Point(2)}
            (Point(x=1, y=0), True, False)
            >>> dataclasses.replace(Point(1), y=2)
            Point(x=1, y=2)
        """

        def made(cls):
            return _made(cls, init, eq, frozen, slots)

        return made if cls is None else made(cls)


def _made(cls: Any, init: bool, eq: bool, frozen: bool, slots: bool) -> Any:
    # The standard function asks `inspect` for a signature where there is no docstring.
    cls.__doc__ = cls.__doc__ or f"{cls.__name__}(...)"
    below_frozen = any(getattr(getattr(base, "__dataclass_params__", None), "frozen", False) for base in cls.__bases__)
    cls = dataclasses.dataclass(init=False, repr=False, eq=False, frozen=frozen and below_frozen, slots=slots)(cls)
    for option, value in {"init": init, "repr": True, "eq": eq, "frozen": frozen}.items():
        setattr(cls.__dataclass_params__, option, value)  # what a derived dataclass asks
    own = vars(cls)
    all_fields = fields(cls)
    assert all(f.init and not f.kw_only for f in all_fields), cls
    methods: dict[str, Any] = {"__repr__": _repr([f.name for f in all_fields if f.repr])}
    if init:
        methods["__init__"] = _Init(cls, frozen)
    if eq:
        key = _key([f.name for f in all_fields if f.compare])
        methods["__eq__"] = _eq(key)
        if own.get("__hash__") is None:  # that of a class with an `__eq__` of its own is None too
            cls.__hash__ = _hash(key) if frozen else None
    if frozen:
        names = frozenset(f.name for f in all_fields)
        methods["__setattr__"] = _refusing(cls, "__setattr__", "assign to", names)
        methods["__delattr__"] = _refusing(cls, "__delattr__", "delete", names)
        if slots:
            methods["__getstate__"], methods["__setstate__"] = _getstate, _setstate
    for name, method in methods.items():
        if name not in own:
            setattr(cls, name, method)
    return cls


# --- __init__ -------------------------------------------------------------------------------------


class _Init:
    """The `__init__` of a class until it is looked up, which writes it."""

    __slots__ = ("cls", "frozen")

    def __init__(self, cls: type, frozen: bool) -> None:
        self.cls = cls
        self.frozen = frozen

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        function = _written(self.cls, self.frozen)
        setattr(self.cls, "__init__", function)  # noqa: B010
        return function.__get__(instance, owner)


class _Missing:
    """The default, in the signature, of what a factory makes."""

    def __repr__(self) -> str:
        return "<factory>"


_MISSING = _Missing()


def _written(cls: Any, frozen: bool) -> Any:
    """The function `__init__`:

        def __init__(self, x, y=__of_y, z=__missing):
            __set(self, 'x', x)
            __set(self, 'y', y)
            __set(self, 'z', __of_z() if z is __missing else z)

    `__of_y` is a default, `__of_z` a factory of one, and `__set` the assignment that a frozen class still allows; with slots it is the
    slot's own, `__set_x(self, x)`, in two thirds of the time. A class that is not frozen says `self.x = x`.
    """
    parameters, lines = ["self"], []
    given: dict[str, Any] = {"__set": object.__setattr__, "__missing": _MISSING}
    for f in fields(cls):
        parameter = value = f.name
        if f.default is not MISSING:
            parameter, given[f"__of_{f.name}"] = f"{f.name}=__of_{f.name}", f.default
        elif f.default_factory is not MISSING:
            parameter, given[f"__of_{f.name}"] = f"{f.name}=__missing", f.default_factory
            value = f"__of_{f.name}() if {f.name} is __missing else {f.name}"
        parameters.append(parameter)
        slot = getattr(cls, f.name, None)
        if not frozen:
            lines.append(f"self.{f.name} = {value}")
        elif isinstance(slot, MemberDescriptorType):
            given[f"__set_{f.name}"] = slot.__set__
            lines.append(f"__set_{f.name}(self, {value})")
        else:
            lines.append(f"__set(self, {f.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n  ".join(lines or ["pass"])
    made: dict[str, Any] = {}
    # As with the standard function, the text belongs to the class's module: its frames are not the user's (`errors.is_own`).
    exec(
        f"def make({', '.join(given)}):\n def __init__({', '.join(parameters)}):\n  {body}\n return __init__",
        vars(sys.modules[cls.__module__]),
        made,
    )
    function = made["make"](**given)
    function.__qualname__ = f"{cls.__qualname__}.__init__"
    function.__annotations__ = {f.name: f.type for f in fields(cls)} | {"return": None}
    return function


# --- the other methods ----------------------------------------------------------------------------


def _key(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """The function instance → tuple of those fields."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda self: ()
    one = attrgetter(names[0])
    return lambda self: (one(self),)


def _eq(key: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any, Any], Any]:
    def __eq__(self: Any, other: Any) -> Any:
        return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash(key: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:
        return hash(key(self))

    return __hash__


def _repr(names: list[str]) -> Callable[[Any], str]:
    @recursive_repr()
    def __repr__(self: Any) -> str:
        return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _refusing(cls: type, method: str, verb: str, names: frozenset[str]) -> Callable[..., None]:
    """The method `__setattr__` or `__delattr__` of a frozen class: a derived one may have attributes of its own."""

    def refuse(self: Any, name: str, *value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot {verb} field {name!r}")
        getattr(super(cls, self), method)(name, *value)

    refuse.__name__ = method
    return refuse


def _getstate(self: Any) -> list[Any]:
    """What a pickle of a frozen class with slots holds: the values of its fields, as the standard function's does."""
    return [getattr(self, f.name) for f in fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for f, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, f.name, value)
