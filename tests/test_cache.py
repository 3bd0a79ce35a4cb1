"""The store of compiled objects: what is kept, what is refused, and what several processes may do to it at once."""

from __future__ import annotations

import inspect
import logging
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.backends import cache
from fdl.backends.cache import Entry, Store, digest
from fdl.backends.executable import NativeExecutable
from fdl.backends.llvm import codegen, shared

ENTRY = Entry({"symbol": "f", "bytes": 64, "sites": [["m", "a.py:1", 3]]}, bytes(range(256)) * 4)
KEY = digest("key")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "objects")


class TestStore:
    def test_what_is_put_is_got(self, store: Store) -> None:
        assert store.get(KEY) is None
        store.put(KEY, ENTRY)
        assert store.get(KEY) == ENTRY
        assert Store(store.folder).get(KEY) == ENTRY
        assert [p.name for p in store.folder.iterdir()] == [store.path(KEY).name]

    def test_an_entry_is_replaced(self, store: Store) -> None:
        store.put(KEY, ENTRY)
        store.put(KEY, Entry({}, b"new"))
        assert store.get(KEY) == Entry({}, b"new")

    def test_clear(self, store: Store) -> None:
        store.put(KEY, ENTRY)
        store.clear()
        assert store.get(KEY) is None

    @pytest.mark.parametrize("where", [0, 9, 45, 60, 200, -1])
    def test_a_flipped_bit_is_found(self, store: Store, where: int, caplog: pytest.LogCaptureFixture) -> None:
        store.put(KEY, ENTRY)
        raw = bytearray(store.path(KEY).read_bytes())
        raw[where] ^= 1
        store.path(KEY).write_bytes(raw)
        with caplog.at_level(logging.WARNING, "fdl.cache"):
            assert store.get(KEY) is None
        assert "damaged" in caplog.text and not store.path(KEY).exists()
        store.put(KEY, ENTRY)
        assert store.get(KEY) == ENTRY

    @pytest.mark.parametrize("length", [0, 1, 55, 56, 57, 500])
    def test_a_file_cut_short_is_found(self, store: Store, length: int) -> None:
        store.put(KEY, ENTRY)
        store.path(KEY).write_bytes(store.path(KEY).read_bytes()[:length])
        assert store.get(KEY) is None

    def test_a_file_that_is_too_long_is_found(self, store: Store) -> None:
        store.put(KEY, ENTRY)
        store.path(KEY).write_bytes(store.path(KEY).read_bytes() + b"x")
        assert store.get(KEY) is None

    def test_the_least_recently_used_go_first(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "objects", limit=20_000)
        keys = [digest(str(i)) for i in range(10)]
        for age, key in enumerate(keys[:3]):
            store.put(key, Entry({}, bytes(5_000)))
            os.utime(store.path(key), (1_000_000 + age, 1_000_000 + age))
        assert store.get(keys[0]) is not None  # used: now the youngest
        store.put(keys[3], Entry({}, bytes(5_000)))
        assert store.get(keys[1]) is None
        assert store.get(keys[0]) is not None and store.get(keys[3]) is not None

    def test_the_size_stays_bounded(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "objects", limit=30_000)
        for i in range(40):
            store.put(digest(str(i)), Entry({}, bytes(2_000)))
        assert sum(p.stat().st_size for p in store.folder.iterdir()) <= 30_000

    def test_what_is_larger_than_the_store_is_not_kept(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "objects", limit=1_000)
        store.put(KEY, Entry({}, bytes(2_000)))
        assert store.get(KEY) is None


class TestFolder:
    def test_it_is_private(self, store: Store) -> None:
        store.put(KEY, ENTRY)
        if os.name == "posix":
            assert store.folder.stat().st_mode & 0o777 == 0o700
            assert store.path(KEY).stat().st_mode & 0o777 == 0o600

    @pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
    def test_one_that_others_may_write_to_is_not_used(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        store.put(KEY, ENTRY)
        store.folder.chmod(0o777)
        again = Store(store.folder)
        with caplog.at_level(logging.WARNING, "fdl.cache"):
            assert again.get(KEY) is None
            again.put(digest("other"), ENTRY)
        assert "private" in caplog.text and caplog.text.count("others may write") == 1
        assert len(list(store.folder.iterdir())) == 1

    def test_a_file_in_its_place_is_no_error(self, tmp_path: Path) -> None:
        (tmp_path / "objects").write_text("not a folder")
        store = Store(tmp_path / "objects")
        store.put(KEY, ENTRY)
        assert store.get(KEY) is None

    def test_the_environment_names_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FDL_CACHE_DIR", str(tmp_path))
        monkeypatch.setenv("FDL_CACHE_BYTES", "12345")
        found = cache.store()
        assert found is not None and (found.folder, found.limit) == (tmp_path, 12345)
        monkeypatch.setenv("FDL_CACHE_DIR", "")
        assert cache.store() is None

    def test_the_platform_names_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("FDL_CACHE_DIR", raising=False)
        monkeypatch.setattr("sys.platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache.default_folder() == tmp_path / "fdl" / "objects"
        monkeypatch.setattr("sys.platform", "win32")
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
        assert cache.default_folder() == tmp_path / "local" / "fdl" / "objects"


class TestPrograms:
    """Compiled programs through the store."""

    @pytest.fixture
    def made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """A store of its own, and the number of each object that is compiled."""
        monkeypatch.setenv("FDL_CACHE_DIR", "")
        fdl.jit(fnp.linalg.cholesky)(np.eye(2))  # what a process compiles once is there now
        monkeypatch.setenv("FDL_CACHE_DIR", str(tmp_path / "objects"))
        made: list[int] = []
        compile_object = codegen._object

        def counted(*args: Any, **kwargs: Any) -> bytes:
            made.append(len(made))
            return compile_object(*args, **kwargs)

        monkeypatch.setattr(codegen, "_object", counted)
        return made

    def run(self, f: Callable[..., Any], *args: Any, donated: tuple[int, ...] = ()) -> Any:
        """One output of `f` by an executable of its own."""
        program = fdl.make_ir(f)(*args)
        executable = NativeExecutable(program, donated=donated)
        return executable([np.array(a) for a in args])[0]

    def test_the_second_time_nothing_is_compiled(self, made: list[int]) -> None:
        x = np.arange(6.0).reshape(2, 3)
        f = lambda x: fnp.sum(fnp.tanh(x) @ x.T)  # noqa: E731
        first = self.run(f, x)
        assert len(made) == 1
        assert float(self.run(f, x)) == float(first) and len(made) == 1

    def test_other_programs_are(self, made: list[int]) -> None:
        x = np.ones(4)
        programs = [lambda x: x + 1.0, lambda x: x + 2.0, lambda x: x - 1.0, lambda x: x.astype(np.float32) + 1.0]
        results = [self.run(f, x) for f in programs]
        assert len(made) == len(programs)
        assert [float(r[0]) for r in results] == [2.0, 3.0, 0.0, 2.0]
        self.run(programs[0], np.ones(5))
        assert len(made) == len(programs) + 1

    def test_errors_name_their_lines(self, made: list[int]) -> None:
        x, i = np.arange(4.0), np.array(9)
        here = inspect.currentframe()
        assert here is not None
        start = here.f_lineno
        one = lambda x, i: x[i]  # noqa: E731
        two = lambda x, i: x[i]  # noqa: E731
        for f, line in ((one, start + 1), (two, start + 2)) * 2:
            with pytest.raises(fdl.tracer.errors.IndexOutOfBoundsError, match=f"(?s)index 9 .*test_cache.py:{line} "):
                self.run(f, x, i)
        assert len(made) == 2

    def test_functions_that_are_called_back_are_this_process_own(self, made: list[int]) -> None:
        for factor in (2.0, 3.0):
            f = lambda x, k=factor: fdl.pure_callback(lambda v: v * k, x, x) + 1.0  # noqa: E731
            np.testing.assert_array_equal(self.run(f, np.ones(3)), np.full(3, factor + 1.0))
        assert len(made) == 1

    def test_donated_inputs(self, made: list[int]) -> None:
        x = np.arange(5.0)
        for _ in range(2):
            np.testing.assert_array_equal(self.run(lambda x: x * 2.0, x, donated=(0,)), x * 2)
        np.testing.assert_array_equal(self.run(lambda x: x * 2.0, x), x * 2)
        assert len(made) == 2

    def test_linear_algebra(self, made: list[int]) -> None:
        a = np.array([[4.0, 1.0], [1.0, 3.0]])
        for _ in range(2):
            np.testing.assert_allclose(self.run(fnp.linalg.cholesky, a), np.linalg.cholesky(a))
        assert len(made) == 1

    def test_a_damaged_entry_is_made_anew(self, made: list[int], tmp_path: Path) -> None:
        f, x = (lambda x: x * 3.0), np.ones(3)
        self.run(f, x)
        for path in (tmp_path / "objects").glob("*.fdlobj"):
            path.write_bytes(path.read_bytes()[:-5])
        np.testing.assert_array_equal(self.run(f, x), x * 3)
        assert len(made) == 2

    def test_an_entry_of_another_shape_is_made_anew(self, made: list[int], tmp_path: Path) -> None:
        f, x = (lambda x: x * 5.0), np.ones(3)
        self.run(f, x)
        (path,) = (tmp_path / "objects").glob("*.fdlobj")
        found = Store(path.parent).get(path.stem)
        assert found is not None
        Store(path.parent).put(path.stem, Entry({"symbol": "f"}, found.code))
        np.testing.assert_array_equal(self.run(f, x), x * 5)
        assert len(made) == 2

    def test_the_loop_ir_and_the_plan_can_still_be_seen(self, made: list[int]) -> None:
        f, x = (lambda x: fnp.tanh(x @ x) @ x), np.ones((64, 64))
        program = fdl.make_ir(f)(x)
        one = NativeExecutable(program)
        before = len(made)
        two = NativeExecutable(program)
        assert len(made) == before
        assert two.routine == one.routine and str(two.plan) == str(one.plan)

    def test_programs_share_their_micro_kernels(self, made: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared, "_HELD", {})
        f, x = (lambda x: x @ x), np.ones((96, 96), np.float32)
        self.run(f, x)
        first = len(made)
        assert first > 1
        np.testing.assert_array_equal(self.run(lambda x: x @ x + 1, x), x @ x + 1)
        assert len(made) == first + 1

    def test_a_lost_micro_kernel_is_compiled_anew(self, made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        f, x = (lambda x: x @ x), np.ones((96, 96), np.float32)
        self.run(f, x)
        compiled = len(made)
        monkeypatch.setattr(shared, "_HELD", {})
        self.run(f, x)
        assert len(made) == compiled  # all of it from the disk
        monkeypatch.setattr(shared, "_HELD", {})
        store = Store(tmp_path / "objects")
        for path in (tmp_path / "objects").glob("*.fdlobj"):
            entry = store.get(path.stem)
            if entry is not None and not entry.record:
                path.unlink()
        np.testing.assert_array_equal(self.run(f, x), x @ x)
        assert len(made) > compiled


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    program = """
import sys
import numpy as np
import fdl, fdl.numpy as fnp
from fdl.backends.llvm import codegen
made = []
compile_object = codegen._object
codegen._object = lambda *a, **k: made.append(1) or compile_object(*a, **k)

@fdl.jit
def step(w, x):
    return w - 0.1 * fdl.grad(lambda w: fnp.sum(fnp.tanh(x @ w)))(w)

w = step(fnp.ones((3, 2)), np.ones((4, 3), np.float32))
print(len(made), float(w[0, 0]))
"""
    environment = os.environ | {"FDL_CACHE_DIR": str(tmp_path / "objects")}
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert int(runs[0][0]) >= 2 and int(runs[1][0]) == 0
    assert runs[0][1] == runs[1][1]


def _busy(folder: str, seed: int) -> int:
    """Puts and gets among keys that all processes share; returns how many wrong answers there were."""
    store, wrong = Store(folder, limit=60_000), 0
    for i in range(120):
        key = digest(str((i * (seed + 3)) % 25))
        code = key.encode() * 60
        found = store.get(key)
        wrong += found is not None and found.code != code
        store.put(key, Entry({"key": key}, code))
    return wrong


def test_processes_share_a_store(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.starmap(_busy, [(str(tmp_path / "objects"), seed) for seed in range(3)]) == [0, 0, 0]
    assert not list((tmp_path / "objects").glob(".*.tmp"))


@given(st.lists(st.text() | st.binary(), max_size=4), st.lists(st.text() | st.binary(), max_size=4))
def test_digests_tell_lists_apart(a: list[str | bytes], b: list[str | bytes]) -> None:
    raw = [[p.encode("utf-8", "surrogatepass") if isinstance(p, str) else p for p in x] for x in (a, b)]
    assert (digest(*raw[0]) == digest(*raw[1])) == (raw[0] == raw[1])


def test_the_fingerprint_tells_versions_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def afresh() -> str:
        cache.generator.cache_clear()
        cache.fingerprint.cache_clear()
        return cache.fingerprint()

    before = afresh()
    assert afresh() == before
    with monkeypatch.context() as m:
        m.setattr("llvmlite.__version__", "0.0.0")
        assert afresh() != before
    assert afresh() == before
