"""Gradient transformations: pairs of pure functions, chained into optimizers.

An optimizer turns gradients into updates, which `apply_updates` adds to the parameters.  All three are pytrees alike; state is
a pytree too, made by `init` and given back by every `update`.

May import: numpy, tracer.  May be imported by: the optimizers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fdl import numpy as fnp
from fdl.tracer import tree
from fdl.tracer.errors import TreeError, at, user_source
from fdl.tracer.records import dataclass
from fdl.tracer.trace import described

Params = Any
Updates = Any
State = Any
Schedule = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class GradientTransformation:
    """`init(params) -> state` and `update(updates, state, params=None) -> (updates, state)`, both pure.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> from fdl import optim
        >>> opt = optim.sgd(0.1)
        >>> params = {"w": fnp.ones(2)}
        >>> state = opt.init(params)
        >>> grads = fdl.grad(lambda p: (p["w"] ** 2).sum())(params)
        >>> updates, state = opt.update(grads, state, params)
        >>> [round(v, 4) for v in optim.apply_updates(params, updates)["w"].tolist()]
        [0.8, 0.8]
    """

    init: Callable[[Params], State]
    update: Callable[..., tuple[Updates, State]]


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """The transformations one after another; the state is the tuple of theirs.

    Example:
        >>> from fdl import optim
        >>> opt = optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(0.1))
    """
    for t in transformations:
        if not isinstance(t, GradientTransformation):
            raise TypeError(
                f"chain: expected gradient transformations, got {described(t)}. Call the function that makes it, as in sgd(0.1)."
                f"{at(user_source())}"
            )

    def init(params: Params) -> State:
        return tuple(t.init(params) for t in transformations)

    def update(updates: Updates, state: State, params: Params = None) -> tuple[Updates, State]:
        if not isinstance(state, tuple) or len(state) != len(transformations):
            got = f"has {len(state)} parts" if isinstance(state, tuple) else f"is {described(state)}"
            raise ValueError(
                f"chain: the state {got}, expected one for each of {len(transformations)} transformations. Was it made by another chain? "
                f"Give it what init(params) of this optimizer returns.{at(user_source())}"
            )
        new = []
        for t, s in zip(transformations, state, strict=True):
            updates, s = t.update(updates, s, params)
            new.append(s)
        return updates, tuple(new)

    return GradientTransformation(init, update)


def apply_updates(params: Params, updates: Updates) -> Params:
    """`params + updates`, leaf by leaf, in the dtypes of `params`.

    Raises: TreeError naming the key path at which `updates` is nested differently.
    """
    return mapped("apply_updates", lambda p, u: _as(fnp.add(p, u), p), params=params, updates=updates)


def global_norm(updates: Updates) -> Any:
    """The Euclidean norm of all leaves together: √ Σ x².

    Example:
        >>> float(global_norm({"a": [3.0], "b": 4.0}))
        5.0
    """
    total: Any = 0.0
    for x in tree.leaves(updates):
        total = fnp.add(total, fnp.sum(fnp.square(x)))
    return fnp.sqrt(total)


def stateless(f: Callable[[Updates, Params], Updates]) -> GradientTransformation:
    """The transformation of a function `(updates, params) -> updates`."""
    return GradientTransformation(lambda params: (), lambda updates, state, params=None: (f(updates, params), state))


def mapped(who: str, f: Callable[..., Any], /, **trees: Any) -> Any:
    """The tree of `f(*leaves)` of trees that are nested like the first, with their names for errors.

    Raises: TreeError naming the tree and the key path at which it is nested otherwise.
    """
    names = list(trees)
    first, *rest = trees.values()
    leaves, structure = tree.flatten(first)
    columns = [leaves]
    for name, x in zip(names[1:], rest, strict=True):
        given, s = tree.flatten(x)
        if s != structure:
            difference = tree.difference(structure, s, "", (f"{names[0]} has", f"{name} has")).removeprefix(": ")
            hint = " Make the state with init(params) of the parameters that are updated." if "state" in name else ""
            raise TreeError(f"{who}: {name} is not nested like {names[0]}: {difference}.{hint}{at(user_source())}")
        columns.append(given)
    return tree.unflatten(structure, [f(*row) for row in zip(*columns, strict=True)])


def _as(x: Any, like: Any) -> Any:
    """`x` in the dtype of the array `like`."""
    dtype = fnp.asarray(like).dtype
    return fnp.asarray(x, dtype)
