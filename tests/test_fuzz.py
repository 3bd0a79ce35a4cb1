"""A deterministic share of the random programs of `python -m tests.fuzz`, and tests of the fuzzer itself: what it must find, it finds."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz import workers
from fuzz.building import Builder, Rejected
from fuzz.checks import ALL, check
from fuzz.choices import Seeded
from fuzz.coverage import Coverage, record
from fuzz.derivatives import check_derivatives
from fuzz.entries import ENTRIES, missing
from fuzz.failure import Failure
from fuzz.growing import add
from fuzz.programs import Case, programs, seeded
from fuzz.report import failure_text
from fuzz.shrink import shrunken
from fuzz.stochastic import Interpreter, Tolerance
from fuzz.values import LAYOUTS, Profile, draw_profile, laid_out
from hypothesis import HealthCheck, given, settings
from primitive_cases import normal

import fdl
from fdl.backends.llvm import runtime
from fdl.tracer import dtypes
from fdl.tracer.parse import parse
from fdl.tracer.primitive import PRIMITIVES, lookup

ROOT = Path(__file__).resolve().parents[1]
SHARE = 72
CHUNK = 12


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = fdl.get_num_threads()
    fdl.set_num_threads(workers.THREADS)
    yield
    fdl.set_num_threads(before)


# --- the programs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, SHARE, CHUNK))
def test_random_programs(first: int) -> None:
    for seed in range(first, first + CHUNK):
        case = seeded(seed)
        try:
            check(case)
        except Failure as failure:
            pytest.fail(failure_text(seed, failure, case, shrunken(case, failure.kind)))


@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(programs())
def test_programs_that_hypothesis_draws(case: Case) -> None:
    check(case)


# --- the generator --------------------------------------------------------------------------------


def test_every_primitive_has_an_entry() -> None:
    assert not missing(), "add an entry to tests/fuzz, or a row to tests/primitive_table.py"


@pytest.mark.parametrize("kind", ["control", "array"])
def test_every_entry_adds_to_a_program(kind: str) -> None:
    unmade = []
    for name, e in ENTRIES.items():
        if e.control is not (kind == "control"):
            continue
        for seed in range(60):
            c = Seeded(f"{name} {seed}")
            b = Builder(c, Profile(draw_profile(c).dtypes, (3, 4, 1)))
            for dtype in (dtypes.float32, dtypes.complex64, dtypes.int32):
                b.new_input(normal(c.rng(), (3, 4), dtype))
            try:
                add(b, e)
            except Rejected:
                continue
            break
        else:
            unmade.append(name)
    assert not unmade


def test_programs_cover_the_language() -> None:
    total = Coverage()
    for seed in range(700):
        total.add(record(seeded(seed), None, workers.CONTROL))
    primitives, kinds = total.missing()
    assert not kinds
    assert len(primitives) <= len(PRIMITIVES) // 5, primitives  # the rest are rare, or rows of the table
    assert 0.25 <= total.control / total.programs <= 0.4
    lengths = np.array(sorted(total.lengths.elements()))
    assert np.mean((lengths >= 5) & (lengths <= 40)) > 0.9
    assert {"large", "wild", "outside", "ordinary"} <= set(total.profiles)
    assert set(total.layouts) == set(LAYOUTS)
    assert Coverage.of_json(json.loads(json.dumps(total.as_json()))) == total
    assert "with control flow" in total.report()


def test_a_seed_is_a_program() -> None:
    for seed in (1, 2, 31):
        one, other = seeded(seed), seeded(seed)
        assert str(one.program) == str(other.program) and one.steps == other.steps
        assert all(x.tobytes() == y.tobytes() for x, y in zip(one.inputs, other.inputs, strict=True))


def test_layouts_show_the_same() -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    for layout in LAYOUTS:
        for value in (x, x[0, 0:1], np.asarray(3, np.int16), x.astype(dtypes.bfloat16), x.astype(np.complex64)):
            y = laid_out(value, layout)
            assert y.shape == value.shape and (y == value).all()
    assert laid_out(x, "reversed").strides == (-16, -4)
    assert not laid_out(x, "misaligned").flags.aligned
    assert not laid_out(x, "swapped").dtype.isnative


# --- what is planted is found ---------------------------------------------------------------------


def program(text: str, *inputs: Any) -> Case:
    return Case(parse(text), tuple(np.asarray(x) for x in inputs))


WAVE = """program main(a: f64[7], b: f64[7]) {
  c: f64[7] = add a b
  d: f64[7] = mul c a
  e: f64[7] = cos d
  f: f64[7] = sub e b
  g: f64[] = reduce_sum[axes=(0,)] f
  return g f
}"""
VALUES = np.linspace(0.1, 2, 7), np.linspace(-1, 1, 7)


def found(case: Case) -> str:
    try:
        check(case, ALL)
    except Failure as failure:
        return failure.kind
    return ""


def test_a_wrong_result_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    case = program(WAVE, *VALUES)
    assert found(case) == ""
    cos = lookup("cos")
    monkeypatch.setattr(cos, "reference", lambda x, true=cos.reference: true(x) * (1 + 1e-13))
    assert found(case) == "llvm"
    small = shrunken(case, "llvm")
    assert [e.primitive.name for e in small.program.equations] == ["cos"]


def test_wrong_derivatives_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = program(WAVE, *VALUES)
    cos, mul = lookup("cos"), lookup("mul")
    with monkeypatch.context() as m:
        m.setattr(cos, "jvp", lambda primals, tangents, true=cos.jvp: true(primals, [fdl.numpy.multiply(tangents[0], 1.01)]))
        assert found(case) == "forward"
    with monkeypatch.context() as m:
        true = mul.transpose
        m.setattr(
            mul, "transpose", lambda ct, x, y: [None if g is None else fdl.numpy.multiply(g, 1.01) for g in true(ct, x, y)]
        )
        assert found(program(WAVE, *VALUES)) == "reverse"


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc"])
def test_a_staircase_is_no_slope(name: str) -> None:
    """At some of the points a difference goes over twice as many steps as half of it does: the slope would be 1e5, and it is 0."""
    p = parse(f"program main(a: f64[400]) {{ b: f64[400] = mul a 100000.0:f64 c: f64[400] = {name} b return c }}")
    assert check_derivatives(p, [np.linspace(0.1, 0.9, 400)], 0)["compared"] > 0


def test_the_sign_of_a_complex_number_turns() -> None:
    """z / |z| has a derivative, with which differences are compared: they are not those of a value that is held."""
    p = parse("program main(a: c128[5]) { b: c128[5] = sign a return b }")
    counts = check_derivatives(p, [np.linspace(1.0, 2.0, 5) + 1j * np.linspace(-1.0, 0.5, 5)], 0)
    assert counts["compared"] == counts["elements"] == 5


def test_a_text_that_reads_back_as_another_program_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.checks.parse", lambda text, *rest: parse(text.replace("add", "sub"), *rest))
    assert found(program(WAVE, *VALUES)) == "text"


def test_a_pass_that_changes_a_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.checks.simplify", lambda p: parse(str(p).replace("mul c a", "mul c c")))
    assert found(program(WAVE, *VALUES)) == "simplify"


def test_a_write_outside_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    true = runtime.call

    def stray(program: int, frame: Any, pointers: Sequence[int]) -> int:
        status = true(program, frame, pointers)
        ctypes.memset(pointers[-1] + VALUES[0].nbytes, 0, 1)
        return status

    monkeypatch.setattr("fdl.backends.llvm.guards.runtime.call", stray)
    assert found(program(WAVE, *VALUES)) == "memory"


def test_what_may_be_zero_may_be_divided_by() -> None:
    """The second pivot of equal rows is zero but for rounding errors: a quotient by it is undetermined, a number or not."""
    text = """program main(a: f32[2,2]) {
        b: f32[2,2], c: i32[2], d: i32[2] = lu a
        e: f32[1,1] = slice[limit=(2, 2), start=(1, 1), stride=(1, 1)] b
        f: f32[1,1] = div e e
        return f
    }"""
    singular = program(text, np.float32([[0.1, 0.7], [0.3, 2.1]]))
    t = Tolerance(singular.program, singular.inputs, 0)
    for value in (np.nan, 1.0):
        assert not t.mismatch(0, np.full((1, 1), value, np.float32))


def test_tolerance_follows_the_program() -> None:
    exact = program(
        "program main(a: f32[5]) {\n b: f32[5] = mul a a\n c: f32[5] = sub b a\n return c\n}", np.arange(5, dtype=np.float32)
    )
    t = Tolerance(exact.program, exact.inputs, 0)
    assert t.exact and not t.mismatch(0, t.expected[0])
    assert "1 of 5 elements" in t.mismatch(0, np.nextafter(t.expected[0], np.float32([9, 0, 2, 6, 12])).astype(np.float32))
    # A difference of nearly equal numbers loses most of its digits, and is held to the rest.
    text = (
        "program main(a: f32[1]) {\n b: f32[1] = exp a\n c: f32[1] = sub b 1.0:f32\n d: f32[1] = mul c 1e4:f32\n return b d\n}"
    )
    loose = program(text, np.float32([1e-4]))
    t = Tolerance(loose.program, loose.inputs, 0)
    ulp = 2.0**-23
    assert not t.mismatch(0, np.float32(t.expected[0] + ulp)) and t.mismatch(0, np.float32(t.expected[0] + 100 * ulp))
    assert not t.mismatch(1, np.float32(t.expected[1] + 1e4 * ulp)) and t.mismatch(1, np.float32(t.expected[1] + 1e6 * ulp))


def test_the_second_interpreter_agrees_on_control_flow() -> None:
    tried = 0
    for seed in range(300):
        case = seeded(seed)
        if not {"cond", "scan", "while"} & set(case.entries) or case.profile is None or case.profile.outside:
            continue
        tried += 1
        run = Interpreter(0, np.random.default_rng(0))
        given = [*case.inputs, *case.program.values]
        opened = type(case.program)(
            (*case.program.inputs, *case.program.constants), case.program.equations, case.program.outputs
        )
        with np.errstate(all="ignore"):
            expected = fdl.tracer.primitive.run_program(opened, given)
        for x, y in zip(run.run(opened, given), expected, strict=True):
            np.testing.assert_array_equal(np.asarray(x).astype(np.complex128), np.asarray(y).astype(np.complex128))
    assert tried > 20


# --- the driver -----------------------------------------------------------------------------------

_FAKE = """
import json, os, signal, sys
for line in sys.stdin:
    seed = int(line.split()[1])
    if seed == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    if seed == 5:
        sys.exit(7)
    kind = "llvm" if seed == 6 else ""
    print(json.dumps({"coverage": {"programs": 1}, "kind": kind, "text": f"seed {seed}: it failed"}), flush=True)
"""


def test_a_crash_is_told_with_its_seed_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "COMMAND", [sys.executable, "-c", _FAKE])
    told: list[str] = []
    coverage, failures = workers.run_many(iter(range(10)), 2, told.append, progress=lambda *_: None)
    assert coverage.programs == 10
    assert sorted(failures) == [(3, "crash"), (5, "crash"), (6, "llvm")]
    assert any("SIGSEGV" in t and "--only 3" in t for t in told) and any("exit status 7" in t for t in told)


def test_the_command_prints_what_it_covered() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--count", "3", "--seed", "0", "--jobs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "programs        3; " in done.stdout and "failures        0" in done.stdout
