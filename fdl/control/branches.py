"""Branches: `cond` and `switch`, of which only the chosen one runs; `select` and `select_n`, which choose among values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.numpy.promote import as_operand, to_dtype
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Program, Type, type_of
from fdl.tracer.ops import elementwise as ew
from fdl.tracer.trace import bind, described, record
from fdl.tracer.transforms.cond import cond_p
from fdl.tracer.transforms.jvp import program_function
from fdl.transforms.signature import name_of

from .recording import Recorded, arrays, hoisted, record_call

_ABSENT = object()


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any, operand: Any = _ABSENT) -> Any:
    """`true_fun(*operands)` where the scalar `pred` is true, else `false_fun(*operands)`; only the chosen one runs.

    Both must return the same structure, shapes and dtypes; a Python number adapts to the other branch's dtype.  Under `vmap` with a
    mapped `pred` each lane runs its own branch alone: no error, callback or NaN comes from the other one, in derivatives neither.

    Args:
        pred: a bool, or a number, which is true unless it is 0.
        true_fun, false_fun: functions of the operands; they may close over arrays instead of taking any.
        operand: one operand by keyword, as older programs have it.

    Raises: ShapeError where the branches' outputs differ, naming them by their key paths.

    Example:
        >>> import fdl
        >>> float(fdl.cond(True, lambda x: x + 1, lambda x: x - 1, 3.0))
        4.0
    """
    if not callable(true_fun) and callable(false_fun) and len(operands) == 2 and callable(operands[1]):
        # The older form: cond(pred, true_operand, true_fun, false_operand, false_fun).
        x_true, f_true, x_false, f_false = true_fun, false_fun, *operands
        return cond(pred, lambda x, _: f_true(x), lambda _, x: f_false(x), x_true, x_false)
    operands = _operands("cond", operands, operand)
    if pred is None:
        raise TypeError(f"cond: pred is None; expected a bool or a number.{at(user_source())}")
    p = as_operand(pred, "cond: pred")
    t = type_of(p)
    if t.shape != ():
        raise ShapeError(
            f"cond: pred must be a scalar, got shape {t.shape}. Use where for an elementwise choice, or .any().{at(user_source())}"
        )
    index = ew.convert(to_dtype(p, dtypes.bool_), dtypes.int32)
    return _branches("cond", index, [false_fun, true_fun], operands, first=1)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any, operand: Any = _ABSENT) -> Any:
    """`branches[index](*operands)`; an index out of range is clamped. Only the chosen branch runs, as with `cond`.

    Example:
        >>> import fdl
        >>> float(fdl.switch(1, [lambda x: x, lambda x: -x], 3.0))
        -3.0
    """
    operands = _operands("switch", operands, operand)
    if not isinstance(branches, Sequence):
        raise TypeError(
            f"switch: branches must be a list or a tuple of functions, got {described(branches)}. For two branches there is cond."
            f"{at(user_source())}"
        )
    if not branches:
        raise ValueError(f"switch: needs at least one branch, got none.{at(user_source())}")
    i = as_operand(index, "switch: index")
    t = type_of(i)
    if t.shape != () or not dtypes.is_int(t.dtype):
        raise DTypeError(f"switch: index must be an integer scalar, got {described(index)}.{at(user_source())}")
    if len(branches) == 1:
        return branches[0](*operands)
    last = len(branches) - 1
    if t.dtype.itemsize > 4 or t.dtype == dtypes.uint32:  # what int32 does not hold must not wrap around
        high = min(last, int(np.iinfo(t.dtype).max))
        i = ew.max(ew.min(i, np.asarray(high, t.dtype)), np.asarray(0, t.dtype))
    return _branches("switch", to_dtype(i, dtypes.int32), list(branches), operands)


def _operands(label: str, operands: tuple[Any, ...], operand: Any) -> tuple[Any, ...]:
    if operand is _ABSENT:
        return operands
    if operands:
        raise TypeError(f"{label}: got both operand= and positional operands. Give them one way.{at(user_source())}")
    return (operand,)


def _branches(label: str, index: Any, functions: Sequence[Callable[..., Any]], operands: Sequence[Any], first: int = 0) -> Any:
    args = arrays(tuple(operands), f"{label}: operands")
    recorded = [record_call(f, args, label, operands) for f in functions]
    recorded = _agreed(label, functions, recorded, first)
    programs, captured = hoisted(recorded)
    outs = bind(cond_p, index, *captured, *tree.leaves(args), branches=tuple(programs))
    return tree.unflatten(recorded[0].structure, outs)


def _agreed(label: str, functions: Sequence[Callable[..., Any]], recorded: list[Recorded], first: int) -> list[Recorded]:
    """The branches with outputs of one type each, weak ones converted; errors compare the branch `first` with the others."""
    names = [name_of(f) for f in functions]
    if len(set(names)) < len(names):  # lambdas: by their places
        names = ["false_fun", "true_fun"] if label == "cond" else [f"branches[{i}]" for i in range(len(names))]
    one = recorded[first]
    for name, other in zip(names, recorded, strict=True):
        if other.structure != one.structure:
            difference = tree.difference(one.structure, other.structure, "the output", (f"{names[first]} returns", name))
            raise ShapeError(f"{label}: branches return different structures: {difference}.{at(user_source())}")
    targets: list[dtypes.DType] = []
    wrong: list[str] = []
    for k, path in enumerate(tree.paths(one.structure)):
        types = [r.out_types[k] for r in recorded]
        dtype, _ = dtypes.promote(*[(t.dtype, t.weak) for t in types])
        targets.append(dtype)
        for name, t in zip(names, types, strict=True):
            a = types[first]
            fits = all(u.dtype == dtype or u.weak for u in (a, t))
            if t is not a and (a.shape != t.shape or not fits):
                where = tree.path_str(path)
                hint = "reshape or broadcast one" if a.shape != t.shape else f"convert one with .astype({dtype.name!r})"
                wrong.append(f"{names[first]}{where} is {a.strong()}, {name}{where} is {t.strong()}: {hint}")
    if wrong:
        listed = wrong[0] if len(wrong) == 1 else "".join(f"\n  {w}" for w in wrong)
        raise ShapeError(f"{label}: branches return different types: {listed}.{at(user_source())}")
    return [_converted(r, targets) for r in recorded]


def _converted(r: Recorded, targets: Sequence[dtypes.DType]) -> Recorded:
    if all(t.dtype == d for t, d in zip(r.out_types, targets, strict=True)):
        return r

    def f(*args: Any) -> list[Any]:
        outs = program_function(r.program)(*args)
        return [x if type_of(x).dtype == d else to_dtype(x, d) for x, d in zip(outs, targets, strict=True)]

    program: Program = record(f, r.program.in_types, name=r.program.name)[0]
    return Recorded(program, r.captured, r.structure)


# --- values ---------------------------------------------------------------------------------------


def select(pred: Any, on_true: Any, on_false: Any) -> Any:
    """Each element of `on_true` where `pred` is true, else that of `on_false`. Both are computed; see `cond` for one that is not.

    Args:
        pred: bool, of the cases' shape or 0-d.
        on_true, on_false: arrays of one shape and dtype (a Python number takes the other's dtype).

    Raises: ShapeError, DTypeError where they do not fit; `fdl.numpy.where` broadcasts and promotes.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.select(fnp.array([True, False]), fnp.array([1.0, 2.0]), fnp.array([3.0, 4.0])).tolist()
        [1.0, 4.0]
    """
    p = as_operand(pred, "select: pred")
    if type_of(p).dtype != dtypes.bool_:
        raise DTypeError(
            f"select: pred has dtype {type_of(p).dtype.name}, expected bool. Compare it with something.{at(user_source())}"
        )
    (no, yes), shape = _cases("select", [on_false, on_true])
    _check_which("select: pred", type_of(p), shape)
    return ew.select(p, yes, no)


def select_n(which: Any, *cases: Any) -> Any:
    """Each element of `cases[which]`; a number out of range is clamped. All cases are computed.

    Args:
        which: bool (for two cases, of which False is the first) or int, of the cases' shape or 0-d.
        cases: arrays of one shape and dtype (Python numbers take the others' dtype).

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.select_n(fnp.array([0, 2, 1]), fnp.ones(3), fnp.zeros(3), fnp.full(3, 7.0)).tolist()
        [1.0, 7.0, 0.0]
    """
    if not cases:
        raise ValueError(f"select_n: needs at least one case.{at(user_source())}")
    w = as_operand(which, "select_n: which")
    t = type_of(w)
    if t.dtype != dtypes.bool_ and not dtypes.is_int(t.dtype):
        raise DTypeError(f"select_n: which has dtype {t.dtype.name}, expected bool or an integer type.{at(user_source())}")
    if t.dtype == dtypes.bool_ and len(cases) > 2:
        raise ShapeError(f"select_n: a bool chooses between two cases, got {len(cases)}. Give an integer.{at(user_source())}")
    values, shape = _cases("select_n", cases)
    _check_which("select_n: which", t, shape)
    out = values[0]
    for k, value in enumerate(values[1:], 1):
        if t.dtype == dtypes.bool_:
            mine = w
        else:  # the last case is that of everything above it
            if k > int(np.iinfo(t.dtype).max):
                break
            mine = (ew.ge if k == len(values) - 1 else ew.eq)(w, np.asarray(k, t.dtype))
        out = ew.select(mine, value, out)
    return out


def _cases(name: str, cases: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """The cases as arrays of one type; raises where they differ in shape, or in dtype other than by weakness."""
    xs = [as_operand(x, f"{name}: a case") for x in cases]
    types: list[Type] = [type_of(x) for x in xs]
    if len({t.shape for t in types}) > 1:
        raise ShapeError(
            f"{name}: cases have shapes {' and '.join(str(t.shape) for t in types)}: expected one shape. "
            f"fdl.numpy.where broadcasts.{at(user_source())}"
        )
    dtype, weak = dtypes.promote(*[(t.dtype, t.weak) for t in types])
    if any(t.dtype != dtype and not t.weak for t in types):
        raise DTypeError(
            f"{name}: cases have dtypes {' and '.join(t.dtype.name for t in types)}: expected one dtype. "
            f"Convert with .astype({dtype.name!r}).{at(user_source())}"
        )
    return [x if t.dtype == dtype else to_dtype(x, dtype, weak) for x, t in zip(xs, types, strict=True)], types[0].shape


def _check_which(what: str, t: Type, shape: tuple[int, ...]) -> None:
    if t.shape not in ((), shape):
        raise ShapeError(f"{what} has shape {t.shape}, expected (), or the cases' shape {shape}.{at(user_source())}")
