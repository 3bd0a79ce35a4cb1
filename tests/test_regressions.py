"""Programs that failed once: those that `python -m tests.fuzz` found and made small, with what was wrong.

Each is run through all checks of the fuzzer, on every micro-architecture that this machine has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fuzz.checks import ALL, check
from fuzz.memory import call_guarded
from fuzz.programs import Case

import fdl
import fdl.numpy as fnp
from fdl.backends.executable import NativeExecutable
from fdl.backends.llvm.fences import POISON
from fdl.backends.llvm.target import named, runnable
from fdl.tracer.errors import IndexOutOfBoundsError
from fdl.tracer.ir import Program
from fdl.tracer.parse import parse
from fdl.tracer.primitive import run_program


def inputs_of(p: Program) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [np.asarray(rng.uniform(-1, 1, t.shape) + (1j if t.dtype.kind == "c" else 0)).astype(t.dtype) for t in p.in_types]


def holds(text: str, *inputs: Any) -> None:
    """Asserts that everything holds of a program, on the given inputs or on random ones."""
    p = parse(text)
    given = [np.asarray(x, t.dtype) for x, t in zip(inputs, p.in_types, strict=True)] if inputs else inputs_of(p)
    check(Case(p, tuple(given)), ALL)
    for target in runnable():
        outs, _ = call_guarded(NativeExecutable(p, named(target), guarded=False).native, given, p.out_types, 1, POISON, None)
        fenced, _ = call_guarded(NativeExecutable(p, named(target), guarded=True).native, given, p.out_types, 1, 0, None)
        assert [x.tobytes() for x in fenced] == [x.tobytes() for x in outs]
        for x, y in zip(outs, run_program(p, given), strict=True):
            np.testing.assert_allclose(x.astype(np.complex128), np.asarray(y).astype(np.complex128), rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("n", [209, 1, 17])
def test_one_element_left_over_is_stored_alone(dtype: str, n: int) -> None:
    # LLVM joined the rounding to 16 bits with a masked store of one lane, and wrote 32 bits.
    holds(f"program main(a: {dtype}[{n}]) {{\n b: {dtype}[{n}] = sin a\n c: {dtype}[{n}] = mul b 0.5:{dtype}\n return c\n}}")


def test_nothing_is_read_from_an_array_without_elements() -> None:
    # The read of an element, which depends on no loop variable, stood before the loop that has no iteration.
    holds("program main(a: c128[3,3,0]) {\n b: c128[3,3] = reduce_sum[axes=(2,)] a\n return b\n}")


@pytest.mark.parametrize("n", [9, 17, 153])
def test_parts_of_complex_numbers_are_read_within_the_array(n: int) -> None:
    # With AVX2, LLVM dropped the constant mask of a load whose second half a shuffle left out.
    holds(f"program main(a: c64[{n}]) {{\n b: f32[{n}] = real a\n c: f32[{n}] = imag a\n d: f32[{n}] = add b c\n return d\n}}")


def test_a_scan_over_a_reshaped_argument_is_valid_loop_ir() -> None:
    # The checker knew a buffer as it was declared and as a vector, not in the shape that the scan reads it in.
    holds("""program main(a: f32[9], b: f32[3]) {
      c: f32[3,3] = reshape[shape=(3, 3)] a
      d: f32[3], e: f32[3,3] = scan[body=program f(a: f32[3], b: f32[3]) {
          c: f32[3] = add a b
          d: f32[3] = mul b a
          return c d
        }, length=3, n_carry=1, n_consts=0, reverse=false] b c
      return d e
    }""")


def test_a_product_with_known_zeros_stays_a_product() -> None:
    # Forwarding a stored 0 folded the step of the reduction, a * 0, which then had no operation to combine lanes with.
    holds("""program main(a: f64[2,1,1]) {
      b: f64[2,1,1], c: i32[2,1], d: i32[2,1] = lu a
      e: u32[2,1] = convert[dtype=u32, weak=false] d
      f: u32[] = reduce_prod[axes=(0, 1)] e
      return f
    }""")


def test_taps_that_meet_nothing_have_no_gradient() -> None:
    # A new kernel left what they have as it was found.
    holds("""program main(a: f32[1,1,1,8], b: f32[1,1,1,1]) {
      c: f32[1,2,8,1] = conv_filter_grad[groups=1, lhs_dilation=(1, 2), padding=((0, 0), (1, 1)), rhs_dilation=(2, 1), strides=(3, 3),
        window=(1, 2)] a b
      return c
    }""")


def test_the_last_panel_of_a_turned_gradient_is_narrower() -> None:
    # Its vectors reached into the sums of the next feature, where loads have no masks.
    holds("""program main(a: f64[1,17,17], b: f64[1,18,2]) {
      c: f64[2,17,2] = conv_filter_grad[groups=1, lhs_dilation=(1,), padding=((0, 2),), rhs_dilation=(1,), strides=(1,), window=(2,)] a b
      return c
    }""")


def test_a_loop_that_joins_an_earlier_one_finds_its_buffer_there() -> None:
    # The second sort's words were made in the loop that reads the first sort's result, before they were allocated.
    holds("""program main(a: i32[3,361], b: i32[3,361], c: i32[3,361]) {
      d: i32[3,361], e: i32[3,361] = sort[axis=1, num_keys=1] a c
      f: i32[3,361], g: i32[3,361] = sort[axis=1, num_keys=1] e b
      return g
    }""")


def test_windows_without_elements_have_indices_that_count() -> None:
    # Nothing was to be written, and so nothing was checked.
    scatter = """program main(a: f32[3,1,0], b: i32[2,2]) {
      c: f32[2,0] = broadcast[axes=(), shape=(2, 0)] 1.0:f32
      d: f32[3,1,0] = scatter[axes=(0, 1), mode="raise", op="add"] a b c
      return d
    }"""
    gather = """program main(a: f32[3,1,0], b: i32[2,2]) {
      c: f32[2,0] = gather[axes=(0, 1), fill=0, mode="raise"] a b
      return c
    }"""
    for text in (scatter, gather):
        holds(text, np.zeros((3, 1, 0)), [[0, 0], [2, 0]])
        p = parse(text)
        for target in runnable():
            with pytest.raises(IndexOutOfBoundsError, match="index 1 is out of bounds for axis 1 of size 1"):
                NativeExecutable(p, named(target))([np.zeros((3, 1, 0), np.float32), np.array([[0, 0], [2, 1]], np.int32)])


def test_an_output_of_complex_numbers_is_not_written_over_an_input_of_pairs() -> None:
    # Both are f64[3,3,2] to compiled code, and only one of them to the caller.
    f = fdl.jit(lambda a: fnp.ones((3, 3), np.complex128) * 2, donate_argnums=0, keep_unused=True)
    assert np.array_equal(np.asarray(f(fnp.ones((3, 3, 2), np.float64))), np.full((3, 3), 2 + 0j))


def test_a_gather_of_windows_without_elements() -> None:
    """The loop over the indices has nothing to store, and the checker of scheduled loops refused it."""
    for mode in ("fill", "clip"):
        holds(
            f"""program main(a: i32[5,1,5,0], b: i32[5,3,3]) {{
                  c: i32[5,3,0] = gather[axes=(0, 1, 2), fill=1, mode="{mode}"] a b
                  return c
                }}""",
            np.zeros((5, 1, 5, 0)),
            np.full((5, 3, 3), 1),
        )
    x, at = fnp.zeros((5, 1, 5, 0)), fnp.ones((5, 3), fnp.int32)
    with pytest.raises(IndexOutOfBoundsError, match="index 7 is out of bounds for axis 2 of size 5"):
        fdl.jit(lambda x, at: x[at, at - 1, at + 6])(x, at)
