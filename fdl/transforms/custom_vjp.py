"""`custom_vjp` and `custom_gradient`: functions whose reverse-mode derivative is a rule of the user's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from fdl.tracer import dtypes, tree
from fdl.tracer.errors import MissingRuleError, TreeError, at, user_source
from fdl.tracer.ir import Program, Type, type_of
from fdl.tracer.trace import Tracer, check_array, record
from fdl.tracer.transforms.custom_vjp import CustomVJP, call_custom_vjp
from fdl.tracer.transforms.jvp import program_function, tangent_type

from .checks import check_callable, flat_function
from .custom_call import Custom, Rule, described, fit
from .signature import argument_name, name_of


class CustomVJPFunction(Custom):
    """A function with a vjp rule: see `custom_vjp`."""

    kind = "custom_vjp"
    _fwd: Callable[..., Any] | None = None
    _bwd: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Sets the rules `fwd(*args) -> (output, residuals)` and `bwd(*nondiff, residuals, cotangent) -> a tuple with a
        cotangent for each argument`.

        `fwd` takes what the function takes; the residuals are any pytree of arrays. `bwd` returns None in the place of zeros.
        """
        check_callable(fwd, "defvjp")
        check_callable(bwd, "defvjp")
        self._fwd, self._bwd = fwd, bwd

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._fwd is None or self._bwd is None:
            raise MissingRuleError(
                f"custom_vjp {self._name}: no rules are defined. Call {self._name}.defvjp(fwd, bwd).{at(user_source())}"
            )
        call, leaves = self._call_of(self._positional(args, kwargs))
        for i, value in call.fixed.items():
            for path, leaf in tree.flatten_with_paths(value)[0]:
                if isinstance(leaf, Tracer):
                    where = tree.path_str(path, argument_name(self._f, i))
                    raise TypeError(
                        f"custom_vjp {self._name}: argument {where} is a traced array of type {leaf.type}, in a position of "
                        "nondiff_argnums. These are for functions, shapes and flags. Make it an ordinary argument, and return None for its "
                        f"cotangent.{at(user_source())}"
                    )
        rules = _Fwd(self._fwd, call), _Bwd(self._bwd, call)
        return call.result(call_custom_vjp(CustomVJP(call.function, *rules, self._name), leaves))


class _Fwd(Rule):
    """A forward rule on flat values."""

    __slots__ = ()

    def __call__(self, *leaves: Any) -> tuple[list[Any], list[Any], Hashable]:
        call = self.call
        who = f"custom_vjp {call.name}: the rule {self.name}"
        result = self.f(*call.arguments(leaves))
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TypeError(f"{who} must return a pair (output, residuals), got {described(result)}.{at(user_source())}")
        outs = call.check_output(self.name, result[0])
        residuals, s = tree.flatten(result[1])
        for path, x in zip(tree.paths(s), residuals, strict=True):
            check_array(x, f"{who}: the residual{tree.path_str(path)}")
        assert call.out_structure is not None
        types = (type_of(x) for x in leaves)
        in_types = tuple(Type(t.shape, t.dtype, w) for t, w in zip(types, call.weak, strict=True))
        return outs, residuals, _Left(s, call.out_structure, in_types)


class _Left:
    """What a forward rule leaves for the backward one, besides the residuals: structures and types."""

    __slots__ = ("in_types", "out_structure", "residuals")

    def __init__(self, residuals: tree.Structure, out_structure: tree.Structure, in_types: tuple[Type, ...]) -> None:
        self.residuals, self.out_structure, self.in_types = residuals, out_structure, in_types

    def _key(self) -> tuple[Any, ...]:
        return self.residuals, self.out_structure, self.in_types

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Left) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


class _Bwd(Rule):
    """A backward rule on flat values."""

    __slots__ = ()

    def __call__(self, structure: Hashable, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        assert isinstance(structure, _Left)
        call = self.call
        who = f"custom_vjp {call.name}: the rule {self.name}"
        result = self.f(
            *call.fixed.values(), tree.unflatten(structure.residuals, residuals), tree.unflatten(structure.out_structure, cts)
        )
        n = len(call.roots)
        if not isinstance(result, (tuple, list)) or len(result) != n:
            raise TypeError(
                f"{who} must return a tuple with a cotangent for each of the {n} arguments ({', '.join(call.roots)}), got "
                f"{described(result)}.{at(user_source())}"
            )
        found: list[tuple[str, Any]] = []
        for root, s, ct in zip(call.roots, call.structure.children, result, strict=True):
            try:
                _spread(s, ct, root, found)
            except TreeError as e:
                raise TreeError(
                    f"{who}: a cotangent is not nested like the argument: {str(e).split(chr(10))[0]}{at(user_source())}"
                ) from None
        return [
            None
            if ct is None or not dtypes.is_inexact(t.dtype)
            else fit(ct, t, f"{who}: the cotangent of {where}", "like the argument")
            for (where, ct), t in zip(found, structure.in_types, strict=True)
        ]


def _spread(s: tree.Structure, ct: Any, where: str, out: list[tuple[str, Any]]) -> None:
    """Appends the path and the cotangent of each leaf of `s`; a None stands for all the leaves below it."""
    if ct is None or s == tree.LEAF:
        out += [(where + tree.path_str(path), ct) for path in tree.paths(s)]
        return
    level = tree.Structure(s.type, s.data, (tree.LEAF,) * len(s.children), len(s.children))
    for path, child, part in zip(tree.paths(level), s.children, tree.flatten_up_to(level, ct, where), strict=True):
        _spread(child, part, where + tree.path_str(path), out)


def custom_vjp(
    f: Callable[..., Any] | None = None, nondiff_argnums: int | Sequence[int] = (), nondiff_argnames: str | Sequence[str] = ()
) -> Any:
    """`f` with a reverse-mode derivative of its own.

    Args:
        f: takes and returns pytrees of arrays.
        nondiff_argnums, nondiff_argnames: arguments that are no arrays (functions, shapes, flags); `bwd` gets them first.
            Arrays that are not differentiated are ordinary arguments, whose cotangent is None.

    Returns:
        A function like `f`. Define its rules with `.defvjp(fwd, bwd)`. It has no forward mode: use `custom_jvp` for both.

    Raises, when differentiated: TypeError, TreeError, ShapeError or DTypeError that names the rule, the key path and what was
    expected; MissingRuleError in forward mode, and for a derivative in a value that `f` closes over.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> @fdl.custom_vjp
        ... def clip_gradient(x, limit):
        ...     return x
        >>> clip_gradient.defvjp(lambda x, limit: (x, limit), lambda limit, ct: (fnp.clip(ct, -limit, limit), None))
        >>> float(fdl.grad(lambda x: clip_gradient(x, 1.0) ** 2)(3.0))
        1.0
    """
    if f is None:
        return functools.partial(custom_vjp, nondiff_argnums=nondiff_argnums, nondiff_argnames=nondiff_argnames)
    check_callable(f, "custom_vjp")
    return CustomVJPFunction(f, nondiff_argnums, nondiff_argnames)


# --- custom_gradient ------------------------------------------------------------------------------


class _Pullback:
    """A pullback as a pytree: what it closes over are its leaves, and its program is static."""

    def __init__(self, consts: Sequence[Any], program: Program, structure: tree.Structure) -> None:
        self.consts, self.program, self.structure = tuple(consts), program, structure


tree.register(_Pullback, lambda p: (p.consts, (p.program, p.structure)), lambda data, consts: _Pullback(consts, *data))


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose value and gradient `f` gives together: `f(*args)` returns `(value, pullback)`.

    Args:
        f: `pullback(ct)` takes a cotangent like the value to a tuple with a cotangent for each argument (or to one alone, for
            one argument).

    Example:
        >>> import fdl
        >>> f = fdl.custom_gradient(lambda x: (x**2, lambda g: (g * x,)))  # half the true gradient
        >>> float(f(3.0)), float(fdl.grad(f)(3.0))
        (9.0, 3.0)
    """
    check_callable(f, "custom_gradient")

    def pair(args: Sequence[Any]) -> tuple[Any, Callable[..., Any]]:
        result = f(*args)
        if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
            raise TypeError(
                f"custom_gradient {name_of(f)}: it must return (value, pullback), got {described(result)}.{at(user_source())}"
            )
        return result

    @functools.wraps(f)
    def value(*args: Any) -> Any:
        return pair(args)[0]

    def fwd(*args: Any) -> tuple[Any, _Pullback]:
        out, pullback = pair(args)
        outs, s = tree.flatten(out)
        function = flat_function(pullback, tree.Structure(tuple, None, (s,), s.size))
        program, consts = record(function, [tangent_type(type_of(x)) for x in outs], f"the pullback of {name_of(f)}")
        return out, _Pullback(consts, program, function.out_structure)

    def bwd(pullback: _Pullback, ct: Any) -> Any:
        cts = tree.unflatten(pullback.structure, program_function(pullback.program)(*pullback.consts, *tree.leaves(ct)))
        return (cts,) if pullback.structure.type not in (tuple, list) else cts

    fwd.__name__, bwd.__name__ = f"{name_of(f)}_fwd", f"{name_of(f)}_bwd"
    function = CustomVJPFunction(value, (), ())
    function.defvjp(fwd, bwd)
    return function
