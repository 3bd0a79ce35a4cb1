"""`save` and `load`: any pytree in one file, checked when it is read back.

The arrays are stored in the safetensors format under dotted names (`params.conv1.w`), so that other tools read them
too.  The nesting, Python scalars and everything else that is no array goes into the file's metadata as JSON::

    None               null
    list, tuple        {"list": [node, ...]}, {"tuple": [node, ...]}
    dict               {"dict": [[key, node], ...]}
    other containers   {"class": "module:Name", "kind": k, "children": [[step, node], ...], "data": static data}
    array              {"array": name, "as": "array" | "weak" | "numpy" | "scalar", "dtype": short name}
    scalar             {"bool": true}, {"int": 3}, {"float": "0x1.8p+1"}, {"complex": [re, im]}, {"str": "..."}

Invariant: what `load` returns equals what `save` was given, in structure, types and bits.  No code is stored or run:
without `like`, only dataclasses and named tuples are rebuilt, and only those that the program has already imported.

May import: tracer, safetensors.  May be imported by: users.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from . import safetensors
from .numpy.scalar_types import ScalarType
from .safetensors import FormatError
from .tracer import dtypes, errors, tree
from .tracer.array import Array, ArrayBase, private
from .tracer.errors import DTypeError, FdlError, TreeError

Node: TypeAlias = Any
"""JSON that describes a pytree."""

_TREE, _CRC, _ROOT = "fdl.tree", "fdl.crc32", "tree"
_COMPLEX_PARTS = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}
_MOST_FAULTS = 8


def save(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a pytree to `path`, in one step: after a crash the file there is the old one or the new one.

    Args:
        path: in a folder that exists; a file there is replaced.
        value: arrays, NumPy arrays, Python scalars and strings, in any nesting of pytree containers.

    Raises: DTypeError naming the key path of a leaf that cannot be saved; OSError of the file system.

    Example:
        >>> import tempfile, fdl.numpy as fnp
        >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
        >>> save(path, {"w": fnp.ones((2, 3)), "step": 3})
        >>> load(path)["step"]
        3
    """
    with _naming_the_line():
        _save(path, value)


def _save(path: str | os.PathLike[str], value: Any) -> None:
    leaves, structure = tree.flatten_with_paths(value)
    names = _tensor_names([p for p, _ in leaves])
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    encoded = [_encode_leaf(tree.path_str(p, _ROOT), leaf, n, arrays) for (p, leaf), n in zip(leaves, names, strict=True)]
    text = json.dumps(_encode(structure, iter(encoded)), separators=(",", ":"))
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        line = errors.at(errors.user_source())
        raise FileNotFoundError(f"save: the folder {folder} does not exist. Make it first, or save elsewhere.{line}")
    safetensors.write(path, arrays, {_TREE: text, _CRC: _checksum(text, arrays)})


def load(path: str | os.PathLike[str], like: Any = None) -> Any:
    """The pytree that `save` wrote to `path`, with the types it had: `fdl.Array`s, NumPy arrays, scalars, containers.

    A safetensors file of another program gives a dict from its names to `fdl.Array`s; with `like`, its arrays are
    looked up by dotted names.

    Args:
        like: a pytree of the expected structure, whose array leaves have the expected shapes and dtypes (arrays, or
            what `fdl.eval_shape` returns). Classes that were registered, or hold functions, are rebuilt from it.

    Raises: TreeError when the file's structure, a shape or a dtype differs from `like`'s, naming the key path;
        FormatError for a file that is damaged or no safetensors file; OSError of the file system.

    Example:
        >>> import tempfile, fdl.numpy as fnp
        >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
        >>> save(path, {"w": fnp.ones((2, 3))})
        >>> load(path, like={"w": fnp.zeros((3, 2))})
        Traceback (most recent call last):
        ...
        fdl.tracer.errors.TreeError: ...model.safetensors does not fit `like`:
          tree['w']: saved (2, 3) float32, expected (3, 2) float32
          at ...
    """
    with _naming_the_line():
        return _load(path, like)


@contextlib.contextmanager
def _naming_the_line() -> Iterator[None]:
    """A block whose errors of fdl's own name the user's line; those of the file system are Python's."""
    try:
        yield
    except FdlError as error:
        if "\n  at " not in str(error):
            error.args = (f"{error}{errors.at(errors.user_source())}",)
        raise


def _load(path: str | os.PathLike[str], like: Any) -> Any:
    arrays, metadata = safetensors.read(path)
    where = os.fspath(path)
    if _TREE not in metadata and _CRC not in metadata:
        return _load_foreign(where, arrays, like)
    if metadata.get(_CRC) != _checksum(metadata.get(_TREE, ""), arrays):
        raise FormatError(f"{where}: damaged: its checksum differs from its content's. Restore it from a copy.")
    expected = None if like is None else _encode_like(like)
    try:
        saved = json.loads(metadata[_TREE])
        if like is None:
            return _decode(saved, arrays, where, _ROOT)
        faults = list(_differences(saved, expected, arrays, _ROOT))
        if faults:
            raise _misfit(where, faults)
        return tree.unflatten(tree.structure(like), [_decode(n, arrays, where, _ROOT) for n in _leaf_nodes(saved)])
    except (KeyError, IndexError, AttributeError, json.JSONDecodeError, RecursionError) as fault:
        raise FormatError(f"{where}: damaged: the description of its structure makes no sense ({fault!r}).") from None


def _misfit(where: str, faults: list[str]) -> TreeError:
    shown = [f"  {fault}" for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        shown.append(f"  and {len(faults) - _MOST_FAULTS} more")
    return TreeError("\n".join([f"{where} does not fit `like`:", *shown]))


def _checksum(text: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """A CRC-32 of all that a file says: its names, dtypes, shapes, structure and data."""
    described = [(name, arrays[name].dtype.name, arrays[name].shape) for name in sorted(arrays)]
    crc = zlib.crc32(repr((text, described)).encode())
    for name in sorted(arrays):
        crc = zlib.crc32(safetensors.raw_bytes(arrays[name]).data, crc)
    return f"{crc:08x}"


def _tensor_names(paths: list[tree.Path]) -> list[str]:
    """A name for each key path: its steps with dots between them, made distinct."""
    taken = {safetensors.METADATA}
    names = []
    for path in paths:
        name = plain = ".".join(_plain_step(step) for step in path) or "value"
        count = 1
        while name in taken:
            count += 1
            name = f"{plain}#{count}"
        taken.add(name)
        names.append(name)
    return names


def _plain_step(step: str) -> str:
    """A step of a key path without Python's punctuation: ['conv1'] → conv1, [0] → 0, .weight → weight."""
    if step.startswith(("['", '["')):
        return step[2:-2]
    return step[1:-1] if step.startswith("[") else step.removeprefix(".")


def _encode_leaf(where: str, leaf: Any, name: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Node:
    """The JSON of a leaf; an array is added to `arrays` under `name`."""
    if isinstance(leaf, Array):
        data, kind = leaf.data, "weak" if leaf.weak_type else "array"
    elif isinstance(leaf, ArrayBase):
        raise DTypeError(
            f"save: {where} is a value inside a transformation, of type {leaf.type.strong()}. Return it, and save it outside."
        )
    elif isinstance(leaf, np.ndarray | np.generic):
        data, kind = np.asarray(leaf), "numpy" if isinstance(leaf, np.ndarray) else "scalar"
    else:
        return _encode_scalar(leaf, f"save: {where}")
    if data.dtype.newbyteorder("=") not in dtypes.SHORT:
        raise DTypeError(f"save: {where} has dtype {data.dtype}, expected one of {', '.join(d.name for d in dtypes.ALL)}.")
    data = data.astype(data.dtype.newbyteorder("="), copy=False)
    parts = _COMPLEX_PARTS.get(data.dtype)
    # The format has no complex128, and older readers have no complex64: pairs (real, imaginary) on a further axis.
    arrays[name] = data if parts is None else np.asarray(data, order="C")[..., np.newaxis].view(parts)
    return {"array": name, "as": kind, "dtype": dtypes.SHORT[data.dtype]}


def _encode_scalar(value: Any, where: str) -> Node:
    # Types are compared exactly: a subclass, such as an IntEnum's member, would come back as something else.
    kind = type(value)
    if kind in (bool, int, str):
        return {kind.__name__: value}
    if kind is float:
        return {"float": value.hex()}
    if kind is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    raise DTypeError(f"{where} is a {kind.__name__}, which cannot be saved. Expected an array, a number or a string.")


def _decode_scalar(node: Node) -> Any:
    ((kind, value),) = node.items()
    match kind:
        case "bool" | "int" | "str":
            return value
        case "float":
            return float.fromhex(value)
        case "complex":
            return complex(*(float.fromhex(part) for part in value))
    raise KeyError(kind)


def _encode(s: tree.Structure, leaves: Iterator[Node]) -> Node:
    """The JSON of a structure whose leaves are `leaves`."""
    if s == tree.LEAF:
        return next(leaves)
    if s.type is type(None):
        return None
    children = [_encode(child, leaves) for child in s.children]
    if s.type in (list, tuple):
        return {s.type.__name__: children}
    if s.type is dict:
        return {"dict": [[_encode_static(k), c] for k, c in zip(_tuple(s.data), children, strict=True)]}
    fields = [step.removeprefix(".") for step in _steps(s)]
    return {
        "class": _name_of(s.type),
        "kind": "dataclass" if dataclasses.is_dataclass(s.type) else "namedtuple" if issubclass(s.type, tuple) else "other",
        "children": [[f, c] for f, c in zip(fields, children, strict=True)],
        "data": _encode_static(s.data),
    }


def _tuple(data: Any) -> tuple[Any, ...]:
    assert isinstance(data, tuple), data
    return data


def _steps(s: tree.Structure) -> list[str]:
    """The key-path step to each child of a container."""
    shallow = tree.Structure(s.type, s.data, (tree.LEAF,) * len(s.children), len(s.children))
    return [path[0] for path in tree.paths(shallow)]


def _name_of(cls: Any) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _encode_static(data: Any) -> Node:
    """The JSON of a container's static data. What has no JSON is described, to be compared but not rebuilt."""
    if data is None:
        return None
    if type(data) is tuple:
        return {"tuple": [_encode_static(item) for item in data]}
    if type(data) in (bool, int, float, complex, str):
        return _encode_scalar(data, "")
    if isinstance(data, (np.dtype, ScalarType)):
        return {"dtype": data.name}
    if hasattr(data, "__qualname__") and hasattr(data, "__module__"):
        return {"named": _name_of(data)}  # a class or function
    return {"opaque": _name_of(type(data))}


def _decode_static(node: Node, where: str, at: str) -> Any:
    if node is None:
        return None
    if "tuple" in node:
        return tuple(_decode_static(item, where, at) for item in node["tuple"])
    if "dtype" in node:
        return dtypes.of(node["dtype"])
    if "named" in node or "opaque" in node:
        what = node.get("named") or node["opaque"]
        raise TreeError(f"{where}: {at} holds {what}, which is not stored in files. Pass a tree that has it as like=.")
    return _decode_scalar(node)


def _decode(node: Node, arrays: Mapping[str, np.ndarray[Any, Any]], where: str, at: str) -> Any:
    """The pytree that JSON describes."""
    if node is None:
        return None
    if "array" in node:
        return _decode_array(node, arrays)
    if "list" in node:
        return [_decode(child, arrays, where, f"{at}[{i}]") for i, child in enumerate(node["list"])]
    if "tuple" in node:
        return tuple(_decode(child, arrays, where, f"{at}[{i}]") for i, child in enumerate(node["tuple"]))
    if "dict" in node:
        pairs = [(_decode_static(key, where, at), child) for key, child in node["dict"]]
        return {key: _decode(child, arrays, where, f"{at}[{key!r}]") for key, child in pairs}
    if "class" not in node:
        return _decode_scalar(node)
    cls = _loaded_class(node, where, at)
    children = [_decode(child, arrays, where, f"{at}.{field}") for field, child in node["children"]]
    shallow = tree.Structure(cls, _decode_static(node["data"], where, at), (tree.LEAF,) * len(children), len(children))
    return tree.unflatten(shallow, children)


def _decode_array(node: Node, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    dtype = dtypes.FROM_SHORT[node["dtype"]]
    stored = arrays[node["array"]]
    data = stored.view(dtype)[..., 0] if dtype in _COMPLEX_PARTS else stored
    match node["as"]:
        case "numpy":
            return data
        case "scalar":
            return data[()]
        case kind:
            return Array(private(data), weak=kind == "weak")


def _loaded_class(node: Node, where: str, at: str) -> Any:
    """The dataclass or named tuple that a node names, if the program has it and it still has the same fields."""
    module, _, qualname = node["class"].partition(":")
    cls: Any = sys.modules.get(module)
    for part in qualname.split("."):
        cls = getattr(cls, part, None)
    if not isinstance(cls, type):
        raise TreeError(f"{where}: {at} is a {node['class']}, which is not imported. Import it, or pass like=.")
    fields: list[str] | None = None
    if node["kind"] == "dataclass" and dataclasses.is_dataclass(cls):
        fields = [f.name for f in dataclasses.fields(cls) if not f.metadata.get("static", False)]
    elif node["kind"] == "namedtuple" and issubclass(cls, tuple):
        fields = list(getattr(cls, "_fields", ()))
    if fields is None:
        raise TreeError(f"{where}: {at} is a {node['class']}, which only like= can rebuild. Pass a tree that has one.")
    saved = [field for field, _ in node["children"]]
    if fields != saved:
        raise TreeError(f"{where}: {at} is a {node['class']} saved with the fields {saved}, but now it has {fields}.")
    return cls


def _encode_like(like: Any) -> Node:
    """The JSON of `like`, whose array leaves are {"array": "", "shape": ..., "dtype": ...}."""
    leaves, structure = tree.flatten_with_paths(like)
    return _encode(structure, iter([_expected(tree.path_str(path, _ROOT), leaf) for path, leaf in leaves]))


def _expected(where: str, leaf: Any) -> Node:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return {"array": "", "shape": list(leaf.shape), "dtype": dtypes.SHORT[dtypes.of(leaf.dtype)]}
    return _encode_scalar(leaf, f"load: like: {where}")


def _differences(saved: Node, like: Node, arrays: Mapping[str, np.ndarray[Any, Any]], at: str) -> Iterator[str]:
    """A line for each place where the file and `like` differ."""
    a, b = _kind(saved), _kind(like)
    if a != b:
        yield f"{at}: saved {_words(saved, arrays)}, expected {_words(like, arrays)}"
    elif a == "array":
        if _words(saved, arrays) != _words(like, arrays):
            yield f"{at}: saved {_words(saved, arrays)}, expected {_words(like, arrays)}"
    elif a in ("list", "tuple"):
        if len(saved[a]) != len(like[a]):
            yield f"{at}: saved {_words(saved, arrays)}, expected {_words(like, arrays)}"
            return
        for i, (x, y) in enumerate(zip(saved[a], like[a], strict=True)):
            yield from _differences(x, y, arrays, f"{at}[{i}]")
    elif a == "dict":
        yield from _dict_differences(saved["dict"], like["dict"], arrays, at)
    elif a.startswith("class "):
        x_fields, y_fields = [f for f, _ in saved["children"]], [f for f, _ in like["children"]]
        if x_fields != y_fields:
            yield f"{at}: saved {a.removeprefix('class ')} with {x_fields}, expected {y_fields}"
            return
        if saved["data"] != like["data"]:
            yield f"{at}: saved static data {_static_words(saved['data'])}, expected {_static_words(like['data'])}"
        for (field, x), (_, y) in zip(saved["children"], like["children"], strict=True):
            yield from _differences(x, y, arrays, at + (field if field.startswith("[") else f".{field}"))


def _dict_differences(saved: Node, like: Node, arrays: Mapping[str, np.ndarray[Any, Any]], at: str) -> Iterator[str]:
    there = {_static_words(key): node for key, node in saved}
    wanted = {_static_words(key): node for key, node in like}
    for key in [*wanted, *(k for k in there if k not in wanted)]:
        where = f"{at}[{key}]"
        if key not in there:
            yield f"{where}: not in the file, expected {_words(wanted[key], arrays)}"
        elif key not in wanted:
            yield f"{where}: saved {_words(there[key], arrays)}, not expected"
        else:
            yield from _differences(there[key], wanted[key], arrays, where)


def _kind(node: Node) -> str:
    if node is None:
        return "None"
    if "class" in node:
        # Without the module: a class may move, when its name and fields stay.
        return "class " + str(node["class"]).partition(":")[2]
    return str(next(iter(node)))


def _words(node: Node, arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    kind = _kind(node)
    if kind == "array":
        shape = tuple(node["shape"]) if "shape" in node else arrays[node["array"]].shape
        dtype = dtypes.FROM_SHORT[node["dtype"]]
        if "shape" not in node and dtype in _COMPLEX_PARTS:
            shape = shape[:-1]
        return f"{shape} {dtype.name}"
    if kind in ("list", "tuple"):
        return f"a {kind} of {len(node[kind])}"
    if kind == "dict":
        return f"a dict with keys [{', '.join(_static_words(key) for key, _ in node['dict'])}]"
    if kind.startswith("class "):
        return f"a {kind.removeprefix('class ')}"
    return kind if kind == "None" else f"a Python {kind}"


def _static_words(node: Node) -> str:
    """Static data as Python writes it."""
    match node:
        case None:
            return "None"
        case {"tuple": items}:
            return f"({', '.join(_static_words(item) for item in items)})"
        case {"dtype": name} | {"named": name} | {"opaque": name}:
            return str(name)
        case _:
            return repr(_decode_scalar(node))


def _leaf_nodes(node: Node) -> Iterator[Node]:
    """The nodes of the leaves, left to right."""
    if node is None:
        return
    for kind in ("list", "tuple"):
        if kind in node:
            for child in node[kind]:
                yield from _leaf_nodes(child)
            return
    if "dict" in node or "children" in node:
        for _, child in node.get("dict") or node.get("children") or ():
            yield from _leaf_nodes(child)
        return
    yield node


def _load_foreign(where: str, arrays: Mapping[str, np.ndarray[Any, Any]], like: Any) -> Any:
    """The arrays of a file that `save` didn't write: a dict by name, or a tree like `like` filled by dotted names."""
    if like is None:
        return {name: Array(private(array)) for name, array in arrays.items()}
    leaves, structure = tree.flatten_with_paths(like)
    names = _tensor_names([path for path, _ in leaves])
    faults = []
    for (path, leaf), name in zip(leaves, names, strict=True):
        at = tree.path_str(path, _ROOT)
        node = _expected(at, leaf)
        if name not in arrays:
            faults.append(f"{at}: the file has no {name!r}, expected {_words(node, arrays)}")
        elif "array" not in node or (tuple(node["shape"]), node["dtype"]) != (
            arrays[name].shape, dtypes.SHORT[arrays[name].dtype],
        ):  # fmt: skip
            saved = f"{arrays[name].shape} {arrays[name].dtype.name}"
            faults.append(f"{at}: saved {saved}, expected {_words(node, arrays)}")
    faults += [f"{name}: saved, not expected" for name in arrays if name not in set(names)]
    if faults:
        raise _misfit(where, faults)
    return tree.unflatten(structure, [Array(private(arrays[name])) for name in names])
