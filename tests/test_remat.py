"""checkpoint: derivatives, what is kept and what is computed again, memory, policies, effects, and its program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import checkpoint_policies as policies
from fdl.tracer import tree
from fdl.tracer.check import check_program
from fdl.tracer.errors import ConcretizationError, DTypeError
from fdl.tracer.ir import Program, Type, subprograms
from fdl.tracer.ops.barrier import barrier
from fdl.tracer.parse import parse
from fdl.tracer.passes.expand import expand
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.show import functions
from fdl.tracer.transforms.call import inline_calls
from fdl.transforms import specialise

RNG = np.random.default_rng(5)
X = RNG.normal(size=4)
W = RNG.normal(size=(4, 4)) * 0.5
PLAIN = (lambda f: f, fdl.jit)


def close(a: Any, b: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    (la, sa), (lb, sb) = tree.flatten(a), tree.flatten(b)
    assert sa == sb, (sa, sb)
    for x, y in zip(la, lb, strict=True):
        assert np.shape(x) == np.shape(y), (np.shape(x), np.shape(y))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)


def count(p: Program) -> Counter[str]:
    """How often each primitive stands in a program, sub-programs included."""
    found = Counter(e.primitive.name for e in p.equations)
    for e in p.equations:
        for inner in subprograms(e.params):
            found += count(inner)
    return found


def block(w: Any, x: Any) -> Any:
    return fnp.tanh(fnp.sin(x @ w) * fnp.exp(-x))


ALL = [
    None, policies.everything_saveable, policies.nothing_saveable, policies.dots_saveable,
    policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names("none"), policies.save_any_names_but_these("none"),
    policies.save_anything_except_these_names("none"), policies.save_from_both_policies(policies.dots_saveable, policies.nothing_saveable),
]  # fmt: skip


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ALL, ids=lambda p: getattr(p, "__name__", None) or getattr(p, "name", "none"))
def test_derivatives_are_those_of_the_function(policy: Any) -> None:
    f = fdl.checkpoint(block, policy=policy)

    def loss(f: Any) -> Any:
        return lambda w, x: fnp.sum(f(w, f(w, x)) ** 2)

    expected = fdl.grad(loss(block), (0, 1))(W, X)
    close(f(W, X), block(W, X))
    close(fdl.grad(loss(f), (0, 1))(W, X), expected)
    close(fdl.jit(fdl.grad(loss(f), (0, 1)))(W, X), expected)


def test_every_mode_and_order() -> None:
    def g(x: Any) -> Any:
        return fnp.sin(fnp.exp(x)) * x

    f = fdl.checkpoint(g)
    s = np.float64(0.3)
    for wrap in PLAIN:
        close(fdl.jvp(wrap(f), (X,), (X,))[1], fdl.jvp(g, (X,), (X,))[1])
        close(fdl.jacfwd(wrap(f))(X), fdl.jacrev(g)(X))
        close(fdl.linearize(wrap(f), X)[1](X), fdl.jvp(g, (X,), (X,))[1])
        close(wrap(fdl.hessian(lambda x: f(x).sum()))(X), fdl.hessian(lambda x: g(x).sum())(X))
        close(fdl.grad(fdl.grad(wrap(f)))(s), fdl.grad(fdl.grad(g))(s))
        close(fdl.grad(fdl.grad(wrap(fdl.grad(f))))(s), fdl.grad(fdl.grad(fdl.grad(g)))(s))
        close(fdl.grad(fdl.checkpoint(fdl.grad(wrap(f))))(s), fdl.grad(fdl.grad(g))(s))
        close(fdl.vmap(wrap(fdl.grad(f)))(X), fdl.vmap(fdl.grad(g))(X))
        close(fdl.grad(lambda x, wrap=wrap: fdl.vmap(wrap(f))(x).sum())(X), fdl.vmap(fdl.grad(g))(X))
    twice = fdl.checkpoint(lambda x: fdl.checkpoint(fnp.sin)(f(x)))
    close(fdl.grad(lambda x: twice(x).sum())(X), fdl.grad(lambda x: fnp.sin(g(x)).sum())(X))


def test_pytrees_closures_and_keywords() -> None:
    @fdl.checkpoint
    def f(p: Any, *, scale: Any) -> Any:
        return {"y": fnp.sin(p["a"]) * W[0] * scale, "n": p["n"] + 1}

    found = fdl.grad(lambda p: f(p, scale=2.0)["y"].sum(), allow_int=True)({"a": X, "n": np.int32(1)})
    close(found["a"], 2 * np.cos(X) * W[0])
    assert int(f({"a": X, "n": np.int32(1)}, scale=2.0)["n"]) == 2
    close(
        fdl.grad(lambda w: fdl.checkpoint(lambda x: fnp.sin(x * w))(X).sum())(X), X * np.cos(X * X)
    )  # closed over: differentiated
    close(fdl.grad(lambda w: fdl.jit(fdl.checkpoint(lambda x: fnp.sin(x * w)))(X).sum())(X), X * np.cos(X * X))
    close(fdl.vmap(lambda w: fdl.grad(fdl.remat(lambda x: fnp.sin(x * w)))(np.float64(1.0)))(X), X * np.cos(X))


def test_decorator_with_options() -> None:
    assert fdl.remat is fdl.checkpoint

    @fdl.checkpoint(policy=policies.dots_saveable, static_argnames="flag")
    def f(x: Any, n: Any, *, flag: bool = True) -> Any:
        """Doc."""
        return x * n if flag else x

    assert f.__doc__ == "Doc."
    close(fdl.grad(f, 1)(3.0, 2.0), np.float32(3.0))
    close(fdl.grad(lambda n: f(3.0, n=n, flag=False))(2.0), np.float32(0.0))

    @fdl.checkpoint(static_argnums=(1, 2))
    def power(x: Any, n: int, names: tuple[str, ...]) -> Any:
        for _ in range(n):
            x = x * x
        return x if "neg" not in names else -x

    close(fdl.grad(lambda x: power(x, 2, ("neg",)))(2.0), np.float32(-32.0))
    close(fdl.jit(fdl.grad(lambda x: power(x, 1, ())))(2.0), np.float32(4.0))
    with pytest.raises(
        TypeError, match=r"checkpoint\(power\): static arguments must be hashable; n, names are \[1, \['neg'\]\]"
    ):
        power(2.0, 1, ["neg"])


def test_control_flow_inside_and_outside() -> None:
    def body(c: Any, x: Any) -> Any:
        c = fnp.tanh(W @ c + x)
        return c, c * x

    def run(body: Any) -> Any:
        def f(x: Any) -> Any:
            c, ys = fdl.scan(body, X, x)
            return fnp.sum(c * ys)

        return f

    xs = RNG.normal(size=(5, 4))
    expected = fdl.grad(run(body))(xs)
    for wrap in PLAIN:
        close(wrap(fdl.grad(run(fdl.checkpoint(body))))(xs), expected)
        close(wrap(fdl.grad(fdl.checkpoint(run(body))))(xs), expected)
        close(wrap(fdl.grad(fdl.checkpoint(run(fdl.checkpoint(body)), policy=policies.dots_saveable)))(xs), expected)

    def branch(x: Any) -> Any:
        return fdl.cond(x[0] > 0, fdl.checkpoint(lambda x: fnp.exp(fnp.sin(x)).sum()), lambda x: x.sum(), x)

    for x in (X, -X):
        plain = fdl.grad(lambda x: fnp.exp(fnp.sin(x)).sum() if x[0] > 0 else x.sum())(x)
        close(fdl.grad(fdl.checkpoint(branch, policy=policies.dots_saveable))(x), plain)
        close(fdl.jit(fdl.grad(branch))(x), plain)


# --- memory ---------------------------------------------------------------------------------------

DEPTH, WIDTH, BATCH = 12, 16, 256
WS = [(RNG.normal(size=(WIDTH, WIDTH)) / 4).astype(np.float32) for _ in range(DEPTH)]
BIG = RNG.normal(size=(BATCH, WIDTH)).astype(np.float32)
ONE = BATCH * WIDTH * 4


def layer(w: Any, x: Any) -> Any:
    for _ in range(4):
        x = fnp.sin(x @ w)
    return x


def chain(layer: Callable[..., Any]) -> Callable[..., Any]:
    def f(ws: Any, x: Any) -> Any:
        for w in ws:
            x = layer(w, x)
        return fnp.sum(x)

    return f


def arena(f: Callable[..., Any]) -> int:
    return int(fdl.jit(fdl.grad(f)).lower(WS, BIG).plan.nbytes)


def test_the_memory_plan_shrinks() -> None:
    plain, fine = arena(chain(layer)), arena(chain(fdl.checkpoint(layer)))
    # Kept are 4 products and their sines a layer, against one input a layer and the insides of one.
    assert plain > 8 * (DEPTH - 1) * ONE
    assert fine < (DEPTH + 8) * ONE
    groups = [fdl.checkpoint(lambda ws, x: chain_of(ws, x)) for _ in range(3)]

    def chain_of(ws: Any, x: Any) -> Any:
        for w in ws:
            x = fdl.checkpoint(layer)(w, x)
        return x

    def grouped(ws: Any, x: Any) -> Any:
        for i, g in enumerate(groups):
            x = g(ws[4 * i : 4 * i + 4], x)
        return fnp.sum(x)

    nested = arena(grouped)
    assert nested < fine
    reference = fdl.grad(chain(layer))(WS, BIG)
    for f in (chain(fdl.checkpoint(layer)), grouped):
        for a, b in zip(fdl.jit(fdl.grad(f))(WS, BIG), reference, strict=True):
            close(a, b, rtol=1e-3, atol=1e-3)


def test_policies_lie_between() -> None:
    sizes = [arena(chain(fdl.checkpoint(layer, policy=p))) for p in (policies.everything_saveable, None)]
    assert abs(sizes[0] - arena(chain(layer))) <= ONE and sizes[1] < sizes[0] / 2


def test_a_scan_of_checkpoints_stacks_its_carries_alone() -> None:
    def stacked(body: Any) -> int:
        p = fdl.make_ir(fdl.grad(lambda x, xs: fdl.scan(body, x, xs)[0].sum()))(X, RNG.normal(size=(7, 4)))
        first = next(e for e in p.equations if e.primitive.name == "scan")
        return sum(v.type.shape[:1] == (7,) for v in first.outputs)

    def body(c: Any, x: Any) -> Any:
        return fnp.tanh(fnp.sin(c) * fnp.exp(fnp.cos(c) * x)), None

    assert stacked(body) > 3
    assert stacked(fdl.checkpoint(body)) == 1


# --- what is computed again -----------------------------------------------------------------------


def test_cse_respects_the_barrier() -> None:
    def f(x: Any) -> Any:
        return fnp.exp(fnp.sin(x)).sum()

    def sines(**options: Any) -> int:
        p = fdl.make_ir(fdl.value_and_grad(fdl.checkpoint(f, **options)))(X)
        return count(simplify(inline_calls(expand(p))))["sin"]

    assert (sines(), sines(prevent_cse=False)) == (2, 1)
    two = fdl.make_ir(lambda x: [fnp.sin(y) for v in (x, x) for y in barrier([v])])(X)
    assert count(simplify(two)) == {"barrier": 2, "sin": 2}


def saved(f: Callable[..., Any], policy: Any, *args: Any) -> Counter[str]:
    """What the forward pass of a checkpointed function hands to the backward one: the primitives that made it."""
    p = fdl.make_ir(fdl.grad(fdl.checkpoint(f, policy=policy)))(*args)
    forward = next(e for e in p.equations if e.primitive.name == "checkpoint").params["program"]
    made = {v: e.primitive.name for e in forward.equations for v in e.outputs}
    return Counter(made[v] for v in forward.outputs[1:])


def test_policies() -> None:
    def attention(w: Any, x: Any) -> Any:  # a product with weights, a batched one, elementwise operations, and names
        h = fdl.checkpoint_name(fnp.sin(x @ w), "h")
        scores = fdl.checkpoint_name(fnp.exp(fnp.einsum("bij,bkj->bik", h, h)), "scores")
        return fnp.sum(fnp.tanh(fdl.jit(lambda a: a @ a)(scores)))

    args = W, RNG.normal(size=(2, 3, 4)) * 0.1
    assert saved(attention, None, *args) == {}
    assert saved(attention, policies.nothing_saveable, *args) == {}
    assert saved(attention, policies.dots_saveable, *args) == {"dot_general": 3}
    assert saved(attention, policies.dots_with_no_batch_dims_saveable, *args) == {"dot_general": 1}
    assert saved(attention, policies.save_only_these_names("h"), *args) == {
        "sin": 1
    }  # the name's operand: nothing of it runs again
    assert saved(attention, policies.save_any_names_but_these("h"), *args) == {"exp": 1}
    assert saved(attention, policies.save_only_these_names("h", "scores"), *args) == {"sin": 1, "exp": 1}
    both = policies.save_from_both_policies(policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names("scores"))
    assert saved(attention, both, *args) == {"dot_general": 1, "exp": 1}
    everything = saved(attention, policies.everything_saveable, *args)
    assert "dot_general" not in everything and everything["exp"] == 1 and everything["cos"] == 1
    assert saved(attention, lambda primitive, *types, **params: primitive.name == "sin", *args) == {"sin": 1}
    for policy in (None, policies.dots_saveable, policies.save_only_these_names("h", "scores"), both):
        close(fdl.grad(fdl.checkpoint(attention, policy=policy))(*args), fdl.grad(attention)(*args))
    assert policies.save_only_these_names("a", "b") == policies.save_only_these_names("b", "a")
    assert policies.checkpoint_dots is policies.dots_saveable


def test_a_policy_sees_types_and_parameters() -> None:
    seen = []

    def policy(primitive: Any, *types: Type, **params: Any) -> bool:
        seen.append((primitive.name, [str(t) for t in types], dict(params)))
        return False

    fdl.grad(fdl.checkpoint(lambda x: fnp.sum(fnp.sin(x)), policy=policy))(X)
    assert ("sin", ["f64[4]"], {}) in seen and ("reduce_sum", ["f64[4]"], {"axes": (0,)}) in seen


def test_a_policy_reaches_into_the_bodies_of_scans() -> None:
    def f(x: Any, xs: Any) -> Any:
        def body(c: Any, v: Any) -> Any:
            c = fnp.tanh(fnp.sin(W @ c) + v)
            return c, c * v

        c, ys = fdl.scan(body, x, xs)
        return fnp.sum(c) + fnp.sum(ys**2)

    xs = RNG.normal(size=(6, 4))
    p = fdl.make_ir(fdl.grad(fdl.checkpoint(f, policy=policies.dots_saveable)))(X, xs)
    first, second = [e.params["program"] for e in p.equations if e.primitive.name == "checkpoint"]
    assert first.out_types[1:] == (Type((6, 4), np.dtype(np.float64)),)  # a product for each step
    assert count(first)["dot_general"] == 1
    again = next(e for e in second.equations if e.primitive.name == "scan").params["body"]
    assert count(again)["dot_general"] == 0 and count(again)["sin"] == 1
    for policy in (policies.dots_saveable, policies.everything_saveable, lambda p, *_, **__: p.name == "tanh"):
        g = fdl.grad(fdl.checkpoint(f, policy=policy), (0, 1))
        close(g(X, xs), fdl.grad(f, (0, 1))(X, xs))
        close(fdl.jit(g)(X, xs), fdl.grad(f, (0, 1))(X, xs))
    twice = fdl.grad(lambda x: fdl.grad(fdl.checkpoint(f, policy=policies.dots_saveable))(x, xs).sum())(X)
    close(twice, fdl.grad(lambda x: fdl.grad(f)(x, xs).sum())(X))


def test_calls_to_the_host_happen_once() -> None:
    calls: list[float] = []

    def tell(x: np.ndarray) -> np.ndarray:
        calls.append(float(np.sum(x)))
        return np.asarray(2.0 * x)

    def f(x: Any) -> Any:
        y = fdl.io_callback(tell, x, fnp.sin(fdl.stop_gradient(x)))
        return fnp.sum(fnp.exp(x) * y)

    def looped(x: Any) -> Any:
        def body(c: Any, v: Any) -> Any:
            return c + fnp.sin(v) * fdl.io_callback(tell, v, fnp.cos(fdl.stop_gradient(v))), None

        return fdl.scan(body, 0.0 * x[0], x)[0]

    for g in (f, looped):
        for transform in (fdl.grad(fdl.checkpoint(g)), fdl.jit(fdl.grad(fdl.checkpoint(g))), fdl.checkpoint(g)):
            calls.clear()
            found = transform(X)
            n = len(calls)
            assert n == (1 if g is f else 4)
            close(found, (transform is not None and fdl.grad(g)(X)) if np.shape(found) else g(X))


def test_the_function_is_traced_once() -> None:
    traces = []

    @fdl.checkpoint
    def f(x: Any) -> Any:
        traces.append(0)
        return fnp.sin(fnp.exp(x))

    fdl.grad(f)(0.5)
    before = len(specialise._EXECUTABLES)
    for _ in range(3):
        fdl.grad(f)(0.7)
    assert len(traces) == 1 and len(specialise._EXECUTABLES) == before
    f(np.ones(2))
    assert len(traces) == 2


def test_rules_that_close_over_arrays() -> None:
    """What a rule closes over becomes an input of every program that a transform makes."""
    table = fnp.asarray(RNG.normal(size=4))

    @fdl.custom_vjp
    def f(x: Any) -> Any:
        return x * table

    f.defvjp(lambda x: (x * table, table + 0.0), lambda r, ct: (ct * table * 3.0,))

    @fdl.custom_jvp
    def g(x: Any) -> Any:
        return x * table

    g.defjvp(lambda p, t: (p[0] * table, t[0] * table * 3.0))
    t = np.asarray(table)
    flag = np.bool_(True)
    for h in (f, g):
        for body in (h, fdl.jit(h), fdl.checkpoint(h), lambda x, h=h: fdl.cond(flag, h, lambda x: x, x)):
            for wrap in PLAIN:
                close(fdl.grad(wrap(lambda x, body=body: fnp.sum(fnp.sin(body(x)))))(X), np.cos(X * t) * 3 * t)

        def loop(x: Any, h: Any = h) -> Any:
            return fnp.sum(fdl.scan(lambda c, _: (h(c), c), x, None, length=2)[0])

        for wrap in PLAIN:
            close(fdl.grad(wrap(loop))(X), 9 * t * t)
        close(fdl.grad(lambda x: fdl.grad(fdl.jit(loop))(x).sum())(X), np.zeros(4))
    close(fdl.jvp(fdl.jit(g), (X,), (X,))[1], 3 * t * X)
    whiled = fdl.jvp(lambda x: fdl.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, g(c[1])), (0, x))[1], (X,), (X,))[1]
    close(whiled, 9 * t * t * X)


# --- as a program ---------------------------------------------------------------------------------


def test_text(golden: Callable[[str, str], None]) -> None:
    def f(x: Any) -> Any:
        return fnp.sum(fdl.checkpoint_name(fnp.sin(x), "s") * fnp.exp(x))

    p = fdl.make_ir(fdl.grad(fdl.checkpoint(f, policy=policies.save_only_these_names("s"))))(np.float32([1.0, 2.0]))
    golden("checkpoint.fdl", str(p))
    q = parse(str(p), functions=functions(p))
    assert q == p
    check_program(q)
    plain = fdl.make_ir(fdl.checkpoint(f))(X)
    assert parse(str(plain)) == plain


def test_errors() -> None:
    with pytest.raises(TypeError, match="checkpoint expects a function, got 3"):
        fdl.checkpoint(3)
    with pytest.raises(TypeError, match=r"policy: expected one of fdl.checkpoint_policies or a function, got 'dots'"):
        fdl.checkpoint(fnp.sin, policy="dots")
    with pytest.raises(DTypeError, match=r"checkpoint\(f\): argument p\['k'\]"):

        def f(p: Any) -> Any:
            return p["x"]

        fdl.checkpoint(f)({"x": 1.0, "k": "text"})
    with pytest.raises(ConcretizationError, match="while checkpoint"):
        fdl.checkpoint(lambda x: x if x > 0 else -x)(1.0)
    with pytest.raises(TypeError, match="checkpoint_name: the name: expected a str, got 3"):
        fdl.checkpoint_name(X, 3)
