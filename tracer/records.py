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
import functools
import sys
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, fields
from operator import attrgetter
from reprlib import recursive_repr
from types import CellType, CodeType, FunctionType, MemberDescriptorType
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

        def __init__(self, x, y=1, z=<factory>):
            __set_x(self, x)
            __set_y(self, y)
            __set_z(self, __of_z() if z is <factory> else z)

    `__set_x` is the assignment that a frozen class still allows: the slot's own where there are slots, in two thirds of the time of
    `object.__setattr__`.  A class that is not frozen says `self.x = x`.

    Compiling takes most of the time, and functions of as many fields differ in names only: the code of one is given the names of the next.
    """
    all_fields = fields(cls)
    names = tuple(f.name for f in all_fields)
    slots = frozen and all(isinstance(getattr(cls, name, None), MemberDescriptorType) for name in names)
    factories = tuple(k for k, f in enumerate(all_fields) if f.default_factory is not MISSING)
    code = _code(len(names), frozen, slots, factories, hasattr(cls, "__post_init__"))
    given: dict[str, Any] = {"__set": object.__setattr__, "__missing": _MISSING}
    for k, f in enumerate(all_fields):
        if slots:
            given[f"__set_{k}"] = getattr(cls, f.name).__set__
        elif frozen:
            given[f"__name_{k}"] = f.name
        if k in factories:
            given[f"__of_{k}"] = f.default_factory
    closure = tuple([CellType(given[name]) for name in code.co_freevars])
    attributes = code.co_names
    if not frozen:
        places = {f"f{k}": name for k, name in enumerate(names)}
        attributes = tuple([places.get(name, name) for name in attributes])
    code = code.replace(co_varnames=("self", *names), co_names=attributes, co_qualname=f"{cls.__qualname__}.__init__")
    defaults = tuple(_MISSING if f.default is MISSING else f.default for f in all_fields if _has_default(f))
    # As with the standard function, the code belongs to the class's module: its frames are not the user's (`errors.is_own`).
    function = FunctionType(code, vars(sys.modules[cls.__module__]), "__init__", defaults, closure)
    function.__annotations__ = {f.name: f.type for f in all_fields} | {"return": None}
    return function


def _has_default(f: Any) -> bool:
    return f.default is not MISSING or f.default_factory is not MISSING


@functools.cache
def _code(count: int, frozen: bool, slots: bool, factories: tuple[int, ...], more: bool) -> CodeType:
    """The code of an `__init__` of so many fields, f0, f1 and so on; `more` is for one that ends with `__post_init__`."""
    lines, outer = [], ["__set", "__missing"]
    for k in range(count):
        value = f"f{k}"
        if k in factories:
            value = f"__of_{k}() if f{k} is __missing else f{k}"
            outer.append(f"__of_{k}")
        if not frozen:
            lines.append(f"self.f{k} = {value}")
        elif slots:
            lines.append(f"__set_{k}(self, {value})")
            outer.append(f"__set_{k}")
        else:
            lines.append(f"__set(self, __name_{k}, {value})")
            outer.append(f"__name_{k}")
    if more:
        lines.append("self.__post_init__()")
    parameters = ", ".join(["self", *(f"f{k}" for k in range(count))])
    body = "\n  ".join(lines or ["pass"])
    made: dict[str, Any] = {}
    exec(f"def make({', '.join(outer)}):\n def __init__({parameters}):\n  {body}\n return __init__", made)
    code: CodeType = made["make"](*outer).__code__
    return code


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
