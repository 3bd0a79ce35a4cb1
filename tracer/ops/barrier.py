"""`barrier` and `name`: identities that mean something to passes and transforms.

    c: f32[3], d: f32[3] = barrier a b        c is a and d is b, but no pass may see through: it is never merged with an equal
                                              equation, and what reads c counts as computed after both a and b are there.
    c: f32[3] = name[name="hidden"] a         c is a, under a name that a policy of `checkpoint` can ask for.

What `checkpoint` computes again reads its inputs through a barrier: without it, common-subexpression elimination would find
the values of the forward pass, and keep them alive, which is what `checkpoint` is there to avoid.  The lowering to loops drops
barriers, when all that could merge equations is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import Type
from ..primitive import Elementwise, Named, Primitive, Zero
from ..trace import bind


def _jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    moved = iter(barrier([t for t in tangents if not isinstance(t, Zero)]))
    return barrier(primals), [t if isinstance(t, Zero) else next(moved) for t in tangents]


def _transpose(cts: Sequence[Any], *inputs: Any) -> list[Any]:
    moved = iter(barrier([c for c in cts if not isinstance(c, Zero)]))
    return [None if isinstance(c, Zero) else next(moved) for c in cts]


barrier_p = Primitive(
    "barrier",
    abstract=lambda *types: types,
    reference=lambda *xs: xs,
    jvp=_jvp,
    transpose=_transpose,
    batch=lambda size, xs, axes: (barrier(xs), list(axes)),
    lowering=Named("barrier"),
    multiple=True,
)


def barrier(xs: Sequence[Any]) -> list[Any]:
    """`xs` themselves, as values that no pass connects with them."""
    return bind(barrier_p, *xs) if xs else []


def _name_abstract(x: Type, *, name: str) -> Type:
    return x


def _name_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, name: str) -> tuple[Any, Any]:
    # The tangent has no name: a policy speaks of what the function computes.
    return named(primals[0], name), tangents[0]


name_p = Primitive(
    "name",
    abstract=_name_abstract,
    reference=lambda x, *, name: x,
    jvp=_name_jvp,
    transpose=lambda ct, x, *, name: [ct],
    batch=lambda size, xs, axes, *, name: (named(xs[0], name), axes[0]),
    lowering=Elementwise("copy"),
)


def named(x: Any, name: str) -> Any:
    """`x`, under a name for the policies of `checkpoint`."""
    return bind(name_p, x, name=name)
