"""`custom_jvp`: functions whose derivative is a rule of the user's, for forward and reverse mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from fdl.tracer import dtypes, tree
from fdl.tracer.array import Array
from fdl.tracer.errors import MissingRuleError, TreeError, at, user_source
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import elementwise
from fdl.tracer.ops.elementwise import add_tangents
from fdl.tracer.primitive import Zero
from fdl.tracer.trace import Tracer, is_evaluating
from fdl.tracer.transforms.custom_jvp import CustomJVP, call_custom_jvp
from fdl.tracer.transforms.jvp import instantiate, tangent_type

from .checks import check_callable
from .custom_call import Custom, Rule, described, fit


class CustomJVPFunction(Custom):
    """A function with a jvp rule: see `custom_jvp`."""

    kind = "custom_jvp"
    _rule: Callable[..., Any] | None = None

    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Sets the rule `jvp(*nondiff, primals, tangents) -> (output, output's tangent)`, and returns it: a decorator.

        `primals` is the tuple of the arguments that are differentiated, `tangents` one like it (zeros for integers); the rule
        is linear in them.
        """
        check_callable(jvp, "defjvp")
        self._rule = jvp
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Sets the rule by one function for each argument, `jvp(tangent, output, *primals) -> a part of the output's tangent`, or None."""
        if self._nondiff:
            raise TypeError(
                f"custom_jvp {self._name}: defjvps does not go with nondiff_argnums. Use defjvp.{at(user_source())}"
            )

        def jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
            if len(jvps) != len(primals):
                raise TypeError(
                    f"custom_jvp {self._name}: defjvps got {len(jvps)} rules, but the call has {len(primals)} arguments.{at(user_source())}"
                )
            out = self(*primals)
            parts = [rule(t, out, *primals) for t, rule in zip(tangents, jvps, strict=True) if rule is not None]
            if not parts:
                return out, tree.map(lambda x: instantiate(Zero(tangent_type(type_of(x)))), out)
            return out, functools.reduce(lambda a, b: tree.map(add_tangents, a, b), parts)

        jvp.__name__ = f"{self._name}_jvps"
        self._rule = jvp

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._rule is None:
            raise MissingRuleError(
                f"custom_jvp {self._name}: no rule is defined. Decorate one with @{self._name}.defjvp.{at(user_source())}"
            )
        fixed = self._positional(args, kwargs)
        if is_evaluating() and all(isinstance(a, Array) for a in fixed):  # nothing is differentiated: the rule has no part in it
            return self._f(*fixed)
        positions = {i % len(fixed) for i in self._nondiff} if fixed else set()
        # An array that is not differentiated is a constant of the rule.
        call, leaves = self._call_of(tuple(_stopped(a) if i in positions else a for i, a in enumerate(fixed)))
        outs = call_custom_jvp(CustomJVP(call.function, _JVPRule(self._rule, call), self._name), leaves)
        return call.result(outs)


def _stopped(x: Any) -> Any:
    return tree.map(lambda a: elementwise.stop_gradient(a) if isinstance(a, Tracer) else a, x)


class _JVPRule(Rule):
    """A jvp rule on flat values."""

    __slots__ = ()

    def __call__(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        call = self.call
        who = f"custom_jvp {call.name}: the rule {self.name}"
        result = self.f(*call.fixed.values(), call.nested(primals), call.nested(tangents))
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TypeError(
                f"{who} must return a pair (output, tangent of the output), got {described(result)}.{at(user_source())}"
            )
        outs = call.check_output(self.name, result[0])
        s = call.out_structure
        assert s is not None
        try:
            dots = tree.flatten_up_to(s, result[1], "tangent")
        except TreeError as e:
            raise TreeError(
                f"{who}: the tangent is not nested like the output: {str(e).split(chr(10))[0]}{at(user_source())}"
            ) from None
        return outs, [
            _tangent(d, type_of(x), f"{who}: tangent{tree.path_str(path)}")
            for path, x, d in zip(tree.paths(s), outs, dots, strict=True)
        ]


def _tangent(d: Any, t: Type, who: str) -> Any:
    if not dtypes.is_inexact(t.dtype):
        return Zero(t.strong())
    return fit(d, t, who, "like the output")


def custom_jvp(
    f: Callable[..., Any] | None = None, nondiff_argnums: int | Sequence[int] = (), nondiff_argnames: str | Sequence[str] = ()
) -> Any:
    """`f` with a derivative of its own, which serves forward and reverse mode, to any order.

    Args:
        f: takes and returns pytrees of arrays.
        nondiff_argnums, nondiff_argnames: arguments that are no arrays (functions, shapes, flags); the rule gets them first.

    Returns:
        A function like `f`. Define its rule with `.defjvp` (or one for each argument with `.defjvps`). Under differentiation
        the rule runs instead of `f`; its tangent must be linear in the tangents, as it is transposed for reverse mode.

    Raises, when differentiated: TypeError, TreeError, ShapeError or DTypeError that names the rule and the key path where its
    results are unlike the output; MissingRuleError for a derivative in a value that `f` closes over.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> @fdl.custom_jvp
        ... def log1pexp(x):
        ...     return fnp.log(1.0 + fnp.exp(x))
        >>> @log1pexp.defjvp
        ... def log1pexp_jvp(primals, tangents):
        ...     (x,), (x_dot,) = primals, tangents
        ...     return log1pexp(x), (1.0 - 1.0 / (1.0 + fnp.exp(x))) * x_dot
        >>> float(fdl.grad(log1pexp)(100.0))
        1.0
    """
    if f is None:
        return functools.partial(custom_jvp, nondiff_argnums=nondiff_argnums, nondiff_argnames=nondiff_argnames)
    check_callable(f, "custom_jvp")
    return CustomJVPFunction(f, nondiff_argnums, nondiff_argnames)
