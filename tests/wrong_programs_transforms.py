"""Wrong programs about derivatives: arguments, what functions return, tangents, cotangents, custom rules, checkpoints."""

from __future__ import annotations

import numpy as np
from wrong_programs import Wrong, wrong

import fdl
import fdl.numpy as fnp

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
ONE = np.float32(1)
PARAMS = {"w": X.T, "b": X[0, :2]}


def loss(params, x):
    return (x @ params["w"] + params["b"]).sum()


def double(x):
    return x * 2


def product(x, y):
    return x * y


# --- grad -----------------------------------------------------------------------------------------


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def grad_of_a_vector(x):
    """ShapeError: grad(double): the function must return one scalar, got an array of shape (2, 3). Sum or average it,
    use has_aux=True for what goes along, or use vjp.
    > at {here}
    """
    return fdl.grad(double)(x)  #: here


@wrong(ONE, right=lambda: fdl.grad(lambda x: (x, x), has_aux=True)(ONE))
def grad_of_a_pair(x):
    """ShapeError: grad(both): the function must return one scalar, got a tuple of 2. Sum or average it, use
    has_aux=True for what goes along, or use vjp.
    > at {here}
    """

    def both(v):
        return v, v * 2

    return fdl.grad(both)(x)  #: here


@wrong(X, right=lambda: fdl.grad(lambda x: fnp.max(x))(X))
def grad_of_an_integer_value(x):
    """DTypeError: grad(best): the function returns dtype int32, expected a real floating-point scalar.
    > at {here}
    """

    def best(v):
        return fnp.argmax(v)

    return fdl.grad(best)(x)  #: here


@wrong(X, right=lambda: fdl.grad(lambda x: fnp.abs(x * 1j).sum())(X))
def grad_of_a_complex_value(x):
    """DTypeError: grad(spectrum): the function returns dtype complex64, expected a real floating-point scalar. For a
    holomorphic function pass holomorphic=True.
    > at {here}
    """

    def spectrum(v):
        return fnp.sum(v * 1j)

    return fdl.grad(spectrum)(x)  #: here


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def grad_of_integers(x):
    """DTypeError: grad(loss): argument params['w'] has dtype int64, expected a floating-point one. Convert it with
    .astype(float), or choose other argnums.
    > at {here}
    """
    params = {"w": fnp.ones((3, 2), "int64"), "b": x[0, :2]}
    return fdl.grad(loss)(params, x)["b"]  #: here


@wrong(X, right=lambda: fdl.grad(loss, argnums=1)(PARAMS, X))
def argnums_out_of_range(x):
    """ValueError: grad(loss): argnums=2, but the call has 2 positional arguments. Pass that argument by position.
    > at {here}
    """
    return fdl.grad(loss, argnums=2)(PARAMS, x)  #: here


@wrong(X, right=lambda: fdl.grad(loss, argnums=1)(PARAMS, X))
def argnums_of_an_argument_by_keyword(x):
    """ValueError: grad(loss): argnums=1, but 'x' was passed by keyword. Pass that argument by position.
    > at {here}
    """
    return fdl.grad(loss, argnums=1)(PARAMS, x=x)  #: here


@wrong(X, right=lambda: fdl.grad(loss, argnums=(0, 1))(PARAMS, X)[1])
def argnums_twice(x):
    """ValueError: grad(loss): argnums=(1, -1) names an argument twice.
    > at {here}
    """
    return fdl.grad(loss, argnums=(1, -1))(PARAMS, x)  #: here


@wrong(X, right=lambda: fdl.grad(loss, argnums=(0, 1))(PARAMS, X)[1])
def argnums_by_name(x):
    """TypeError: grad: argnums: expected an int or a sequence of ints, got 'x'.
    > at {here}
    """
    return fdl.grad(loss, argnums="x")(PARAMS, x)  #: here


@wrong(X, right=lambda: fdl.grad(lambda x: (x.sum(), x), has_aux=True)(X))
def has_aux_without_a_pair(x):
    """TypeError: f: with has_aux=True it must return a pair (output, aux), got an array of type f32[].
    > at {here}
    """

    def f(v):
        return v.sum()

    return fdl.grad(f, has_aux=True)(x)[0]  #: here


@wrong(X, right=lambda: fdl.grad(lambda x: x.sum())(X))
def grad_of_a_value(x):
    """TypeError: grad expects a function, got an array of type f32[].
    > at {here}
    """
    return fdl.grad(x.sum())(x)  #: here


@wrong(ONE, right=lambda: fdl.jvp(lambda x: fdl.while_loop(lambda s: s < 9.0, lambda s: s * 2, x), (ONE,), (ONE,)))
def reverse_mode_through_a_while_loop(x):
    """MissingRuleError: while_loop has no reverse-mode derivative: the number of its steps, and so the memory for what
    they leave behind, is not known when it is traced (a fori_loop with a traced bound is such a loop too). Use
    fdl.scan, or fdl.fori_loop with bounds that are Python ints, with a cond inside where it may end early; give the
    result a derivative of its own with fdl.custom_vjp (for a fixed point, the implicit one); or use forward mode:
    fdl.jvp, fdl.jacfwd.
    > at {here}
    """

    def grow(v):
        return fdl.while_loop(lambda s: s < 9.0, lambda s: s * 2, v)  #: here

    return fdl.grad(grow)(x)


@wrong(X, right=lambda: fdl.hessian(lambda x: (x * x).sum())(X))
def hessian_of_integers(x):
    """DTypeError: hessian(double): argument x has dtype int32, expected a floating-point one. Convert it with
    .astype(float), or choose other argnums.
    > at {here}
    """
    return fdl.hessian(double)(fnp.arange(3)) + x.sum()  #: here


@wrong(X, right=lambda: fdl.jacfwd(double)(X))
def jacobian_of_integer_outputs(x):
    """DTypeError: jacrev(signs): the output['sign'] has dtype int32, expected a floating-point one. Return it with
    has_aux=True.
    > at {here}
    """

    def signs(v):
        return {"sign": (v > 0).astype("int32")}

    return fdl.jacrev(signs)(x)["sign"]  #: here


@wrong(X, right=lambda: fdl.grad(lambda x: fdl.pure_callback(np.sin, x, fdl.stop_gradient(x)).sum() + x.sum())(X))
def grad_of_a_callback(x):
    """MissingRuleError: pure_callback(sin) has no derivative: fdl cannot see into a Python function. Give it one with
    fdl.custom_jvp or fdl.custom_vjp around the call, or make its operands constant with fdl.stop_gradient.
    > at {here}
    """

    def host(v):
        return fdl.pure_callback(np.sin, v, v).sum()  #: here

    return fdl.grad(host)(x)


# --- jvp, vjp, linearize --------------------------------------------------------------------------


@wrong(X, right=lambda: fdl.jvp(double, (X,), (X,)))
def tangent_of_another_shape(x):
    """ShapeError: jvp(double): the tangent of x has shape (3,), expected (2, 3).
    > at {here}
    """
    return fdl.jvp(double, (x,), (x[0],))[1]  #: here


@wrong(X, right=lambda: fdl.jvp(double, (X,), (X,)))
def tangent_of_another_dtype(x):
    """DTypeError: jvp(double): the tangent of x has dtype float64, expected float32. Convert it with .astype.
    > at {here}
    """
    return fdl.jvp(double, (x,), (x.astype("float64"),))[1]  #: here


@wrong(X, right=lambda: fdl.jvp(loss, (PARAMS, X), (PARAMS, X)))
def tangent_nested_otherwise(x):
    """ShapeError: jvp(loss): the tangents are not nested like the primals: tangents[0]: expected a dict with keys
    ['b', 'w'], got a dict with keys ['b', 'v'].
    > at {here}
    """
    return fdl.jvp(loss, (PARAMS, x), ({"v": x.T, "b": x[0, :2]}, x))[1]  #: here


@wrong(X, right=lambda: fdl.jvp(double, (X,), (X,)))
def tangents_in_no_tuple(x):
    """TypeError: jvp: primals and tangents must be tuples of arguments, got an array of type f32[2,3] and an array of
    type f32[2,3]. For one argument: jvp(f, (x,), (x_dot,)).
    > at {here}
    """
    return fdl.jvp(double, x, x)[1]  #: here


@wrong(X, right=lambda: fdl.hvp(lambda v: (v * v).sum(), (X,), (X,)))
def tangents_of_an_hvp_in_no_tuple(x):
    """TypeError: hvp: primals and tangents must be tuples of arguments, got an array of type f32[2,3] and an array of
    type f32[2,3]. For one argument: hvp(f, (x,), (x_dot,)).
    > at {here}
    """
    return fdl.hvp(lambda v: (v * v).sum(), x, x)  #: here


@wrong(ONE, right=lambda: fdl.hvp(lambda v: v * v, (ONE,), (ONE,)))
def tangent_of_an_hvp_of_another_shape(x):
    """ShapeError: hvp(double): the tangent of x has shape (2, 3), expected ().
    > at {here}
    """
    return fdl.hvp(double, (x,), (X,))  #: here


@wrong(X, right=lambda: fdl.jvp(product, (X, X), (X, X)))
def tangents_of_another_number(x):
    """ShapeError: jvp(product): the tangents are not nested like the primals: tangents: expected a tuple of 2, got a
    tuple of 1.
    > at {here}
    """
    return fdl.jvp(product, (x, x), (x,))[1]  #: here


@wrong(X, right=lambda: fdl.vjp(lambda x: {"y": x}, X)[1]({"y": X}))
def cotangent_nested_otherwise(x):
    """ShapeError: vjp(<lambda>): the cotangent is not nested like the output: cotangent: expected a dict with keys
    ['y'], got an array or a scalar.
    > at {here}
    """
    y, pull = fdl.vjp(lambda v: {"y": v * 2}, x)
    return pull(y["y"])[0]  #: here


@wrong(X, right=lambda: fdl.vjp(double, X)[1](X))
def cotangent_of_another_shape(x):
    """ShapeError: vjp(double): the cotangent has shape (3, 2), expected (2, 3).
    > at {here}
    """
    _, pull = fdl.vjp(double, x)
    return pull(x.T)[0]  #: here


@wrong(X, right=lambda: fdl.vjp(double, X)[1](X))
def cotangent_of_another_dtype(x):
    """DTypeError: vjp(double): the cotangent has dtype bfloat16, expected float32. Convert it with .astype.
    > at {here}
    """
    _, pull = fdl.vjp(double, x)
    return pull(fnp.ones((2, 3), "bfloat16"))[0]  #: here


@wrong(X, right=lambda: fdl.linear_transpose(double, X)(X))
def transpose_of_what_is_not_linear(x):
    """MissingRuleError: linear_transpose(square): the function is not linear in its arguments, or an operation of it
    has no transpose.
    > primitive 'mul' is not linear in its operands together.
    > at {made}
    """

    def square(v):
        return v * v  #: made

    return fdl.linear_transpose(square, x)(x)[0]  #: here


# --- custom rules ---------------------------------------------------------------------------------


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def custom_jvp_without_a_rule(x):
    """MissingRuleError: custom_jvp double: no rule is defined. Decorate one with @double.defjvp.
    > at {here}
    """
    f = fdl.custom_jvp(double)

    def total(v):
        return f(v).sum()  #: here

    return fdl.grad(total)(x)


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def custom_jvp_that_returns_no_pair(x):
    """TypeError: custom_jvp double: the rule tangent must return a pair (output, tangent of the output), got an array
    of type f32[2,3].
    > at {here}
    """
    f = fdl.custom_jvp(double)

    @f.defjvp
    def tangent(primals, tangents):
        return 2 * tangents[0]

    def total(v):
        return f(v).sum()  #: here

    return fdl.grad(total)(x)


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def custom_jvp_with_a_tangent_of_another_shape(x):
    """ShapeError: custom_jvp double: the rule tangent: tangent has type f32[], expected f32[2,3], like the output.
    > at {here}
    """
    f = fdl.custom_jvp(double)

    @f.defjvp
    def tangent(primals, tangents):
        return primals[0] * 2, tangents[0].sum()

    def total(v):
        return f(v).sum()  #: here

    return fdl.grad(total)(x)


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def custom_vjp_without_rules(x):
    """MissingRuleError: custom_vjp double: no rules are defined. Call double.defvjp(fwd, bwd).
    > at {here}
    """
    f = fdl.custom_vjp(double)

    def total(v):
        return f(v).sum()  #: here

    return fdl.grad(total)(x)


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def custom_vjp_with_too_few_cotangents(x):
    """TypeError: custom_vjp product: the rule back must return a tuple with a cotangent for each of the 2 arguments
    (x, y), got a tuple of 1.
    > at {here}
    """
    f = fdl.custom_vjp(product)

    def back(kept, ct):
        return (ct * kept[1],)

    f.defvjp(lambda a, b: (a * b, (a, b)), back)
    return fdl.grad(lambda v: f(v, v).sum())(x)  #: here


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def custom_vjp_with_a_cotangent_of_another_shape(x):
    """ShapeError: custom_vjp product: the rule back: the cotangent of x has type f32[], expected f32[2,3], like the
    argument.
    > at {here}
    """
    f = fdl.custom_vjp(product)

    def back(kept, ct):
        return ct.sum(), ct * kept[0]

    f.defvjp(lambda a, b: (a * b, (a, b)), back)
    return fdl.grad(lambda v: f(v, v).sum())(x)  #: here


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def custom_vjp_whose_forward_returns_no_pair(x):
    """TypeError: custom_vjp double: the rule forward must return a pair (output, residuals), got an array of type
    f32[2,3].
    > at {here}
    """
    f = fdl.custom_vjp(double)

    def forward(v):
        return v * 2

    f.defvjp(forward, lambda kept, ct: (ct * 2,))

    def total(v):
        return f(v).sum()  #: here

    return fdl.grad(total)(x)


@wrong(X, right=lambda: fdl.grad(loss)(PARAMS, X))
def forward_mode_of_a_custom_vjp(x):
    """MissingRuleError: custom_vjp double: forward-mode differentiation (jvp, jacfwd, hessian's outer half) needs a
    tangent, and its rule only gives cotangents. Use reverse mode (grad, vjp, jacrev), or define the rule with
    fdl.custom_jvp, which serves both.
    > at {here}
    """
    f = fdl.custom_vjp(double)
    f.defvjp(lambda v: (v * 2, None), lambda kept, ct: (ct * 2,))
    return fdl.jvp(f, (x,), (x,))[1]  #: here


@wrong(X, right=lambda: fdl.checkpoint(double, policy=fdl.checkpoint_policies.dots_saveable)(X))
def checkpoint_with_the_name_of_a_policy(x):
    """TypeError: checkpoint(double): policy: expected one of fdl.checkpoint_policies or a function, got
    'dots_saveable' of type str.
    > at {here}
    """
    return fdl.checkpoint(double, policy="dots_saveable")(x)  #: here


@wrong(X, right=lambda: fdl.checkpoint(double, policy=fdl.checkpoint_policies.save_only_these_names("a"))(X))
def checkpoint_with_a_list_of_names(x):
    """TypeError: save_only_these_names: expected names, got ['a', 'b'] of type list. Give them as arguments:
    save_only_these_names('a', 'b').
    > at {here}
    """
    policy = fdl.checkpoint_policies.save_only_these_names(["a", "b"])  #: here
    return fdl.checkpoint(double, policy=policy)(x)


@wrong(X, right=lambda: fdl.checkpoint_name(X, "hidden"))
def checkpoint_name_that_is_no_text(x):
    """TypeError: checkpoint_name: the name: expected a str, got an array of type f32[2,3]. The value comes first:
    checkpoint_name(x, 'name').
    > at {here}
    """
    return fdl.checkpoint_name("hidden", x)  #: here


@wrong(X, right=lambda: fdl.checkpoint(lambda x: fnp.where(x > 0, x, 0.0))(X))
def branch_in_a_checkpoint(x):
    """ConcretizationError: bool() needs the value of a traced array of type bool[], which is not known while
    checkpoint(relu) is traced. For a branch use fdl.cond or fdl.numpy.where, for a loop fdl.while_loop, for `and`,
    `or`, `not` the operators &, |, ~; or make the argument static with static_argnums.
    > at {here}
    """

    def relu(v):
        return v if v.sum() > 0 else -v  #: here

    return fdl.checkpoint(relu)(x)


# --- arguments ------------------------------------------------------------------------------------


@wrong(ONE, right=lambda: fdl.jit(product)(np.ones(2, "uint8"), 255))
def jit_of_an_integer_that_does_not_fit(x):
    """OverflowError: jit(brighter): argument by is the Python integer 300, which does not fit in uint8 (multiply): expected 0 to 255.
    Convert what has that dtype to a wider one, such as int64, or pass the number as an array of its own dtype.
    > at {here}
    """

    def brighter(image, by):
        return image * by  #: here

    return fdl.jit(brighter)(np.ones(2, "uint8"), 300)


@wrong(ONE, right=lambda: fdl.vmap(lambda: 1.0, axis_size=3)())
def vmap_of_no_size(x):
    """TypeError: vmap(one): axis_size must be an int that is not negative, got -1 of type int.
    > at {here}
    """

    def one():
        return x

    return fdl.vmap(one, axis_size=-1)()  #: here


@wrong(X, right=lambda: fdl.vjp(product, X, X)[1](X))
def vjp_of_two_cotangents(x):
    """TypeError: vjp(pair): it takes one cotangent, a pytree like the output, got 2 arguments. For several outputs give one tuple,
    or whatever the function returns.
    > at {here}
    """

    def pair(v):
        return v, v * 2

    return fdl.vjp(pair, x)[1](x, x)  #: here


@wrong(ONE, right=lambda: fdl.closure_convert(double, 1.0)[0](ONE))
def closure_convert_of_another_shape(x):
    """ShapeError: closure_convert(double): argument x has shape (2, 3), expected ().
    > at {here}
    """
    return fdl.closure_convert(double, 1.0)[0](X)  #: here


@wrong(X, right=lambda: fdl.custom_linear_solve(double, X, lambda m, b: b / 2))
def linear_solve_without_a_solver(x):
    """TypeError: custom_linear_solve: solve expects a function, got None.
    > at {here}
    """
    return fdl.custom_linear_solve(double, x, None)  #: here


@wrong(X, right=lambda: fdl.custom_root(lambda x: x - 1.0, 1.0, lambda f, x: x - f(x), lambda g, y: y))
def root_whose_solver_forgets_its_aux(x):
    """TypeError: custom_root: solve must return a pair (solution, aux), since has_aux=True, got an array or a scalar.
    > at {here}
    """
    return fdl.custom_root(lambda v: v - x[0, 0], 1.0, lambda f, v: v - f(v), lambda g, y: y, has_aux=True)  #: here


@wrong(ONE, right=lambda: fdl.custom_jvp(double, nondiff_argnums=0))
def custom_rule_called_with_too_much(x):
    """TypeError: custom_jvp double(x): too many positional arguments.
    > at {here}
    """
    f = fdl.custom_jvp(double)
    f.defjvps(lambda x_dot, y, x: 2 * x_dot)
    return f(x, x)  #: here


@wrong(ONE, right=lambda: fdl.stop_gradient({"a": ONE}))
def stop_gradient_of_a_name(x):
    """DTypeError: stop_gradient: x['mode'] is 'train' of type str: expected an array or a number. Convert it to numbers first.
    > at {here}
    """
    return fdl.stop_gradient({"x": x, "mode": "train"})  #: here
