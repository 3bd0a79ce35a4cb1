"""Pytrees: nested containers of leaves, flattened and rebuilt, with key paths that errors name.

Containers are dict (order carries no meaning: keys are sorted; that of an OrderedDict is kept), list, tuple, namedtuple, frozen or plain
dataclass, None (no leaves) and classes given to `register`.  Everything else is a leaf.

Invariant: `unflatten(structure, leaves)` rebuilds what `flatten` took apart, and equal structures are equal and hash
alike.  May be imported by: everything.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeAlias

from .errors import TreeError, at, user_source
from .records import dataclass

Path: TypeAlias = tuple[str, ...]
"""The way to a leaf, each step as it is written in Python: `("['conv1']", "[0]", ".weight")`."""


@dataclass(frozen=True, slots=True)
class Structure:
    """The shape of a pytree: a container's type, its static data and its children's structures; or a leaf."""

    type: Any
    data: Hashable = None
    children: tuple[Structure, ...] = ()
    size: int = dataclasses.field(default=1, compare=False)

    def __repr__(self) -> str:
        return f"Structure({self._text()})"

    def _text(self) -> str:
        if self.type is _LEAF:
            return "*"
        if self.type is type(None):
            return "None"
        inner = [c._text() for c in self.children]
        if self.type is dict:
            assert isinstance(self.data, tuple)
            return "{" + ", ".join(f"{k!r}: {t}" for k, t in zip(self.data, inner, strict=True)) + "}"
        if self.type is list:
            return "[" + ", ".join(inner) + "]"
        if self.type is tuple:
            return "(" + ", ".join(inner) + ("," if len(inner) == 1 else "") + ")"
        return f"{self.type.__name__}({', '.join(inner)})"


class _Leaf:
    __name__ = "leaf"


_LEAF = _Leaf
LEAF = Structure(_LEAF)
NONE = Structure(type(None), None, (), 0)


@dataclass(frozen=True, slots=True)
class _Node:
    flatten: Callable[[Any], tuple[Sequence[Any], Hashable]]
    unflatten: Callable[[Any, Sequence[Any]], Any]
    steps: Callable[[Hashable, int], Sequence[str]]


_registry: dict[type, _Node] = {}


def register(
    cls: type,
    flatten: Callable[[Any], tuple[Sequence[Any], Hashable]],
    unflatten: Callable[[Any, Sequence[Any]], Any],
    names: Callable[[Hashable, int], Sequence[str]] | None = None,
) -> type:
    """Makes `cls` a pytree container, and returns it.

    Args:
        flatten: instance → (children, static data); the data must be hashable and comparable.
        unflatten: (data, children) → instance; it must not look into the children, which may be anything.
        names: (data, number of children) → each child's step in a key path, such as ".weight".

    Example:
        >>> class Pair:
        ...     def __init__(self, a, b): self.a, self.b = a, b
        >>> _ = register(Pair, lambda p: ((p.a, p.b), None), lambda _, ab: Pair(*ab), lambda _, n: (".a", ".b"))
        >>> [path_str(path, "p") for path, _ in flatten_with_paths(Pair(1, [2]))[0]]
        ['p.a', 'p.b[0]']
    """
    if cls in _registry:
        raise ValueError(f"{cls.__qualname__} is registered as a pytree already")
    _registry[cls] = _Node(flatten, unflatten, names or (lambda _, n: [f"[{i}]" for i in range(n)]))
    _kinds.pop(cls, None)
    return cls


def as_leaf(cls: type) -> type:
    """Makes instances of `cls` leaves, although they are dataclasses or tuples, and returns it: a decorator."""
    _kinds[cls] = None
    return cls


def _sorted_keys(d: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(d)
    except TypeError:
        raise TreeError(
            f"a dict's keys must be sortable to be a pytree; got keys {_short(list(d))}. Use keys of one type, such as str."
            f"{at(user_source())}"
        ) from None


def _dataclass_node(cls: type) -> _Node:
    fields = dataclasses.fields(cls)
    dynamic = tuple(f.name for f in fields if not f.metadata.get("static", False))
    static = tuple(f.name for f in fields if f.metadata.get("static", False))

    def flat(x: Any) -> tuple[Sequence[Any], Hashable]:
        return [getattr(x, n) for n in dynamic], tuple(getattr(x, n) for n in static)

    def unflat(data: Any, children: Sequence[Any]) -> Any:
        new: Any = object.__new__(cls)
        for n, v in (*zip(dynamic, children, strict=True), *zip(static, data, strict=True)):
            object.__setattr__(new, n, v)
        return new

    return _Node(flat, unflat, lambda _, n: [f".{name}" for name in dynamic])


_KEY_STEPS: Callable[[Hashable, int], Sequence[str]] = lambda keys, _: [f"[{k!r}]" for k in keys]  # type: ignore[attr-defined]  # noqa: E731
_SEQUENCE_STEPS: Callable[[Hashable, int], Sequence[str]] = lambda _, n: [f"[{i}]" for i in range(n)]  # noqa: E731
_kinds: dict[type, _Node | None] = {
    list: _Node(lambda x: (x, None), lambda _, c: list(c), _SEQUENCE_STEPS),
    tuple: _Node(lambda x: (x, None), lambda _, c: tuple(c), _SEQUENCE_STEPS),
    dict: _Node(
        lambda x: ([x[k] for k in _sorted_keys(x)], tuple(_sorted_keys(x))),
        lambda keys, c: dict(zip(keys, c, strict=True)),
        _KEY_STEPS,
    ),
}


def _node_of(cls: type) -> _Node | None:
    """How to take instances of `cls` apart; None for a leaf."""
    try:
        return _kinds[cls]
    except KeyError:
        pass
    node = _registry.get(cls)
    if node is None and issubclass(cls, tuple) and hasattr(cls, "_fields"):
        names = [f".{n}" for n in cls._fields]
        node = _Node(lambda x: (x, None), lambda _, c: cls(*c), lambda _, n: names)
    elif node is None and issubclass(cls, OrderedDict):  # whose order is part of it
        node = _Node(lambda x: (list(x.values()), tuple(x)), lambda keys, c: cls(zip(keys, c, strict=True)), _KEY_STEPS)
    elif node is None and issubclass(cls, defaultdict):
        node = _Node(
            lambda x: ([x[k] for k in _sorted_keys(x)], (x.default_factory, *_sorted_keys(x))),
            lambda data, c: cls(data[0], zip(data[1:], c, strict=True)),
            lambda data, n: _KEY_STEPS(data[1:], n),  # type: ignore[index]
        )
    elif node is None and issubclass(cls, dict):
        node = _kinds[dict]
        assert node is not None
        base = node
        node = _Node(base.flatten, lambda keys, c: cls(zip(keys, c, strict=True)), base.steps)
    elif node is None and dataclasses.is_dataclass(cls):
        node = _dataclass_node(cls)
    _kinds[cls] = node
    return node


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Structure]:
    """The leaves of `tree`, left to right, and its structure.

    Example:
        >>> flatten({"b": [1, 2], "a": None})
        ([1, 2], Structure({'a': None, 'b': [*, *]}))
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: Any, leaves: list[Any], is_leaf: Callable[[Any], bool] | None) -> Structure:
    if is_leaf is not None and is_leaf(tree):
        leaves.append(tree)
        return LEAF
    if tree is None:
        return NONE
    cls = type(tree)
    node = _node_of(cls)
    if node is None:
        leaves.append(tree)
        return LEAF
    children, data = node.flatten(tree)
    start = len(leaves)
    structures = tuple([_flatten(c, leaves, is_leaf) for c in children])
    return Structure(cls, data, structures, len(leaves) - start)


def unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """The pytree of the given structure with the given leaves.

    Raises: TreeError when the number of leaves is not the structure's.
    """
    leaves = list(leaves)
    if len(leaves) != structure.size:
        raise TreeError(
            f"the structure has {structure.size} leaves, but {len(leaves)} were given: {structure}{at(user_source())}"
        )
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Any) -> Any:
    if structure.type is _LEAF:
        return next(leaves)
    if structure.type is type(None):
        return None
    node = _node_of(structure.type)
    assert node is not None, structure
    return node.unflatten(structure.data, [_unflatten(c, leaves) for c in structure.children])


def leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of `tree`, left to right."""
    return flatten(tree, is_leaf)[0]


def structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Structure:
    """The structure of `tree`."""
    return flatten(tree, is_leaf)[1]


def flatten_with_paths(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[tuple[Path, Any]], Structure]:
    """The (key path, leaf) pairs of `tree`, left to right, and its structure."""
    flat, s = flatten(tree, is_leaf)
    return list(zip(paths(s), flat, strict=True)), s


def paths(s: Structure) -> list[Path]:
    """The key path of each leaf of a structure."""
    if s.type is _LEAF:
        return [()]
    if s.type is type(None):
        return []
    node = _node_of(s.type)
    assert node is not None, s
    steps = node.steps(s.data, len(s.children))
    return [(step, *rest) for step, child in zip(steps, s.children, strict=True) for rest in paths(child)]


def path_str(path: Path, root: str = "") -> str:
    """A key path as Python writes it: `params['conv1']['w']`."""
    return root + "".join(path)


def map(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None, names: Sequence[str] = ()
) -> Any:
    """The tree of `f(leaf, *leaves of rest)`; each of `rest` has the structure of `tree`, or continues below its leaves.

    Args:
        names: what errors call `tree` and each of `rest`.

    Raises: TreeError naming the first key path at which a tree of `rest` differs.

    Example:
        >>> map(lambda a, b: a + b, {"x": 1, "y": (2,)}, {"x": 10, "y": (20,)})
        {'x': 11, 'y': (22,)}
    """
    flat, s = flatten(tree, is_leaf)
    columns = [flat]
    for i, r in enumerate(rest, 1):
        if names:
            columns.append(flatten_up_to(s, r, f"{names[i]} is not nested like {names[0]}: {names[i]}"))
        else:
            columns.append(flatten_up_to(s, r))
    return unflatten(s, [f(*row) for row in zip(*columns, strict=True)])


def flatten_up_to(s: Structure, tree: Any, root: str = "tree", words: tuple[str, str] = ("expected", "got")) -> list[Any]:
    """The subtrees of `tree` at the leaves of `s`; raises a TreeError that names the key path where they part.

    Args:
        words: what the error says of `s`, and of `tree`: "params['w']: expected a tuple of 2, got an array or a scalar".
    """
    out: list[Any] = []
    _up_to(s, tree, root, words, out)
    return out


def _up_to(s: Structure, tree: Any, where: str, words: tuple[str, str], out: list[Any]) -> None:
    if s.type is _LEAF:
        out.append(tree)
        return
    given = structure(tree) if tree is None or type(tree) is not s.type else None
    if given is not None and given.type is not s.type:
        raise TreeError(f"{where}: {words[0]} {described(s)}, {words[1]} {described(given)}.{at(user_source())}")
    if s.type is type(None):
        return
    node = _node_of(s.type)
    assert node is not None, s
    children, data = node.flatten(tree)
    if data != s.data or len(children) != len(s.children):
        raise TreeError(f"{where}: {words[0]} {described(s)}, {words[1]} {described(structure(tree))}.{at(user_source())}")
    for step, child_s, child in builtins.zip(node.steps(data, len(children)), s.children, children, strict=True):
        _up_to(child_s, child, where + step, words, out)


def described(s: Structure) -> str:
    """A structure in words, for messages: "a tuple of 2", "a dict with keys ['b', 'w']", "an array or a scalar"."""
    if s.type is _LEAF:
        return "an array or a scalar"
    if s.type is dict and isinstance(s.data, tuple):
        return f"a dict with keys {list(s.data)!r}"
    if s.type is type(None):
        return "None"
    return f"a {s.type.__name__} of {len(s.children)}"


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 60 else text[:57] + "..."


def difference(a: Structure, b: Structure, root: str = "tree", words: tuple[str, str] = ("expected", "got")) -> str:
    """Where two structures first part: "params['w']: expected a dict with keys [...], got None"; "" when they are equal."""
    if a == b:
        return ""
    if a.type is not b.type or a.data != b.data or len(a.children) != len(b.children):
        return f"{root}: {words[0]} {described(a)}, {words[1]} {described(b)}"
    node = _node_of(a.type)
    assert node is not None
    steps = node.steps(a.data, len(a.children))
    pairs = builtins.zip(steps, a.children, b.children, strict=True)
    return next(d for s, x, y in pairs if (d := difference(x, y, root + s, words)))


def all_leaves(values: Iterable[Any]) -> bool:
    """Whether none of `values` is a container."""
    return all(v is not None and _node_of(type(v)) is None for v in values)
