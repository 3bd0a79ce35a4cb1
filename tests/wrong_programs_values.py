"""Wrong programs about what an array can hold: dtypes, things that are no arrays, and arrays used as something else."""

from __future__ import annotations

from typing import Any

import numpy as np
from wrong_programs import EVERY, Wrong, wrong

import fdl
import fdl.numpy as fnp

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
I = np.arange(3, dtype=np.int32)  # noqa: E741
PARAMS = {"conv1": {"w": X, "b": X[0]}, "scale": np.float32(2)}


def with_weight(w: Any) -> Any:
    """The parameters with something else in the place of one array."""
    return {**PARAMS, "conv1": {**PARAMS["conv1"], "w": w}}  # type: ignore[dict-item]


# --- what is no array -----------------------------------------------------------------------------


def total(params, x):
    return (params["conv1"]["w"] * x).sum()


@wrong(X, right=lambda: fdl.jit(total)(PARAMS, X))
def text_in_a_tree_under_jit(x):
    """DTypeError: jit(total): argument params['conv1']['w'] is 'zeros' of type str: expected an array or a number.
    What is no array goes into a static argument of its own (static_argnums), or is closed over.
    > at {here}
    """
    return fdl.jit(total)(with_weight("zeros"), x)  #: here


@wrong(X, right=lambda: fdl.grad(total)(PARAMS, X))
def nothing_known_in_a_tree_under_grad(x):
    """DTypeError: grad(total): argument params['conv1']['w'][2] is the class object: expected an array or a number.
    What is no array is closed over (functools.partial), or left out.
    > at {here}
    """
    return fdl.grad(total)(with_weight([x, {}, object]), x)["scale"]  #: here


@wrong(X, right=lambda: fdl.vmap(total, (None, 0))(PARAMS, X))
def text_in_a_tree_under_vmap(x):
    """DTypeError: vmap(total): argument params['conv1']['w'] is b'zeros' of type bytes: expected an array or a number.
    What is no array is closed over (functools.partial), or left out.
    > at {here}
    """
    return fdl.vmap(total, (None, 0))(with_weight(b"zeros"), x)  #: here


@wrong(X, right=lambda: fdl.make_ir(total)(PARAMS, X))
def text_in_a_tree_under_make_ir(x):
    """DTypeError: make_ir(total): argument params['conv1']['w'] is 'zeros' of type str: expected an array or a number.
    What is no array is closed over (functools.partial), or left out.
    > at {here}
    """
    return fdl.make_ir(total)(with_weight("zeros"), x)  #: here


@wrong(X, right=lambda: fdl.eval_shape(total, PARAMS, X))
def text_in_a_tree_under_eval_shape(x):
    """DTypeError: eval_shape(total): argument params['conv1']['w'] is 'zeros' of type str: expected an array or a
    number. What is no array is closed over (functools.partial), or left out.
    > at {here}
    """
    return fdl.eval_shape(total, with_weight("zeros"), x)  #: here


@wrong(X, right=lambda: fdl.jit(total)(PARAMS, X))
def array_of_objects(x):
    """DTypeError: jit(total): argument params['conv1']['w'] is a NumPy array of dtype object: expected an array or a
    number. Its elements are Python objects: make numbers of them with .astype('float32'), and pad rows of different
    lengths.
    > at {here}
    """
    return fdl.jit(total)(with_weight(np.array([{}, None])), x)  #: here


@wrong(X, right=lambda: fdl.jit(total)(PARAMS, X))
def array_of_dates(x):
    """DTypeError: jit(total): argument params['conv1']['w'] is a NumPy array of dtype datetime64[D]: expected an array
    or a number. Convert it with .astype to one of bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
    float16, bfloat16, float32, float64, complex64, complex128.
    > at {here}
    """
    return fdl.jit(total)(with_weight(np.array(["2024-01-01"], "datetime64[D]")), x)  #: here


@wrong(X, right=lambda: fdl.jit(total)(PARAMS, X), by_line=False)
def nothing(x):
    """TypeError: unsupported operand type(s) for *: 'NoneType' and 'ProgramTracer'"""
    return fdl.jit(total)(with_weight(None), x)  #: here


@wrong(X, right=lambda: fdl.jit(total)(PARAMS, X))
def a_dict_with_keys_of_two_types(x):
    """TreeError: a dict's keys must be sortable to be a pytree; got keys ['conv1', 'scale', 1]. Use keys of one type,
    such as str.
    > at {here}
    """
    return fdl.jit(total)({**PARAMS, 1: x}, x)  #: here


@wrong(X, right=lambda: fdl.jit(lambda x: {"a": [x, 1.0]})(X))
def output_that_is_no_array(x):
    """DTypeError: f: its output['a'][1] is 'no' of type str: expected an array or a number. Return arrays, numbers,
    None, and containers of them.
    > at {here}
    """

    def f(x):
        return {"a": [x, "no"]}

    return fdl.jit(f)(x)["a"][0]  #: here


@wrong(X, right=lambda: fnp.sin(X))
def none_as_an_operand(x):
    """DTypeError: add: operand 1 is None: expected an array or a number. A function that forgets to return gives None.
    > at {here}
    """
    return fnp.add(x, None)  #: here


@wrong(X, right=lambda: fnp.sin(X))
def text_as_an_operand(x):
    """DTypeError: sin: operand 0 is 'x' of type str: expected an array or a number. Convert it to numbers first.
    > at {here}
    """
    return fnp.sin("x") + x  #: here


@wrong(X, right=lambda: fnp.asarray(X) + 1, modes=("eager",), by_line=False)
def text_beside_an_operator(x):
    """TypeError: unsupported operand type(s) for +: 'Array' and 'str'"""
    return x + "1"  #: here


@wrong(X, right=lambda: fnp.sum([1.0, 2.0]))
def a_function_as_an_operand(x):
    """DTypeError: asarray: the argument is the function sin: expected an array or a number. Convert it to numbers
    first.
    > at {here}
    """
    return x * fnp.asarray(fnp.sin)  #: here


@wrong(X, right=lambda: fnp.asarray([[1.0, 0.0], [1.0, 2.0]]))
def ragged_list(x):
    """ShapeError: asarray: the argument is a ragged nested sequence: [0] has shape (1,), [1] has shape (2,). Pad what
    is shorter, or keep a list of arrays.
    > at {here}
    """
    return x.sum() + fnp.asarray([[1.0], [1.0, 2.0]])  #: here


@wrong(X, right=lambda: fnp.asarray([1.0, 2.0]))
def text_in_a_list(x):
    """DTypeError: asarray: the argument[1] is 'two' of type str: expected an array or a number. Convert it to numbers
    first.
    > at {here}
    """
    return x.sum() + fnp.asarray([1.0, "two"])  #: here


# --- dtypes ---------------------------------------------------------------------------------------


@wrong(X, right=lambda: fnp.ones(3, "f32"))
def unknown_dtype(x):
    """TypeError: not a data type: 'f31'. Expected one of bool, int8, int16, int32, int64, uint8, uint16, uint32,
    uint64, float16, bfloat16, float32, float64, complex64, complex128.
    > at {here}
    """
    return x[0] + fnp.ones(3, "f31")  #: here


@wrong(X, right=lambda: fnp.asarray(X).astype("float64"))
def dtype_that_fdl_lacks(x):
    """TypeError: fdl has no arrays of dtype datetime64[s]. Expected one of bool, int8, int16, int32, int64, uint8,
    uint16, uint32, uint64, float16, bfloat16, float32, float64, complex64, complex128.
    > at {here}
    """
    return x.astype("datetime64[s]")  #: here


# Where NumPy's long double is a double, there is nothing wrong.
@wrong(X, modes=EVERY if np.dtype(np.longdouble).name == "float128" else (), right=lambda: fnp.asarray(np.float64(1)))
def long_double(x):
    """DTypeError: asarray: the argument is a NumPy array of dtype float128: expected an array or a number. Convert it
    with .astype to one of bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16,
    float32, float64, complex64, complex128.
    > at {here}
    """
    return x + fnp.asarray(np.ones(3, np.longdouble))  #: here


@wrong(X, right=lambda: fnp.asarray(1.0, "f32"))
def complex_into_float(x):
    """DTypeError: asarray: complex64 cannot become float32, which would drop the imaginary parts. Take .real, .imag or
    abs first.
    > at {here}
    """
    return x + fnp.asarray(1j, "f32")  #: here


@wrong(X, right=lambda: fnp.asarray(X).at[0].set(1.0))
def complex_set_in_float(x):
    """DTypeError: .at[...]: complex values of dtype complex64 do not go into an array of dtype float32. Convert the
    array with .astype, or take the real part of the values.
    > at {here}
    """
    return x.at[0].set(1j)  #: here


@wrong(X, good=(np.ones(3, np.int32),), modes=("eager", "jit", "vmap"))
def bits_of_floats(x):
    """DTypeError: and: operands have dtype float32, expected bool or int. Convert with .astype.
    > at {here}
    """
    return x & 1  #: here


@wrong(X, right=lambda: fnp.asarray(I) << 1)
def shift_of_floats(x):
    """DTypeError: shift_left: operands have dtype float32, expected int. Convert with .astype.
    > at {here}
    """
    return x << 1  #: here


@wrong(X, right=lambda: fnp.asarray(X) > 0)
def order_of_complex_numbers(x):
    """DTypeError: lt: operands have dtype complex64, expected bool or int or float. Take .real, .imag or abs first.
    > at {here}
    """
    return x < x * 1j  #: here


@wrong(I, modes=("eager", "jit", "vmap"), right=lambda: fnp.asarray(I) + 2**30)
def python_int_that_does_not_fit(i):
    """OverflowError: add: the Python integer 1099511627776 does not fit in int32: expected -2147483648 to 2147483647.
    Convert what has that dtype to a wider one, such as int64.
    > at {here}
    """
    return i + 2**40  #: here


@wrong(X, right=lambda: fnp.asarray(2**40))
def python_int_above_64_bits(x):
    """OverflowError: the Python integer 1180591620717411303424 does not fit in 64 bits. Make it a float, or keep it
    out of arrays.
    > at {here}
    """
    return x + fnp.asarray(2**70)  #: here


@wrong(X, right=lambda: fnp.full(3, 100, "i8"))
def python_int_above_8_bits(x):
    """OverflowError: full: the Python integer 300 does not fit in int8: expected -128 to 127. Convert what has that
    dtype to a wider one, such as int64.
    > at {here}
    """
    return x + fnp.full(3, 300, "i8")  #: here


@wrong(I, modes=("eager", "jit", "vmap"), right=lambda: fnp.asarray(I, "u8").at[0].set(200))
def python_int_set_into_8_bits(i):
    """OverflowError: .at[...].set: the values: the Python integer 300 does not fit in uint8: expected 0 to 255. Convert
    what has that dtype to a wider one, such as int64.
    > at {here}
    """
    return i.astype("u8").at[0].set(300)  #: here


@wrong(I, modes=("eager", "jit", "vmap"), right=lambda: fnp.asarray(I, "u8") + 200)
def python_int_added_to_8_bits(i):
    """OverflowError: add: the Python integer 300 does not fit in uint8: expected 0 to 255. Convert what has that dtype
    to a wider one, such as int64.
    > at {here}
    """
    return i.astype("u8") + 300  #: here


# --- arrays used as something else ----------------------------------------------------------------


@wrong(X, right=lambda: fnp.asarray(X).at[0].set(1.0))
def assignment(x):
    """TypeError: arrays are immutable. Write x = x.at[index].set(value) instead of x[index] = value.
    > at {here}
    """
    x[0] = 1.0  #: here
    return x


@wrong(X, right=lambda: fnp.asarray(X).at[0].add(1.0))
def assignment_in_place(x):
    """TypeError: arrays are immutable. Write x = x.at[index].set(value) instead of x[index] = value.
    > at {here}
    """
    x[0] += 1.0  #: here
    return x


@wrong(X, right=lambda: {id(X): 1})
def array_as_a_key(x):
    """TypeError: unhashable: an array, of type f32[2,3], is compared element by element, and cannot be the key of a
    dict or a member of a set. Use a name, a number or a tuple of numbers as the key.
    > at {here}
    """
    return {x: 1.0}[x]  #: here


@wrong(X, right=lambda: bool(fnp.all(fnp.asarray(X) == 0)), modes=("eager", "grad"))
def truth_of_many_elements(x):
    """ValueError: the truth value of an array of shape (2, 3) is ambiguous. Use .any() or .all(), and & or | instead
    of `and` or `or`.
    > at {here}
    """
    return x if x > 1 else -x  #: here


@wrong(X, right=lambda: float(fnp.asarray(X)[0, 0]), modes=("eager", "grad"))
def number_of_many_elements(x):
    """TypeError: float() takes a 0-d array; this one is f32[2,3]. Index it, or use .item().
    > at {here}
    """
    return x * float(x)  #: here


@wrong(X, right=lambda: list(range(int(fnp.asarray(2)))), modes=("eager", "grad"))
def range_of_a_float(x):
    """TypeError: only a 0-d integer array is an index; this one is f32[].
    > at {here}
    """
    return sum(x[0, 0] for _ in range(x[0, 1]))  #: here


@wrong(X, right=lambda: fnp.sin(X))
def result_written_to_an_array(x):
    """DTypeError: sum: out= is not taken, since arrays are immutable. Use the result.
    > at {here}
    """
    return fnp.sum(x, out=np.zeros(()))  #: here


@wrong(X, right=lambda: np.asarray(fnp.ones(3)).sum(), modes=("eager",), by_line=False)
def numpy_view_written_to(x):
    """ValueError: assignment destination is read-only"""
    np.asarray(x)[0] = 1.0  #: here
    return x


@wrong(X, right=lambda: fnp.asarray(X).to_device("cpu"))
def unknown_device(x):
    """ShapeError: to_device: device 'tpu' is not known. Expected 'cpu', or None for the default.
    > at {here}
    """
    return x.to_device("tpu")  #: here
