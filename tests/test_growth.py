"""Growth: exponents, cliffs and straight lines of made-up points, the tables, the curves at tiny sizes. Nothing is timed to be judged."""

from __future__ import annotations

import doctest
import importlib
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.driver import Row
from benchmarks.growth import __main__ as command
from benchmarks.growth import curves, page, picture
from benchmarks.growth.curves import CASES, CURVES, LIBRARIES, Curve
from benchmarks.growth.fits import (
    CLIFF,
    SLACK,
    Cliff,
    Line,
    Point,
    Segment,
    cliffs,
    exponent,
    is_as_expected,
    line,
    rises,
    segments,
)
from benchmarks.growth.run import Found, again, foretold, measure, rounds_for
from benchmarks.kits import fdl_kit
from benchmarks.record import Absent, Bench, Case, find
from benchmarks.timing import Timing
from fdl.transforms import specialise


def points(times: dict[int, float], units: float | None = None) -> list[Point]:
    return [Point(n, n if units is None else units, t) for n, t in times.items()]


@pytest.mark.parametrize("module", ["fits", "page", "run"])
def test_docstring_examples(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"benchmarks.growth.{module}"))
    assert found.attempted and not found.failed


# --- arithmetic -----------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_the_exponent_of_a_power_is_the_power(power: float) -> None:
    assert exponent(points({n: 7e-6 * n**power for n in (1, 3, 10, 31, 100)})) == pytest.approx(power, abs=1e-9)


def test_an_exponent_is_a_least_squares_slope() -> None:
    found = exponent(points({1: 1.0, 10: 30.0, 100: 100.0, 1000: 5000.0}))
    expected = np.polyfit(np.log([1, 10, 100, 1000]), np.log([1.0, 30.0, 100.0, 5000.0]), 1)[0]
    assert found == pytest.approx(expected)
    assert math.isnan(exponent(points({5: 1.0}))) and math.isnan(exponent([]))
    assert math.isnan(exponent([Point(5, 5, 1.0), Point(5, 5, 2.0)]))


def test_segments_share_the_sizes_that_part_them() -> None:
    bent = points({n: max(1.0, (n / 10) ** 2) for n in (1, 3, 10, 30, 100)})
    first, second = segments(bent, (10,))
    assert (first, second.first, second.last) == (Segment(1, 10, 0.0), 10, 100) and second.exponent == pytest.approx(2.0)
    assert [(s.first, s.last) for s in segments(bent, (3, 30))] == [(1, 3), (3, 30), (30, 100)]
    assert len(segments(bent, (1000,))) == 1 and segments(bent[:1], (10,)) == []


def test_a_cliff_is_a_rise_of_the_cost_a_unit() -> None:
    smooth = points({1: 1.0, 2: 2.9, 4: 5.8, 8: 17.0})
    assert rises(smooth) == pytest.approx([1.45, 1.0, 17 / 11.6]) and not cliffs(smooth)
    steep = points({1: 1.0, 2: 1.0, 4: 2.0 * CLIFF * 1.01, 8: 4.0})
    assert cliffs(steep) == [Cliff(2, 4, pytest.approx(CLIFF * 1.01))]  # type: ignore[list-item]
    assert not cliffs(points({1: 1.0, 2: 2.0 * CLIFF}))  # the factor itself is none
    assert cliffs(points({1: 1.0, 2: 2.2}), factor=1.05) == [Cliff(1, 2, 1.1)]


def test_a_quadratic_loop_is_all_cliffs() -> None:
    square = points({n: 1e-9 * n**2 for n in (10, 100, 1000)})
    assert [(c.before, c.after) for c in cliffs(square)] == [(10, 100), (100, 1000)]
    assert not is_as_expected(exponent(square), 1.0)


def test_work_that_is_not_the_size_counts() -> None:
    cubes = [Point(n, n**3, 1e-9 * n**3) for n in (16, 64, 256)]
    assert not cliffs(cubes) and rises(cubes) == pytest.approx([1.0, 1.0])


def test_a_line_is_found_through_noise_of_all_sizes() -> None:
    noise = itertools.cycle((1.02, 0.98, 1.0))
    found = line(points({n: (40e-6 + 3e-6 * n) * next(noise) for n in (1, 2, 5, 10, 20, 50, 100, 200)}))
    assert found is not None
    assert (
        found.fixed == pytest.approx(40e-6, rel=0.1) and found.each == pytest.approx(3e-6, rel=0.05) and 0.0 < found.off < 0.05
    )


def test_a_line_has_no_negative_part() -> None:
    steep = line(points({1: 1.0, 10: 20.0, 100: 1000.0}))
    assert steep is not None and steep.fixed == 0.0 and steep.each > 0
    falling = line(points({1: 10.0, 10: 9.0, 100: 8.0}))
    assert falling is not None and falling.each == 0.0 and 8.0 <= falling.fixed <= 10.0
    assert line(points({4: 1.0})) is None and line([Point(1, 3, 1.0), Point(2, 3, 1.0)]) is None


def test_expected_exponents_have_some_slack() -> None:
    assert is_as_expected(3 + SLACK, 3.0) and not is_as_expected(3 + SLACK + 0.01, 3.0) and not is_as_expected(math.nan, 1.0)


# --- the curves -----------------------------------------------------------------------------------

RANGES = {
    "matmul": (16, 4096),
    "MLP": (1, 4096),
    "call of a step": (1, 200),
    "compile": (1, 200),
    "dict": (1, 2000),
    "scan of": (1, 10**6),
    "x.at": (1, 10**6),
}


@pytest.mark.parametrize("name", RANGES)
def test_the_ranges_are_there(name: str) -> None:
    found = [c for c in CURVES if name in c.name]
    assert [(c.sizes[0], c.sizes[-1]) for c in found] == [RANGES[name]]


def test_the_curves_are_well_formed() -> None:
    assert len({c.name for c in CURVES}) == len(CURVES) and len({c.name for c in CASES}) == len(CASES)
    for curve in CURVES:
        for sizes in (curve.sizes, curve.quick):
            assert list(sizes) == sorted(set(sizes)) and set(curve.cuts) <= set(sizes), curve.name
            assert curve.cuts[-1] < sizes[-1], f"{curve.name}: nothing past the last cut"
        assert (curve.work is None) != (curve.count is None), curve.name
        for n in {*curve.sizes, *curve.quick}:
            assert set(find(CASES, curve.case(n).name).make) == set(LIBRARIES)


def curve_of(name: str) -> Curve:
    (found,) = [c for c in CURVES if name in c.name]
    return found


def values(name: str, n: int) -> list[np.ndarray[Any, Any]]:
    return curve_of(name).make(n)(fdl_kit).values()


def test_the_scan_and_its_gradient_compute_what_they_say() -> None:
    xs = curves.random(7).astype(np.float64)
    c, seen = 0.0, []
    for x in xs:
        c = 0.5 * (c + x)
        seen.append(c)
    last, every = values("scan of", 7)
    assert np.allclose(last, c, atol=1e-6) and np.allclose(every, seen, atol=1e-6)
    expected = [sum(2 * seen[t] * 0.5 ** (t - k + 1) for t in range(k, 7)) for k in range(7)]
    assert np.allclose(values("gradient", 7)[0], expected, atol=1e-5)


def test_the_loop_sets_each_element() -> None:
    assert np.allclose(values("x.at", 9)[0], 0.5 * curves.random(9) + 1.0)


@pytest.mark.parametrize("n", [1, 4, 5])
def test_pytrees_have_as_many_leaves(n: int) -> None:
    given = curves.leaves(curves.tree(n))
    assert len(given) == n
    for a, b in zip(values("dict", n), given, strict=True):
        assert np.array_equal(a, b + 1)


def test_the_deep_step_descends() -> None:
    loss, *params = values("call of a step", 3)
    x = curves.random(curves.ROWS, curves.WIDTH, seed=999).astype(np.float64)
    for w, b in curves.layers(3):
        x = np.tanh(x @ w + b)
    assert float(loss) == pytest.approx((x**2).mean(), rel=1e-5) and len(params) == 6
    assert not np.array_equal(params[0], curves.layers(3)[0][0])


def test_equations_grow_with_the_layers() -> None:
    counts = [curves.equations(depth)(fdl_kit).samples(0.0)[0] for depth in (2, 3, 4, 8)]
    each = counts[1] - counts[0]
    assert each > 5 and counts[2] == counts[1] + each and counts[3] == counts[2] + 4 * each


def test_each_compilation_is_of_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDL_CACHE_DIR", "")
    bench = curve_of("compile").make(2)(fdl_kit)
    before = len(specialise._EXECUTABLES)
    assert all(s > 0 for _ in range(3) for s in bench.samples(0.0)) and len(specialise._EXECUTABLES) == before + 3


# --- a run ----------------------------------------------------------------------------------------


def test_long_calls_are_foretold() -> None:
    assert foretold([], 10) == 0.0 and foretold(points({10: 2.0}), 30) == 6.0
    assert foretold(points({1: 5.0, 10: 1.0, 100: 100.0}), 1000) == pytest.approx(10_000.0)
    assert [rounds_for(s, 5) for s in (0.0, 0.01, 0.3, 7.0)] == [5, 5, 3, 1]


class FakeCrew:
    """Rows by a formula: seconds[library](n)."""

    def __init__(self, **seconds: Any) -> None:
        self.seconds, self.asked = seconds, list[tuple[str, int, tuple[str, ...]]]()

    def measure(self, case: Case, seconds: float, rounds: int, among: Sequence[str]) -> Row:
        n = int(case.name.rsplit(" ", 1)[1])
        self.asked.append((case.name, rounds, tuple(among)))
        row = Row(case)
        for name in set(among) & set(self.seconds) & set(case.make):
            value = self.seconds[name](n)
            if isinstance(value, str):
                row.notes[name] = value
            else:
                row.timings[name] = Timing(value, 2 * value)
        return row


def nothing(n: int) -> Any:
    def build(kit: Any) -> Bench:
        raise Absent("never built")

    return build


LINEAR = Curve("a loop", "n", (1, 10, 100, 1000), (1, 10), nothing, "step", float, cuts=(10,))


def test_a_quadratic_peer_ends_and_fdl_goes_on() -> None:
    crew: Any = FakeCrew(fdl=lambda n: 1e-6 * n, jax=lambda n: 1e-4 * n**2)
    found = measure(LINEAR, crew, sizes=LINEAR.sizes, seconds=0.1, rounds=5)
    assert [p.n for p in found.points["fdl"]] == [1, 10, 100, 1000] and [p.n for p in found.points["jax"]] == [1, 10, 100]
    assert found.notes == ["JAX ends before 1000: a call would take about 100 s"] and not found.failed
    assert [(rounds, among) for _, rounds, among in crew.asked] == [
        (5, ("fdl", "jax")), (5, ("fdl", "jax")), (1, ("fdl", "jax")), (5, ("fdl",)),
    ]  # fmt: skip
    assert cliffs(found.points["jax"]) and not cliffs(found.points["fdl"])


def test_sweeps_go_over_a_machine_that_is_slow_for_a_while() -> None:
    slow = iter([1.0, 1.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0])
    crew: Any = FakeCrew(fdl=lambda n: 1e-6 * n * next(slow))
    found = measure(LINEAR, crew, sizes=LINEAR.sizes, seconds=0.1, rounds=2)
    assert cliffs(found.points["fdl"])
    for _ in range(2):
        again(found, crew, seconds=0.1, rounds=2)
    assert [p.seconds for p in found.points["fdl"]] == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3])
    assert found.timings["fdl", 100].median == pytest.approx(2e-4) and found.timings["fdl", 1].median == pytest.approx(2e-6)
    assert not cliffs(found.points["fdl"]) and len(crew.asked) == 12
    once = measure(LINEAR, FakeCrew(fdl=lambda n: 1e-6 * n), sizes=(1, 10), seconds=0.1, rounds=2)  # type: ignore[arg-type]
    assert len(once.points["fdl"]) == 2


def test_a_curve_ends_with_fdl() -> None:
    crew: Any = FakeCrew(fdl=lambda n: 1.0 * n, jax=lambda n: 1e-6 * n)
    found = measure(LINEAR, crew, sizes=LINEAR.sizes, seconds=0.1, rounds=5)
    assert found.sizes() == [1, 10] and found.notes == ["fdl ends before 100: a call would take about 100 s"]


def test_failures_are_told() -> None:
    crew: Any = FakeCrew(
        fdl=lambda n: 1.0e-6 * n, jax=lambda n: "failed: jax\nTraceback\nValueError: no" if n == 10 else 1e-6 * n
    )
    found = measure(LINEAR, crew, sizes=LINEAR.quick, seconds=0.1, rounds=1)
    assert found.failed and found.notes == ["JAX at 10: failed: jax ValueError: no"] and found.sizes() == [1, 10]


def test_work_is_counted_where_it_is_not_known() -> None:
    counted = Curve("compile", "layers", (1, 2, 3), (1, 2), nothing, "equation", None, nothing, cuts=(2,))
    # The case that counts is measured too; a fake row cannot tell it from a time.
    crew: Any = FakeCrew(fdl=lambda n: 10.0 + 0.1 * n)
    found = measure(counted, crew, sizes=(1, 2), seconds=0.1, rounds=1, longest=100.0)
    assert [p.units for p in found.points["fdl"]] == [10.1, 10.2] and [p.cost for p in found.points["fdl"]] == [1.0, 1.0]
    lost: Any = FakeCrew(jax=lambda n: 1.0)
    found = measure(counted, lost, sizes=(1,), seconds=0.1, rounds=1)
    assert found.failed and found.notes == ["fdl at 1: the work could not be counted"]


# --- the page -------------------------------------------------------------------------------------


def found_of(curve: Curve = LINEAR, **seconds: Any) -> Found:
    found = Found(curve)
    for n in curve.sizes:
        timings = {name: Timing(f(n), 2 * f(n)) for name, f in seconds.items()}
        found.add(n, (curve.work or float)(n), Row(curve.case(n), timings))
    return found


BOTH = {"fdl": lambda n: 1e-6 * (5 + n), "jax": lambda n: 4e-6 * n**2}


def test_rows_of_a_table() -> None:
    head, *body = page.rows(found_of(**BOTH))
    assert head == ["n", "fdl", "JAX", "fdl / JAX", "fdl, a step", "change", "JAX, a step", "change"]
    assert body[0] == ["1", "6.00 / 12.0", "4.00 / 8.00", "1.50 / 1.50", "6.00 µs", "–", "4.00 µs", "–"]
    assert body[1] == ["10", "15.0 / 30.0", "400 / 800", "0.04 / 0.04", "1.50 µs", "×0.25", "40.0 µs", "**×10.00**"]
    assert {len(r) for r in body} == {len(head)}


def test_what_is_said_under_a_table() -> None:
    ours, other = page.said(found_of(**BOTH))
    assert ours.startswith("- fdl: exponent 0.40 (1 to 10), ") and ours.endswith(
        "; 5.00 µs + 1.00 µs a step, at most 0 % off; no cliff."
    )
    assert "exponent 2.00 (1 to 10), 2.00 (10 to 1,000)" in other
    assert other.endswith("cliffs at 1 → 10 (×10.00), 10 → 100 (×10.00), 100 → 1,000 (×10.00).")


def test_the_summary_judges_each_library() -> None:
    found = found_of(**BOTH)
    assert page.summary_cells(found) == ["a loop", "1 to 1,000", "n", "0.91", "**2.00**", "none", "**3**"]
    assert page.summary([found, found_of(fdl=BOTH["jax"])]) == (
        "Of 2 curves of fdl 1 grow as they should at their largest sizes, and 1 have no cliff."
    )


def test_a_curve_without_a_peer_or_a_figure() -> None:
    alone = found_of(fdl=BOTH["fdl"])
    assert page.rows(alone)[0] == ["n", "fdl", "fdl, a step", "change"] and len(page.said(alone)) == 1
    assert page.summary_cells(alone)[4:] == ["–", "none", "–"]
    empty = Found(LINEAR, notes=["fdl at 1: failed"])
    assert page.summary_cells(empty) == ["a loop", "–", "n", "–", "–", "–", "–"]
    assert page.section(empty) == "## a loop\n\n- fdl at 1: failed."


def test_counted_work_has_a_column_and_its_article() -> None:
    counted = Curve("compile", "layers", (1, 2), (1, 2), nothing, "equation", None, nothing, cuts=(1,))
    head, first, _ = page.rows(found_of(counted, **BOTH))
    assert head[:5] == ["layers", "fdl", "JAX", "equations", "fdl / JAX"] and head[5] == "fdl, an equation"
    assert first[3] == "1" and "an equation, at most" in page.said(found_of(counted, **BOTH))[0]


def test_a_cube_has_no_straight_line() -> None:
    cube = Curve("m", "n", (1, 2, 4), (1, 2), nothing, "multiply-add", lambda n: float(n) ** 3, power=3.0, cuts=(2,))
    found = found_of(cube, fdl=lambda n: 1e-9 * n**3)
    assert page.power(found) == "n^3" and page.said(found) == ["- fdl: exponent 3.00 (1 to 2), 3.00 (2 to 4); no cliff."]


def test_page() -> None:
    text = page.page("A head.", [found_of(**BOTH)], "growth.svg")
    assert (
        text.startswith("# Growth\n")
        and "\n\nA head.\n\n**Of 1 curves" in text
        and "(growth.svg)" in text
        and "\n## a loop\n" in text
    )
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert [len(t.splitlines()) for t in tables] == [3, 6]
    for table in tables:
        assert len({row.count("|") for row in table.splitlines()}) == 1
    assert "growth.svg" not in page.page("A head.", [], None)


def test_picture(tmp_path: Path) -> None:
    found = [found_of(**BOTH), Found(LINEAR), found_of(fdl=BOTH["fdl"])]
    assert picture.ringed(found[0], "fdl") == [] and [n for n, _ in picture.ringed(found[0], "jax")] == [10, 100, 1000]
    command.write(tmp_path / "deep" / "page.md", "head", found)
    assert "(page.svg)" in (tmp_path / "deep" / "page.md").read_text(encoding="utf-8")
    drawn = (tmp_path / "deep" / "page.svg").read_text(encoding="utf-8")
    command.write(tmp_path / "page.md", "head", found)
    assert drawn.startswith("<?xml") and (tmp_path / "page.svg").read_text(encoding="utf-8") == drawn


# --- the command ----------------------------------------------------------------------------------


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.parse([]).out == command.PAGE and command.PAGE.parent.name == "docs"
    # Part of the curves never takes the place of the whole page, unless it is asked for.
    assert command.parse(["--curve", "scan"]).out == command.parse(["--largest", "8"]).out == Path("-")
    assert command.parse(["--curve", "scan", "--out", "x.md"]).out == Path("x.md")
    quick, whole = command.parse(["--quick"]), command.parse([])
    assert quick.rounds * quick.sweeps < whole.rounds * whole.sweeps
    with pytest.raises(SystemExit):
        command.parse(["--threads", "0"])
    assert "--threads 0: expected 1 to" in capsys.readouterr().err
    assert command.main(["--curve", "nonsense"]) == 2 and "expected a part of one of\nmatmul" in capsys.readouterr().err


def test_curves_and_sizes_are_chosen() -> None:
    assert command.chosen("") == list(CURVES) and [c.axis for c in command.chosen("MATMUL|x.at[")] == ["n", "n"]
    assert command.sizes(LINEAR, False, 100) == [1, 10, 100] and command.sizes(LINEAR, True, None) == [1, 10]


def test_a_run_measures_and_prints(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FDL_CACHE_DIR", str(tmp_path / "unused"))
    monkeypatch.setenv("FDL_LOG_COMPILES", "once")
    (tmp_path / "jax.py").write_text("raise ImportError('no wheel')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    status = command.main(["--quick", "--curve", "dict of pairs|compile", "--largest", "5", "--threads", "1"])
    out, err = capsys.readouterr()
    assert status == 0 and "JAX is skipped: ImportError: no wheel" in err
    assert os.environ["FDL_CACHE_DIR"] == "" and not (tmp_path / "unused").exists()
    assert "## call over a dict of pairs" in out and "| layers | fdl | equations | fdl, an equation | change |" in out
    body = [x for x in out.splitlines() if x.startswith("| 5 |")]
    assert len(body) == 1 and body[0].count("–") == 0


def test_a_line_is_data() -> None:
    assert line(points({1: 3.0, 2: 5.0})) == Line(pytest.approx(1.0), pytest.approx(2.0), pytest.approx(0.0, abs=1e-12))  # type: ignore[arg-type]
