"""Control flow that is traced: `cond`, `switch`, `while_loop`, `fori_loop`, `scan`, `map`. Compiled, they are native branches and loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.numpy.promote import as_operand, asarray, to_dtype
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Program, Type, type_of
from fdl.tracer.ops import elementwise
from fdl.tracer.trace import Tracer, bind, check_array, record
from fdl.tracer.transforms.cond import cond_p
from fdl.tracer.transforms.jvp import known_value, program_function
from fdl.tracer.transforms.scan import scan_p
from fdl.tracer.transforms.while_loop import while_p
from fdl.transforms.signature import FlatFunction, name_of


def _record(f: Callable[..., Any], args: Sequence[Any], label: str) -> tuple[Program, list[Any], tree.Structure]:
    """The program of `f` on arguments of the types of `args`, what it closes over, and its output's structure."""
    leaves, structure = tree.flatten((tuple(args), {}))
    types = [x if isinstance(x, Type) else check_array(x, f"{label}: an argument of {name_of(f)}") for x in leaves]
    function = FlatFunction(f, structure)
    program, captured = record(function, types, f"{label}({name_of(f)})", name_of(f) if name_of(f).isidentifier() else "f")
    return program, captured, function.out_structure


def _hoist(programs: Sequence[Program], captured: Sequence[list[Any]]) -> tuple[list[Program], list[Any]]:
    """The programs over one common list of captured values, which come first, and that list."""
    everything: list[Any] = []
    seen: dict[int, int] = {}
    for values in captured:
        for v in values:
            if id(v) not in seen:
                seen[id(v)] = len(everything)
                everything.append(v)
    out = []
    for p, values in zip(programs, captured, strict=True):
        picks = [seen[id(v)] for v in values]
        n = len(everything)

        def f(*args: Any, p: Program = p, picks: list[int] = picks, n: int = n) -> list[Any]:
            return program_function(p)(*(args[i] for i in picks), *args[n:])

        out.append(record(f, [*(type_of(v) for v in everything), *p.in_types[len(picks) :]], name=p.name)[0])
    return out, everything


def _arrays(x: Any, what: str) -> Any:
    return tree.map(lambda leaf: asarray(as_operand(leaf, what)), x)


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """`true_fun(*operands)` where the scalar `pred` is true, else `false_fun(*operands)`; only the chosen one runs.

    Both must return the same structure, shapes and dtypes. Under `vmap` with a mapped `pred` each lane runs its own branch alone.

    Example:
        >>> import fdl
        >>> float(fdl.cond(True, lambda x: x + 1, lambda x: x - 1, 3.0))
        4.0
    """
    p = as_operand(pred, "cond: pred")
    t = type_of(p)
    if t.shape != ():
        raise ShapeError(
            f"cond: pred must be a scalar, got shape {t.shape}. Use where for an elementwise choice, or .any().{at(user_source())}"
        )
    index = elementwise.convert(to_dtype(p, dtypes.bool_), dtypes.int32)
    return _branches("cond", index, [false_fun, true_fun], operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`; an index out of range is clamped.

    Example:
        >>> import fdl
        >>> float(fdl.switch(1, [lambda x: x, lambda x: -x], 3.0))
        -3.0
    """
    if not branches:
        raise ValueError("switch: needs at least one branch")
    i = as_operand(index, "switch: index")
    t = type_of(i)
    if t.shape != () or not dtypes.is_int(t.dtype):
        raise DTypeError(f"switch: index must be an integer scalar, got {t}.{at(user_source())}")
    return _branches("switch", to_dtype(i, dtypes.int32), list(branches), operands)


def _branches(label: str, index: Any, functions: Sequence[Callable[..., Any]], operands: Sequence[Any]) -> Any:
    args = _arrays(tuple(operands), f"{label}: an operand")
    recorded = [_record(f, args, label) for f in functions]
    first = recorded[0]
    for f, (program, _, structure) in zip(functions[1:], recorded[1:], strict=True):
        if structure != first[2]:
            raise ShapeError(
                f"{label}: branches return different structures: {tree.difference(first[2], structure, name_of(f))}.{at(user_source())}"
            )
        for path, a, b in zip(tree.paths(structure), first[0].out_types, program.out_types, strict=True):
            if a.strong() != b.strong():
                raise ShapeError(
                    f"{label}: branches return different types: {name_of(functions[0])}{tree.path_str(path)} is {a}, "
                    f"{name_of(f)}{tree.path_str(path)} is {b}. Convert with .astype or reshape.{at(user_source())}"
                )
    programs, captured = _hoist([r[0] for r in recorded], [r[1] for r in recorded])
    outs = bind(cond_p, index, *captured, *tree.leaves(args), branches=tuple(programs))
    return tree.unflatten(first[2], outs)


def _carried(
    label: str, f: Callable[..., Any], init: Any, make: Callable[[Any], tuple[Program, list[Any], Any]]
) -> tuple[Any, Any]:
    """The recorded body for an initial carry, whose weak leaves become strong where the body's results are."""
    recorded = make(init)
    leaves, structure = tree.flatten(init)
    outs = recorded[0].out_types[: len(leaves)]
    changed = [
        to_dtype(x, o.dtype) if type_of(x).weak and (type_of(x).dtype, type_of(x).weak) != (o.dtype, o.weak) else x
        for x, o in zip(leaves, outs, strict=False)
    ]
    if any(a is not b for a, b in zip(leaves, changed, strict=False)):
        init = tree.unflatten(structure, changed)
        recorded = make(init)
    return init, recorded


def _check_carry(label: str, f: Callable[..., Any], init: Any, structure: tree.Structure, types: Sequence[Type]) -> None:
    leaves, expected = tree.flatten(init)
    if structure != expected:
        raise ShapeError(
            f"{label}: {name_of(f)} must return a carry nested like init: "
            f"{tree.difference(expected, structure, 'carry')}.{at(user_source())}"
        )
    for path, x, t in zip(tree.paths(expected), leaves, types, strict=True):
        if type_of(x).strong() != t.strong():
            raise ShapeError(
                f"{label}: the carry{tree.path_str(path)} starts as {type_of(x).strong()}, but {name_of(f)} returns {t.strong()}. "
                f"Both must agree: convert with .astype, or change init.{at(user_source())}"
            )


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init: Any) -> Any:
    """The carry after repeating `carry = body_fun(carry)` while `cond_fun(carry)` is true.

    It has forward derivatives (`jvp`); for reverse mode use `scan` or `fori_loop`.

    Example:
        >>> import fdl
        >>> int(fdl.while_loop(lambda i: i < 10, lambda i: i + 3, 0))
        12
    """
    init = _arrays(init, "while_loop: init")
    init, (body, body_captured, structure) = _carried(
        "while_loop", body_fun, init, lambda c: _record(body_fun, (c,), "while_loop")
    )
    _check_carry("while_loop", body_fun, init, structure, body.out_types)
    test, test_captured, test_structure = _record(cond_fun, (init,), "while_loop")
    if test_structure != tree.LEAF or test.out_types[0].strong() != Type((), dtypes.bool_):
        raise DTypeError(
            f"while_loop: {name_of(cond_fun)} must return one bool, got {', '.join(str(t) for t in test.out_types)}.{at(user_source())}"
        )
    outs = bind(
        while_p, *test_captured, *body_captured, *tree.leaves(init),
        cond=test, body=body, n_cond=len(test_captured), n_body=len(body_captured),
    )  # fmt: skip
    return tree.unflatten(tree.structure(init), outs)


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False
) -> Any:
    """The final carry, and the stacked outputs of `carry, y = f(carry, x)` over the leading axis of `xs`.

    Args:
        f: takes a carry and one slice of `xs`; returns the next carry, of the same types, and an output.
        init: the first carry, a pytree.
        xs: a pytree of arrays with one leading size, or None with `length` given.
        reverse: whether to go from the last slice to the first; outputs stay in the order of `xs`.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> total, partial = fdl.scan(lambda c, x: (c + x, c + x), 0.0, fnp.arange(4.0))
        >>> float(total), partial.tolist()
        (6.0, [0.0, 1.0, 3.0, 6.0])
    """
    init, xs = _arrays(init, "scan: init"), _arrays(xs, "scan: xs")
    sizes = {}
    for path, x in tree.flatten_with_paths(xs)[0]:
        if not type_of(x).shape:
            raise ShapeError(
                f"scan: {tree.path_str(path, 'xs')} is 0-d: it has no leading axis to scan over.{at(user_source())}"
            )
        sizes[tree.path_str(path, "xs")] = type_of(x).shape[0]
    if length is not None:
        sizes["length"] = int(length)
    if len(set(sizes.values())) != 1:
        listed = ", ".join(f"{k}: {v}" for k, v in sizes.items()) or "xs has no arrays; give length="
        raise ShapeError(f"scan: leading sizes must be given and agree: {listed}.{at(user_source())}")
    n = next(iter(sizes.values()))
    slices = tree.map(lambda x: type_of(x).with_shape(type_of(x).shape[1:]), xs)
    flat_slices, slice_structure = tree.flatten(slices, is_leaf=lambda x: isinstance(x, Type))

    def make(carry: Any) -> tuple[Program, list[Any], Any]:
        types = tree.map(type_of, carry)
        leaves, structure = tree.flatten(types, is_leaf=lambda x: isinstance(x, Type))
        function = FlatFunction(
            f,
            tree.Structure(
                tuple,
                None,
                (tree.Structure(tuple, None, (structure, slice_structure), len(leaves) + len(flat_slices)), tree.structure({})),
                len(leaves) + len(flat_slices),
            ),
        )
        program, captured = record(
            function, [*leaves, *flat_slices], f"scan({name_of(f)})", name_of(f) if name_of(f).isidentifier() else "f"
        )
        s = function.out_structure
        if s.type is not tuple or len(s.children) != 2:
            raise ShapeError(f"scan: {name_of(f)} must return a pair (carry, output), got {s}.{at(user_source())}")
        return program, captured, s

    init, (body, captured, structure) = _carried("scan", f, init, make)
    n_carry = len(tree.leaves(init))
    _check_carry("scan", f, init, structure.children[0], body.out_types[:n_carry])
    outs = bind(
        scan_p, *captured, *tree.leaves(init), *tree.leaves(xs),
        body=body, n_consts=len(captured), n_carry=n_carry, length=n, reverse=bool(reverse),
    )  # fmt: skip
    return tree.unflatten(structure.children[0], outs[:n_carry]), tree.unflatten(structure.children[1], outs[n_carry:])


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init: Any) -> Any:
    """The carry after `carry = body_fun(i, carry)` for i in [lower, upper). With bounds known when traced it has reverse-mode derivatives.

    Example:
        >>> import fdl
        >>> int(fdl.fori_loop(0, 5, lambda i, c: c + i, 0))
        10
    """
    for bound in (lower, upper):
        t = type_of(as_operand(bound, "fori_loop: a bound"))
        if t.shape != () or not dtypes.is_int(t.dtype):
            raise DTypeError(f"fori_loop: bounds must be integer scalars, got {t} among {lower!r} and {upper!r}.{at(user_source())}")
    low, high = known_value(lower), known_value(upper)
    if low is not None and high is not None and not isinstance(lower, Tracer) and not isinstance(upper, Tracer):
        low, high = int(low), int(high)
        indices = np.arange(low, max(low, high), dtype=np.int32 if high < 2**31 else np.int64)
        return scan(lambda c, i: (body_fun(i, c), None), init, indices)[0]
    i0, stop = to_dtype(as_operand(lower), dtypes.int32), to_dtype(as_operand(upper), dtypes.int32)
    result = while_loop(lambda s: s[0] < stop, lambda s: (s[0] + 1, body_fun(s[0], s[1])), (i0, init))
    return result[1]


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """The stacked results of `f` on each slice of `xs` along its leading axis, one after another (as a loop; `vmap` does all at once).

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.map(lambda x: x * x, fnp.arange(3.0)).tolist()
        [0.0, 1.0, 4.0]
    """
    return scan(lambda c, x: (c, f(x)), None, xs)[1]
