"""Wrong programs about values that outlive the trace that made them."""

from __future__ import annotations

from typing import Any

import numpy as np
from wrong_programs import Wrong, wrong

import fdl
import fdl.numpy as fnp

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
ONE = np.float32(1)
kept: list[Any] = []


class Model:
    """Something that outlives a call, and remembers what it was given."""

    state: Any = None


@wrong(ONE, right=lambda: fdl.jit(lambda x: (x, x * 2))(ONE))
def leak_through_a_list(x):
    """LeakedTracerError: a traced array of type f32[] escaped from jit(f): it was stored outside and is used after (or
    outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def f(v):
        kept.append(v * 2)  #: made
        return v

    fdl.jit(f)(1.0)
    return x + kept.pop()  #: here


@wrong(ONE, right=lambda: fdl.jit(lambda x: (x, x * 2))(ONE))
def leak_of_an_argument(x):
    """LeakedTracerError: a traced array of type f32[] escaped from jit(f): it was stored outside and is used after (or
    outside) the transformation that made it. Return it from the function instead.
    > it is argument v of {made}
    > at {here}
    """

    def f(v):  #: made
        kept.append(v)
        return v

    fdl.jit(f)(1.0)
    return x + kept.pop()  #: here


@wrong(ONE, right=lambda: fdl.jit(lambda x: (x, x * 2))(ONE))
def leak_through_an_attribute(x):
    """LeakedTracerError: a traced array of type f32[] escaped from jit(f): it was stored outside and is used after (or
    outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """
    model = Model()

    def f(v):
        model.state = fnp.sin(v)  #: made
        return v

    fdl.jit(f)(1.0)
    return fnp.cos(model.state) + x  #: here


@wrong(ONE, right=lambda: fdl.jit(lambda x: (x, x * 2))(ONE))
def leak_through_a_generator(x):
    """LeakedTracerError: a traced array of type f32[] escaped from jit(f): it was stored outside and is used after (or
    outside) the transformation that made it. Return it from the function instead.
    > it is argument v of {made}
    > at {here}
    """

    def parts(v):
        for k in range(3):
            yield v * k  #: here

    def f(v):  #: made
        kept.append(parts(v))
        return v + next(kept[0])

    fdl.jit(f)(1.0)
    return x + next(kept.pop())


@wrong(ONE, right=lambda: fdl.jit(fdl.jit(lambda x: (x, x * 2)))(ONE))
def leak_from_an_inner_jit(x):
    """LeakedTracerError: a traced array of type f32[] escaped from jit(inner): it was stored outside and is used after
    (or outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def inner(v):
        kept.append(v * 3)  #: made
        return v

    def outer(v):
        fdl.jit(inner)(v)
        return v + kept.pop()  #: here

    return fdl.jit(outer)(x)


@wrong(ONE, right=lambda: fdl.jit(lambda x: x)(ONE))
def leak_into_the_next_call(x):
    """LeakedTracerError: a traced array of type f32[] escaped from jit(f): it was stored outside and is used after (or
    outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """
    cache: list[Any] = []

    def f(v):
        if not cache:
            cache.append(v + 1)  #: made
        return v * cache[0]  #: here

    g = fdl.jit(f)
    return g(1.0) + g(np.ones(2, np.float32)).sum() + x


@wrong(ONE, right=lambda: fdl.grad(lambda x: (x * x, x), has_aux=True)(ONE))
def leak_from_grad(x):
    """LeakedTracerError: a traced array of type f32[] escaped from grad(f): it was stored outside and is used after
    (or outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def f(v):
        kept.append(v * v)  #: made
        return v * v

    fdl.grad(f)(2.0)
    return x * kept.pop()  #: here


@wrong(ONE, right=lambda: fdl.vmap(lambda x: (x, x * 2))(X))
def leak_from_vmap(x):
    """LeakedTracerError: a traced array of type f32[3] escaped from vmap(f): it was stored outside and is used after
    (or outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def f(v):
        kept.append(v * 2)  #: made
        return v

    fdl.vmap(f)(X)
    return x * kept.pop()  #: here


@wrong(ONE, right=lambda: fdl.scan(lambda c, v: (c + v.sum(), c * 2), 0.0, X))
def leak_from_scan(x):
    """LeakedTracerError: a traced array of type f32[] escaped from scan(step): it was stored outside and is used after
    (or outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def step(c, row):
        kept.append(c * 2)  #: made
        return c + row.sum(), row

    fdl.scan(step, 0.0, X)
    return x * kept.pop()  #: here


@wrong(ONE, right=lambda: fdl.cond(True, lambda: 1.0, lambda: 2.0))
def leak_from_cond(x):
    """LeakedTracerError: a traced array of type f32[] escaped from cond(yes): it was stored outside and is used after
    (or outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def yes(v):
        kept.append(fnp.exp(v))  #: made
        return v

    fdl.cond(True, yes, fnp.sin, 1.0)
    return x * kept.pop()  #: here


@wrong(ONE, right=lambda: fdl.make_ir(lambda x: (x, x * 2))(ONE))
def leak_from_make_ir(x):
    """LeakedTracerError: a traced array of type f32[] escaped from make_ir(f): it was stored outside and is used after
    (or outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def f(v):
        kept.append(v * 2)  #: made
        return v

    fdl.make_ir(f)(1.0)
    return x * kept.pop()  #: here


@wrong(ONE, modes=("eager",), right=lambda: str(fdl.jit(lambda x: x)(ONE)))
def leak_converted(x):
    """LeakedTracerError: a traced array of type f32[] escaped from jit(f): it was stored outside and is used after (or
    outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def f(v):
        kept.append(v * 2)  #: made
        return v

    fdl.jit(f)(1.0)
    return x + float(kept.pop())  #: here


@wrong(ONE, modes=("eager",), right=lambda: fdl.jit(lambda x: x)(ONE))
def leak_given_back_to_jit(x):
    """LeakedTracerError: a traced array of type f32[] escaped from jit(f): it was stored outside and is used after (or
    outside) the transformation that made it. Return it from the function instead.
    > made at {made}
    > at {here}
    """

    def f(v):
        kept.append(v * 2)  #: made
        return v

    g = fdl.jit(f)
    g(x)
    return g(kept.pop())  #: here
