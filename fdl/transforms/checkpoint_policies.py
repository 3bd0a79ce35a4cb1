"""What `checkpoint` saves instead of computing it again: `fdl.checkpoint_policies`.

A policy is a function `(primitive, *types, **params) -> bool` of an equation: whether its outputs are saved.  Those here are
plain functions, or values made by functions, that compare equal when they say the same.
"""

from __future__ import annotations

from typing import Any

from fdl.tracer.errors import at, user_source
from fdl.tracer.ir import Type
from fdl.tracer.ops.barrier import name_p
from fdl.tracer.primitive import Primitive
from fdl.tracer.records import dataclass
from fdl.tracer.trace import described
from fdl.tracer.transforms.checkpoint import Policy

_DOTS = frozenset({"dot_general", "conv", "conv_input_grad", "conv_filter_grad"})


def everything_saveable(primitive: Primitive, *types: Type, **params: Any) -> bool:
    """Save every value that the derivative needs, as without `checkpoint`."""
    return True


def nothing_saveable(primitive: Primitive, *types: Type, **params: Any) -> bool:
    """Save nothing but the arguments: what `checkpoint` does without a policy."""
    return False


def dots_saveable(primitive: Primitive, *types: Type, **params: Any) -> bool:
    """Save the results of matrix products and convolutions, which are dear; compute the elementwise rest again."""
    return primitive.name in _DOTS


def dots_with_no_batch_dims_saveable(primitive: Primitive, *types: Type, **params: Any) -> bool:
    """Save the results of matrix products without batch axes: those with the weights, not those of attention."""
    return primitive.name == "dot_general" and params["batch"] == ((), ())


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


@dataclass(frozen=True, slots=True)
class _Names:
    """Decides by the names that `checkpoint_name` gave; `others` is what becomes of everything without one of them."""

    names: frozenset[str]
    save: bool
    unnamed: bool
    name: str

    def __call__(self, primitive: Primitive, *types: Type, **params: Any) -> bool:
        if primitive is not name_p:
            return self.unnamed
        return (params["name"] in self.names) == self.save


def _names(policy: str, names: tuple[str, ...]) -> frozenset[str]:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{policy}: expected names, got {described(name)}. Give them as arguments: {policy}('a', 'b').{at(user_source())}"
            )
    return frozenset(names)


def save_only_these_names(*names: str) -> Policy:
    """Save the values that `checkpoint_name` gave one of these names."""
    return _Names(_names("save_only_these_names", names), True, False, "save_only_these_names")


def save_any_names_but_these(*names: str) -> Policy:
    """Save the values that `checkpoint_name` gave a name, but for these names."""
    return _Names(_names("save_any_names_but_these", names), False, False, "save_any_names_but_these")


def save_anything_except_these_names(*names: str) -> Policy:
    """Save every value that the derivative needs, but for what `checkpoint_name` gave one of these names."""
    return _Names(_names("save_anything_except_these_names", names), False, True, "save_anything_except_these_names")


@dataclass(frozen=True, slots=True)
class _Both:
    """Saves what either of two policies saves."""

    first: Policy
    second: Policy
    name: str = "save_from_both_policies"

    def __call__(self, primitive: Primitive, *types: Type, **params: Any) -> bool:
        return bool(self.first(primitive, *types, **params) or self.second(primitive, *types, **params))


def save_from_both_policies(first: Policy, second: Policy) -> Policy:
    """Save what either policy saves."""
    return _Both(first, second)
