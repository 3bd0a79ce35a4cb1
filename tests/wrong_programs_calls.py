"""Wrong programs about vmap and jit: axes, names of axes, static and donated arguments, and what is compiled."""

from __future__ import annotations

import pickle

import numpy as np
from wrong_programs import Wrong, wrong

import fdl
import fdl.numpy as fnp

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
PARAMS = {"w": X.T, "b": X[0, :2]}


def loss(params, x):
    return (x @ params["w"] + params["b"]).sum()


def double(x):
    return x * 2


def product(x, y):
    return x * y


# --- vmap -----------------------------------------------------------------------------------------


@wrong(X, right=lambda: fdl.vmap(product)(X, X))
def sizes_that_differ(x):
    """ShapeError: vmap(product): the mapped axes differ in size: x has 2, y has 3. Fix in_axes, or the shapes.
    > at {here}
    """
    return fdl.vmap(product)(x, x.T)  #: here


@wrong(X, right=lambda: fdl.vmap(loss, (None, 0))(PARAMS, X))
def in_axes_of_another_number(x):
    """TreeError: vmap(loss): in_axes has 3 entries, but the call has 2 positional arguments: expected one for each.
    > at {here}
    """
    return fdl.vmap(loss, (None, 0, 0))(PARAMS, x)  #: here


@wrong(X, right=lambda: fdl.vmap(loss, ({"w": None, "b": None}, 0))(PARAMS, X))
def in_axes_nested_otherwise(x):
    """TreeError: vmap(loss): in_axes does not fit: params: in the axes a dict with keys ['w'], in the value a dict
    with keys ['b', 'w'].
    > at {here}
    """
    return fdl.vmap(loss, ({"w": None}, 0))(PARAMS, x)  #: here


@wrong(X, right=lambda: fdl.vmap(loss, (None, 0))(PARAMS, X))
def in_axes_of_another_type(x):
    """TypeError: vmap(loss): in_axes of x: expected ints and None, got 'batch' of type str.
    > at {here}
    """
    return fdl.vmap(loss, (None, "batch"))(PARAMS, x)  #: here


@wrong(X, right=lambda: fdl.vmap(double, 1)(X))
def in_axes_out_of_range(x):
    """ShapeError: vmap(double): argument x of shape (2, 3) has no axis 2 to map over. Give another axis, or None for
    an argument that all lanes share, in in_axes.
    > at {here}
    """
    return fdl.vmap(double, 2)(x)  #: here


@wrong(X, right=lambda: fdl.vmap(double)(X))
def vmap_of_a_scalar(x):
    """ShapeError: vmap(product): argument y of shape () has no axis 0 to map over. Give another axis, or None for an
    argument that all lanes share, in in_axes.
    > at {here}
    """
    return fdl.vmap(product)(x, 2.0)  #: here


@wrong(X, right=lambda: fdl.vmap(double, out_axes=1)(X))
def out_axes_out_of_range(x):
    """ShapeError: vmap(double): out_axes=2, but the mapped output has 2 axes: expected -2 to 1.
    > at {here}
    """
    return fdl.vmap(double, out_axes=2)(x)  #: here


@wrong(X, right=lambda: fdl.vmap(lambda x: (x, 1.0), out_axes=(0, None))(X))
def out_axes_of_what_is_mapped(x):
    """ShapeError: vmap(double): out_axes is None for an output that differs between the lanes. Give it an axis.
    > at {here}
    """
    return fdl.vmap(double, out_axes=None)(x)  #: here


@wrong(X, right=lambda: fdl.vmap(double, in_axes=None, axis_size=2)(X))
def vmap_over_nothing(x):
    """ShapeError: vmap(double): nothing is mapped: all in_axes are None. Give axis_size=, or call double itself.
    > at {here}
    """
    return fdl.vmap(double, in_axes=None)(x)  #: here


@wrong(X, right=lambda: fdl.vmap(lambda x: fdl.psum(x, "batch"), axis_name="batch")(X))
def collective_outside_vmap(x):
    """AxisNameError: psum: unbound axis name 'batch': no vmap with an axis_name is around this call. Give the name to
    the vmap: fdl.vmap(f, axis_name='batch').
    > at {here}
    """
    return fdl.psum(x, "batch")  #: here


@wrong(X, right=lambda: fdl.vmap(lambda x: fdl.psum(x, "batch"), axis_name="batch")(X))
def collective_over_another_name(x):
    """AxisNameError: psum: unbound axis name 'lanes': known here: 'batch'. Give the name to the vmap: fdl.vmap(f,
    axis_name='lanes').
    > at {here}
    """

    def normal(v):
        return v / fdl.psum(v, "lanes")  #: here

    return fdl.vmap(normal, axis_name="batch")(x)


@wrong(X, right=lambda: fdl.vmap(double, axis_name="i")(X))
def axis_name_that_is_no_text(x):
    """TypeError: vmap(double): axis_name must be a str, got 0 of type int.
    > at {here}
    """
    return fdl.vmap(double, axis_name=0)(x)  #: here


# --- jit ------------------------------------------------------------------------------------------


@wrong(X, right=lambda: fdl.jit(lambda x, n: x * n[0], static_argnums=1)(X, (2, 3)))
def static_list(x):
    """TypeError: jit(scaled): static argument sizes is [2, 3] of type list, which is not hashable. Pass a tuple
    instead, or make the argument dynamic.
    > at {here}
    """

    def scaled(v, sizes):
        return v * sizes[0]

    return fdl.jit(scaled, static_argnums=1)(x, [2, 3])  #: here


@wrong(X, right=lambda: fdl.jit(product)(X, X))
def static_array(x):
    """TypeError: jit(product): static argument y is an array of type f32[3], which is not hashable. Arrays are dynamic
    arguments: leave it out of static_argnums; or make a tuple of numbers of it.
    > at {here}
    """
    return fdl.jit(product, static_argnums=1)(x, fnp.ones(3))  #: here


@wrong(X, right=lambda: fdl.jit(product, static_argnums=1)(X, 2))
def static_argnums_out_of_range(x):
    """ValueError: jit(product): static_argnums has 2, but product takes 2 positional arguments (x, y).
    > at {here}
    """
    return fdl.jit(product, static_argnums=2)(x, 2)  #: here


@wrong(X, right=lambda: fdl.jit(product, static_argnames="y")(X, 2))
def static_argnames_unknown(x):
    """ValueError: jit(product): static_argnames has 'n', but product has no such argument; it has x, y.
    > at {here}
    """
    return fdl.jit(product, static_argnames="n")(x, 2)  #: here


@wrong(X, right=lambda: fdl.jit(product, static_argnums=1)(X, 2))
def static_and_donated(x):
    """ValueError: jit(product): y is static and donated: only an array can be donated.
    > at {here}
    """
    return fdl.jit(product, static_argnums=1, donate_argnums=1)(x, 2)  #: here


@wrong(X, right=lambda: fdl.jit(double, backend="reference")(X))
def unknown_backend(x):
    """ValueError: jit(double): backend: expected one of llvm, reference, got 'gpu'.
    > at {here}
    """
    return fdl.jit(double, backend="gpu")(x)  #: here


@wrong(X, right=lambda: fdl.jit(double)(X))
def jit_of_a_value(x):
    """TypeError: jit expects a function, got an array of type f32[2,3].
    > at {here}
    """
    return fdl.jit(double(x))(x)  #: here


@wrong(X, right=lambda: fdl.jit(double)(X), by_line=False)
def jit_in_a_pickle(x):
    """TypeError: cannot pickle jit(double): it holds machine code of this process. Pickle the function itself, and
    apply fdl.jit after loading it.
    """
    return pickle.dumps(fdl.jit(double))  #: here


@wrong(X, modes=("eager",), right=lambda: fdl.jit(double).lower(X).compile()(X))
def compiled_for_another_shape(x):
    """TypeError: jit(double): x has shape (3, 2), and was compiled for (2, 3). A compiled function runs for the types
    that it was lowered for: call the jitted function, or lower it for these.
    > at {here}
    """
    return fdl.jit(double).lower(x).compile()(x.T)  #: here


@wrong(X, modes=("eager",), right=lambda: fdl.jit(double, donate_argnums=0)(X))
def donated_array_read(x):
    """DonatedError: this array was donated and its memory reused by a call of jit(double) as its argument x, first
    made at {made}. Keep the call's result instead, or drop donate_argnums there.
    > at {here}
    """
    y = fnp.exp(x)
    fdl.jit(double, donate_argnums=0)(y)  #: made
    return y + 1  #: here


@wrong(X, modes=("eager",), right=lambda: fdl.jit(loss, donate_argnums=0)({k: fnp.asarray(v) for k, v in PARAMS.items()}, X))
def donated_parameters_given_again(x):
    """DonatedError: this array was donated and its memory reused by a call of jit(loss) as its argument params['b'],
    first made at {made}. Keep the call's result instead, or drop donate_argnums there.
    > at {here}
    """
    step = fdl.jit(loss, donate_argnums=0)
    params = {k: fnp.asarray(v) + 1 for k, v in PARAMS.items()}
    step(params, x)  #: made
    return step(params, x)  #: here


@wrong(X, modes=("eager",), right=lambda: fdl.jit(loss)(PARAMS, X))
def too_few_arguments(x):
    """TypeError: loss() missing 1 required positional argument: 'x'
    > at {here}
    """
    return fdl.jit(loss)(x)  #: here
