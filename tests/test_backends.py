"""Every primitive, reference against LLVM: the table's shapes and dtypes, on every micro-architecture that this machine can run.

Each chunk of the table is compiled as one program of many independent equations, so that the suite stays quick; a
mismatch names the case.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from primitive_cases import Case, reference
from primitive_table import cases

from fdl.backends.executable import NativeExecutable, single
from fdl.backends.llvm.target import named
from fdl.tracer.ir import Equation, Program, Type, Variable
from fdl.tracer.trace import infer

CASES = cases()
CHUNK = 40
CHUNKS = [list(itertools.islice(CASES, i, i + CHUNK)) for i in range(0, len(CASES), CHUNK)]


def targets() -> list[str]:
    found = []
    for name in ("avx512", "avx2", "sse2", "neon"):
        try:
            named(name)
        except ValueError:
            continue
        found.append(name)
    return found


def joined(chunk: list[Case]) -> tuple[Program, list[np.ndarray], list[int]]:
    """One program with an equation for each case, the inputs, and the number of outputs of each case."""
    inputs: list[Variable] = []
    values: list[np.ndarray] = []
    equations: list[Equation] = []
    outs: list[Variable] = []
    counts: list[int] = []
    for number, case in enumerate(chunk):
        arrays = case.inputs()
        types = [Type(a.shape, a.dtype) for a in arrays]
        variables = tuple(Variable(t) for t in types)
        params = dict(case.params())
        results = tuple(Variable(t) for t in infer(case.row.primitive, types, params))
        equations.append(Equation(results, case.row.primitive, variables, params, "", number))
        inputs += variables
        values += arrays
        outs += results
        counts.append(len(results))
    return Program(tuple(inputs), tuple(equations), tuple(outs)), values, counts


@pytest.mark.parametrize("target", targets())
@pytest.mark.parametrize("index", range(len(CHUNKS)))
def test_llvm_agrees_with_the_reference(index: int, target: str) -> None:
    chunk = CHUNKS[index]
    program, values, counts = joined(chunk)
    results = iter(NativeExecutable(program, named(target))(values))
    for case, count in zip(chunk, counts, strict=True):
        actual = [np.asarray(next(results)) for _ in range(count)]
        expected = reference(case, case.inputs())
        case.check(*((actual, expected) if case.row.primitive.multiple else (actual[0], expected[0])))


def test_inputs_in_any_layout() -> None:
    """Strided, reversed, misaligned and byte-swapped arrays are read as what they show."""
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    raw = bytearray(x.nbytes + 1)
    misaligned = np.frombuffer(memoryview(raw)[1:], np.float32).reshape(4, 6)
    misaligned[...] = x
    case = next(c for c in CASES if c.row.primitive.name == "neg")
    run = NativeExecutable(single(case.row.primitive, [Type((4, 6), np.dtype(np.float32))], {}))
    wide = np.zeros((8, 12), np.float32)
    wide[::2, ::2] = x
    for view in (x, wide[::2, ::2], np.asfortranarray(x), x[::-1, ::-1][::-1, ::-1], misaligned, x.astype(">f4")):
        np.testing.assert_array_equal(np.asarray(run([view])[0]), -x)
