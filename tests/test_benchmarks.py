"""The benchmark suite: its records, its arithmetic, its page, and its workers on tiny cases. Nothing is timed to be judged."""

from __future__ import annotations

import datetime
import doctest
import importlib
import io
import math
import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import driver, fresh, machine, picture, record, report, scaling, timing, worker
from benchmarks.cases import CASES
from benchmarks.driver import Crew, Row
from benchmarks.record import LIBRARIES, Absent, Bench, Case, Fresh, Work, find, matching
from benchmarks.timing import Timing, best, verdict

# --- records --------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["record", "timing", "report", "scaling"])
def test_docstring_examples(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"benchmarks.{module}")).failed == 0


def test_each_case_can_be_chosen_and_judged() -> None:
    assert len({c.name for c in CASES}) == len(CASES)
    for case in CASES:
        assert "fdl" in case.make and set(case.make) <= set(LIBRARIES), case.name
        assert set(case.peers) & set(case.make), f"{case.name}: no peer that counts has a builder"
        assert (case.ratio is None) != (case.at_most is None), case.name
        assert case.tolerance >= 0 and "|" not in case.name


# One pattern for each row of the list that the suite has to cover, and for the three loops.
ROWS = (
    "call of x + 1|20-leaf dict|MLP 2-16-1|MLP 784*32,|MLP 784*128,|MLP 784*512,|100 steps*scan|CNN*batch 32|train*CNN*batch 128|"
    "LeNet*batch 4,|LeNet*batch 128|VAE|LSTM|gelu|softmax|layernorm|sum(tanh|axis 0|x.T + x|16 M|matmul 64|matmul 128|matmul 256|"
    "matmul 512|matmul 1024|matmul 2048|normal|sort|cumsum|gather|scatter|eager CNN|20 scalar|empty cache|another batch|step, cached|"
    "import|resident memory|memory of a*CNN|60 scalar leaves*614|inside fori|without a loop|transposed"
).split("|")


@pytest.mark.parametrize("pattern", ROWS)
def test_the_rows_are_there(pattern: str) -> None:
    assert matching(CASES, pattern)


def test_fresh_cases_name_cases() -> None:
    for case in CASES:
        if case.fresh and case.fresh.program == "call":
            assert find(CASES, case.fresh.of) and (not case.fresh.after or find(CASES, case.fresh.after))
    with pytest.raises(KeyError, match="no case is named 'nothing'"):
        find(CASES, "nothing")


def test_patterns_are_text_and_stars() -> None:
    cases = [Case(n, 1.0, {}) for n in ("x + 1", "sum(x)", "matmul 64")]
    assert [c.name for c in matching(cases, "x + 1")] == ["x + 1"]
    assert [c.name for c in matching(cases, "SUM(|m*64")] == ["sum(x)", "matmul 64"]
    assert len(matching(cases, "")) == 3 and not matching(cases, "x*y")


def test_work_adds_up() -> None:
    assert record.matmul_work(2, 3, 4).flops == 48
    # Of the first layer only the weights' gradient is needed, unless something lies before it.
    assert record.dense_work(8, (3, 5, 2)).flops == 2 * 8 * (2 * 15 + 3 * 10)
    assert record.dense_work(8, (3, 5, 2), first_gradient=True).flops == 2 * 8 * (3 * 15 + 3 * 10)
    assert record.update_work(10, 2) == Work(0, 120, 120)
    assert Work(1, 2, 3) * 2 + Work(1, 0, 1) == Work(3, 4, 7)
    assert not Work() and Work(read=1)
    assert Work(flops=3e9, read=5).rate(0.5) == "6 GFLOP/s" and Work(read=10**9, written=10**9).rate(0.5) == "4 GB/s"


def test_difference() -> None:
    a = np.array([1.0, -4.0])
    assert record.difference([a], [a]) == 0
    assert record.difference([a, a + 1], [a, a]) == 0.25
    assert record.difference([np.zeros(2)], [np.zeros(2)]) == 0 and record.difference([a], [np.zeros(2)]) == 4
    assert record.difference([a], [a[:1]]) == math.inf and record.difference([a * np.nan], [a]) == math.inf
    assert record.difference([np.zeros((0, 3))], [np.zeros((0, 3))]) == 0


def test_inputs_are_the_same_in_every_process() -> None:
    assert np.array_equal(record.random(3, seed=1), record.random(3, seed=1)) and record.random(2).dtype == np.float32
    assert record.labels(50).max() < 10 and record.labels(50).dtype == np.int32


# --- arithmetic -----------------------------------------------------------------------------------

TIMES = {"fdl": Timing(2.0, 3.0), "jax": Timing(4.0, 8.0), "torch": Timing(3.0, 9.0), "limit": Timing(1.0, 1.0)}


def test_ratios_are_of_minima_and_of_medians() -> None:
    v = verdict(TIMES, ("jax", "torch", "numpy"), 0.5)
    assert best(TIMES, ("jax", "torch")) == Timing(3.0, 8.0)
    assert v.ratio == Timing(2 / 3, 3 / 8) and v.target == Timing(1.5, 4.0)
    assert v.word == "median met, minimum **missed**"


@pytest.mark.parametrize(
    "aim, limit, at_most, target, word",
    [
        (0.75, None, None, Timing(2.25, 6.0), "met"),
        (0.1, Timing(2.0, 3.0), None, Timing(2.24, 3.36), "met"),  # the limit is what can be asked for
        (0.1, Timing(1.0, 1.0), None, Timing(1.12, 1.12), "**missed**"),
        (0.1, Timing(2.0, 1.0), None, Timing(2.24, 1.12), "minimum met, median **missed**"),
        (None, None, 3.0, Timing(3.0, 3.0), "met"),
        (None, None, None, None, "–"),
    ],
)
def test_targets(aim: float | None, limit: Timing | None, at_most: float | None, target: Timing | None, word: str) -> None:
    v = verdict(TIMES, ("jax", "torch"), aim, limit, at_most)
    if target is not None:
        assert v.target is not None
        assert (v.target.minimum, v.target.median) == pytest.approx((target.minimum, target.median))
    assert v.word == word


def test_only_the_peers_that_count_count() -> None:
    assert verdict(TIMES, ("jax",), 0.5).ratio == Timing(0.5, 3 / 8)
    alone = verdict(TIMES, ("numpy",), 0.5)
    assert alone.ratio is None and alone.target is None and alone.word == "–"


def test_samples_call_often_enough() -> None:
    calls = []
    found = timing.samples(lambda: calls.append(1), 1e-3)
    assert found and all(s > 0 for s in found) and len(calls) >= len(found) * timing.SLICE / 1e-3
    assert len(timing.samples(lambda: sum(range(1000)), 0.0)) == 1


def test_quickest() -> None:
    slow, fast = Bench(lambda: sum(range(300_000))), Bench(lambda: 1)
    assert timing.quickest({"slow": slow, "fast": fast}) == "fast"


# --- the page -------------------------------------------------------------------------------------


def row(name: str = "a", **changes: Any) -> Row:
    case = Case(name, 0.5, {}, peers=("jax",), work=Work(flops=4e9), tolerance=1e-5)
    return Row(case, **({"timings": dict(TIMES), "error": 2e-7} | changes))


def test_cells() -> None:
    found = dict(zip(report.COLUMNS, report.cells(row()), strict=True))
    assert found["fdl"] == "2,000,000 / 3,000,000" and found["NumPy"] == "–"
    assert found["ratio"] == "0.50 / 0.38" and found["aim"] == "0.5 of JAX"
    assert found["target"] == "2,000,000 / 4,000,000" and found[""] == "met"
    assert found["rate"] == "1 GFLOP/s (33 %)" and found["difference"] == "2e-07 ≤ 1e-05"


def test_cells_in_megabytes_and_of_an_absolute_aim() -> None:
    case = Case("memory", None, {}, peers=("jax",), unit="MB", at_most=100.0)
    found = dict(zip(report.COLUMNS, report.cells(Row(case, {"fdl": Timing(90, 101), "jax": Timing(200, 202)})), strict=True))
    assert found["fdl"] == "90.0 / 101 MB" and found["ratio"] == "0.45 / 0.50" and found["target"] == "100"
    assert found["aim"] == found["limit"] == found["rate"] == found["difference"] == "–"
    assert found[""] == "minimum met, median **missed**"


def test_a_row_without_figures_has_dashes_and_a_note() -> None:
    broken = row(timings={}, notes={"fdl": "failed: status 1\nmore", "numpy": "not in the library"})
    assert report.cells(broken) == ["a", *["–"] * (len(report.COLUMNS) - 1)]
    assert report.notes(broken) == ["a: fdl failed: status 1"] and broken.failed and not row().failed


def test_disturbance_is_told() -> None:
    assert report.notes(row(disturbed={"torch": 0.5, "jax": 0.01})) == [
        "a: PyTorch used 50 % of a core while it was not its turn"
    ]


def test_page() -> None:
    head = report.heading(
        "A CPU, 2 cores", {"fdl": "1", "JAX": "2"}, {"GFLOP/s": 1234.5, "GB/s": 50.2}, "make bench", datetime.date(2024, 5, 6)
    )
    text = report.page(head, [row("a"), row("b", timings=TIMES | {"fdl": Timing(9.0, 9.0)})], "benchmarks.svg")
    assert (
        "2024-05-06, A CPU, 2 cores.\nfdl 1, JAX 2.\n" in text and "1,234 GFLOP/s, 50 GB/s" in text and "`make bench`" in text
    )
    assert "1 of 2 rows meet their targets; in 1 fdl's median is above the best peer's." in text
    assert "(benchmarks.svg)" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4 and len({line.count("|") for line in table}) == 1


def test_picture(tmp_path: Path) -> None:
    rows = [row("a"), row("b", timings=TIMES | {"fdl": Timing(9.0, 9.0)}), row("no peer", timings={"fdl": Timing(1.0, 1.0)})]
    assert [(name, ratio) for name, ratio, _ in picture.bars(rows)] == [("a", 3 / 8), ("b", 9 / 8)]
    command.write(tmp_path / "deep" / "page.md", "head", rows)
    assert "page.svg" in (tmp_path / "deep" / "page.md").read_text()
    drawn = (tmp_path / "deep" / "page.svg").read_text()
    assert drawn.startswith("<?xml")
    command.write(tmp_path / "page.md", "head", rows)
    assert (tmp_path / "page.svg").read_text() == drawn, "the same picture has another text"


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.parse(["--quick"]).torch_compile is False and command.parse(["--quick", "--rounds", "5"]).rounds == 5
    assert command.parse(["--torch-compile"]).torch_compile is True
    with pytest.raises(SystemExit):
        command.parse(["--threads", "0"])
    assert "--threads 0: expected 1 to" in capsys.readouterr().err


# --- the machine ----------------------------------------------------------------------------------


def test_every_library_gets_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    env = machine.environment(3)
    assert env["OMP_NUM_THREADS"] == env["FDL_NUM_THREADS"] == env["MKL_NUM_THREADS"] == env["NPROC"] == "3"
    assert "PYTHONDONTWRITEBYTECODE" not in env and os.environ["OMP_NUM_THREADS"] == "64"
    assert "multi_thread_eigen=false" in machine.environment(1)["XLA_FLAGS"]


def test_cpu_time_of_a_process() -> None:
    before = machine.cpu_seconds(os.getpid())
    if before is None:  # no such clock on this system: settling then waits for a fixed time
        return
    sum(range(300_000))
    after = machine.cpu_seconds(os.getpid())
    assert after is not None and after > before and machine.cpu_seconds(2**22 + 1) is None


def test_resident_memory() -> None:
    assert 5 < machine.resident_megabytes() < 50_000


# --- workers --------------------------------------------------------------------------------------


def talk(*requests: Any, library: str = "numpy") -> Iterator[tuple[str, Any]]:
    """A worker's replies, in this process; the first is its versions."""
    asked, replies = io.BytesIO(b"".join(pickle.dumps(r) for r in requests)), io.BytesIO()
    worker.serve(library, 1, asked, replies)
    replies.seek(0)
    while replies.tell() < len(replies.getbuffer()):
        yield pickle.load(replies)


def test_protocol() -> None:
    case = "benchmarks.cases", "matmul 64"
    replies = list(
        talk(
            ("build", *case),
            ("values",),
            ("samples", 1e-3),
            ("build", case[0], "nothing"),
            ("nonsense",),
            ("quit",),
            ("values",),
        )
    )
    assert [kind for kind, _ in replies] == ["done", "done", "done", "done", "failed", "failed"]
    assert replies[0][1] == {"NumPy": np.__version__}
    assert replies[2][1][0].shape == (64, 64) and all(s > 0 for s in replies[3][1])
    assert "no case is named" in replies[4][1] and "nothing is built" in replies[5][1]


def test_what_a_library_lacks_is_absent() -> None:
    assert [kind for kind, _ in talk(("build", "benchmarks.cases", "VAE"), ("quit",))] == ["done", "failed"]
    name = matching(CASES, "VAE")[0].name
    assert list(talk(("build", "benchmarks.cases", name)))[1] == ("absent", "not in the library")


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew(1, libraries=("fdl", "numpy")) as workers:
        yield workers


def test_workers_measure_and_agree(crew: Crew) -> None:
    assert {"llvmlite", "NumPy"} <= set(crew.versions)
    found = crew.measure(find(CASES, "matmul 64"), 2e-3, 2)
    assert set(found.timings) == {"fdl", "numpy", "limit"} and not found.failed, found.notes
    assert all(0 < t.minimum <= t.median < 1 for t in found.timings.values())
    assert found.error is not None and 0 <= found.error <= 1e-5
    assert crew.measure(find(CASES, "call over a 20-leaf dict of dicts"), 2e-3, 1).notes == {"numpy": "not in the library"}


def test_limits(crew: Crew) -> None:
    rates = crew.rates()
    assert rates["GFLOP/s"] > 1 and rates["GB/s"] > 0.1
    only_read = crew.measure(find(CASES, "sum over axis 0, 1024²"), 2e-3, 1)
    assert 0 < only_read.timings["limit"].minimum < 1


def test_a_worker_that_died_is_started_again(crew: Crew) -> None:
    before = crew._workers["numpy"].pid
    os.kill(before, signal.SIGTERM)
    crew._workers["numpy"]._process.wait()
    with pytest.raises(driver.FailedError, match="numpy's process ended with status"):
        crew._workers["numpy"].ask("values")
    found = crew.measure(find(CASES, "matmul 64"), 1e-3, 1)
    assert not found.failed and crew._workers["numpy"].pid != before


WRONG = """
import numpy
from benchmarks.record import Bench, Case, everywhere
def dies(kit): raise SystemExit(3)
def raises(kit): raise ValueError("on purpose")
CASES = [
    Case("wrong", 1.0, {"fdl": lambda kit: Bench(lambda: numpy.ones(3)), "numpy": lambda kit: Bench(lambda: numpy.ones(3) * 1.1)}),
    Case("raises", 1.0, {"fdl": raises, "numpy": lambda kit: Bench(lambda: 1.0)}),
    Case("later", 1.0, {"fdl": lambda kit: Bench(lambda: 1.0), "numpy": lambda kit: Bench(lambda: 1.0, sampler=lambda s: 1 / 0)}),
    Case("dies", 1.0, {"fdl": lambda kit: Bench(lambda: 1.0), "numpy": dies}),
]
"""


def test_failures_are_told_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong_cases.py").write_text(WRONG)
    (tmp_path / "jax.py").write_text("raise ImportError('no wheel')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    said: list[str] = []
    cases = importlib.import_module("wrong_cases").CASES
    with Crew(1, "wrong_cases", libraries=("fdl", "jax", "numpy"), report=said.append) as crew:
        assert said == ["JAX is skipped: ImportError: no wheel"]
        wrong = crew.measure(find(cases, "wrong"), 1e-3, 1)
        assert "NumPy's values and fdl's differ by 1.0e-01 of the largest; at most 1e-05 is tolerated" in wrong.notes["numpy"]
        assert set(wrong.timings) == {"fdl"} and wrong.failed
        raises = crew.measure(find(cases, "raises"), 1e-3, 1)
        assert "ValueError: on purpose" in raises.notes["fdl"] and not raises.timings
        later = crew.measure(find(cases, "later"), 1e-3, 2)
        assert "ZeroDivisionError" in later.notes["numpy"] and set(later.timings) == {"fdl"}
        dies = crew.measure(find(cases, "dies"), 1e-3, 1)
        assert "numpy's process ended with status 3" in dies.notes["numpy"] and set(dies.timings) == {"fdl"}


# --- fresh processes ------------------------------------------------------------------------------


def test_fresh_processes_measure() -> None:
    case = Case("import", 1.0, {"numpy": find(CASES, "import").make["numpy"]}, fresh=Fresh("import"))
    programs = [driver.FreshProcesses(name, 1, "benchmarks.cases") for name in ("fdl", "numpy")]
    found = driver.measure(case, programs[1:], 0.0, 1)
    assert not found.timings, "without fdl there is no row"
    memory = driver.measure(find(CASES, "resident memory after import and a first matmul"), programs, 0.0, 1)
    for one in programs:
        one.close()
    assert 10 < memory.timings["numpy"].minimum < memory.timings["fdl"].minimum < 1000 and not memory.notes


def test_a_first_call_has_a_cache_of_its_own(tmp_path: Path) -> None:
    tiny = find(CASES, "call of x + 1, 4 floats").name
    for after in ("", tiny):
        run = fresh.Run(Fresh("call", tiny, after), "numpy", "benchmarks.cases", 1, False)
        assert run.sample() > 0 and run.sample() > 0
        run.close()
    assert "JAX_COMPILATION_CACHE_DIR" not in fresh.caches(tmp_path, False)
    assert set(map(os.path.dirname, fresh.caches(tmp_path, False).values())) == {str(tmp_path)}
    with pytest.raises(Absent, match="nothing is compiled"):
        fresh.Run(Fresh("call", tiny), "torch", "benchmarks.cases", 1, False)
    with pytest.raises(driver.FailedError, match="no case is named 'nothing'"):
        fresh.Run(Fresh("call", tiny, "nothing"), "numpy", "benchmarks.cases", 1, False)


# --- scaling --------------------------------------------------------------------------------------


def test_a_table_of_gains() -> None:
    one, two = Timing(4e-6, 6e-6), Timing(2e-6, 4e-6)
    text = scaling.table([scaling.Scaled("f", {1: one, 2: two}, {1: one}), scaling.Scaled("g", {1: one}, {})], [1, 2])
    assert text.splitlines()[2:] == [
        "| f | 4.00 / 6.00 | 2.00 / 4.00 | 2.00 / 1.50 | – |",
        "| g | 4.00 / 6.00 | – | – | – |",
    ]


def test_each_number_of_threads_is_measured_in_turn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 2)
    assert scaling.main(["--quick", "--case", "matmul 64"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| matmul 64")]
    assert row.count(" / ") >= 3 and len(row.split("|")) == 7
    assert scaling.main(["--case", "memory of"]) == 2
