"""Data: the IDX reader, downloads from a server on this machine, MNIST's sources, batches and splits."""

from __future__ import annotations

import contextlib
import doctest
import gzip
import hashlib
import http.server
import shutil
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdl
from fdl import random
from fdl.data import DataError, Dataset, Loader, download, mnist, parse_idx, read_idx, split
from fdl.data import idx as idx_module
from fdl.tracer import dtypes, tree

# The package re-exports the function `mnist`, which hides the module of that name.
mnist_module = sys.modules["fdl.data.mnist"]


def to_idx(array: np.ndarray[Any, Any]) -> bytes:
    codes = {np.dtype(name).newbyteorder("="): code for code, name in idx_module.TYPES.items()}
    header = struct.pack(">HBB", 0, codes[array.dtype], array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


class TestIdx:
    @given(
        st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]),
        st.lists(st.integers(0, 5), min_size=0, max_size=4),
        st.integers(0, 2**32 - 1),
    )
    def test_round_trip(self, code: str, shape: list[int], seed: int) -> None:
        array = np.asarray(np.random.default_rng(seed).normal(size=shape) * 50).astype(code)
        parsed = parse_idx(to_idx(array))
        assert parsed.dtype == array.dtype and parsed.dtype.isnative and not parsed.flags.writeable
        np.testing.assert_array_equal(parsed, array)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "some.idx: 0 bytes are too few"),
            (b"\x00\x00\x08", "3 bytes are too few"),
            (b"\x00\x01\x08\x01" + bytes(8), "not an IDX file: it starts with 00 01 08 01"),
            (b"\x00\x00\x0a\x01" + bytes(8), "not an IDX file"),
            (b"<html>", "not an IDX file"),
            (b"\x00\x00\x08\x03\x00\x00\x00\x01", "truncated: its 3 sizes need a header of 16 bytes, but the file has 8"),
            (to_idx(np.zeros((2, 3), np.uint8))[:-1], r"truncated: \(2, 3\) of uint8 takes 18 bytes, but the file has 17"),
            (to_idx(np.zeros((2, 3), np.int16)) + b"x", r"too long: \(2, 3\) of int16 takes 24 bytes"),
            (b"\x00\x00\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", "truncated"),
        ],
    )
    def test_faults_name_the_file(self, content: bytes, message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            parse_idx(content, "some.idx")
        assert str(caught.value).startswith("some.idx: ")

    def test_packed_or_not_whatever_the_name(self, tmp_path: Path) -> None:
        array = np.arange(6, dtype=np.uint8).reshape(2, 3)
        (tmp_path / "a").write_bytes(gzip.compress(to_idx(array)))
        (tmp_path / "b.gz").write_bytes(to_idx(array))
        for name in ("a", "b.gz"):
            np.testing.assert_array_equal(read_idx(tmp_path / name), array)

    def test_damaged_gzip(self, tmp_path: Path) -> None:
        packed = bytearray(gzip.compress(to_idx(np.arange(100, dtype=np.uint8))))
        for damage in (packed[:-5], packed[:30], packed[:40] + b"\xff\xff" + packed[42:]):
            path = tmp_path / "x.gz"
            path.write_bytes(damage)
            with pytest.raises(DataError, match=r"x\.gz: damaged gzip file"):
                read_idx(path)


class Server:
    """A web server on this machine that serves a folder, and can misbehave."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                kind, _, name = self.path.strip("/").partition("/")
                path = folder / name
                if kind == "good" and path.is_file():
                    self.answer(path.read_bytes())
                elif kind == "corrupted":
                    damaged = bytearray(path.read_bytes())
                    damaged[len(damaged) // 2] ^= 0xFF
                    self.answer(bytes(damaged))
                elif kind == "other":
                    self.answer(gzip.compress(b"something else"))
                elif kind == "same_size":
                    self.answer(gzip.compress(bytes(len(gzip.decompress(path.read_bytes())))))
                elif kind == "html":
                    self.answer(b"<html>please log in</html>")
                elif kind == "truncated":
                    body = path.read_bytes()
                    self.answer(body[: len(body) // 2], length=len(body))
                elif kind == "endless":
                    with contextlib.suppress(OSError):
                        self.send_response(200)
                        self.end_headers()
                        while True:
                            self.wfile.write(bytes(1 << 16))
                elif kind == "silent":
                    server.release.wait(10)
                else:
                    self.send_error(404)

            def answer(self, body: bytes, length: int | None = None) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self.release = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def mirror(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{kind}/"

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


CONTENT = to_idx(np.arange(4000, dtype=np.int16).reshape(40, 100))
REMOTE = download.Remote("small-idx2.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / REMOTE.name).write_bytes(gzip.compress(CONTENT))
    running = Server(folder)
    yield running
    running.close()


def unreachable() -> str:
    """A mirror on a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


class TestDownload:
    def test_good(self, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = tmp_path / "new" / "cache"
        path = download.fetch(REMOTE, [server.mirror("good")], folder)
        assert path == folder / REMOTE.name and idx_module.unpacked(path) == CONTENT
        assert [p.name for p in folder.iterdir()] == [REMOTE.name], "no temporary file may stay"
        assert REMOTE.name in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("missing", "404"),
            ("corrupted", "damaged gzip file"),
            ("truncated", "truncated"),
            ("other", f"14 bytes unpacked, expected {len(CONTENT)}"),
            ("same_size", "SHA-256"),
            ("html", "damaged gzip file"),
            ("endless", "longer than the whole file"),
            ("silent", "no answer in time|no connection"),
        ],
    )
    def test_bad_mirrors_are_skipped_and_named(self, server: Server, tmp_path: Path, kind: str, message: str) -> None:
        bad = server.mirror(kind)
        with pytest.raises(DataError, match=message) as caught:
            download.fetch(REMOTE, [bad], tmp_path / "cache", timeout=0.5)
        assert f"{bad}{REMOTE.name}: " in str(caught.value)
        assert list((tmp_path / "cache").iterdir()) == [], "a failed download may leave nothing"
        path = download.fetch(REMOTE, [bad, server.mirror("good")], tmp_path / "cache", timeout=0.5)
        assert idx_module.unpacked(path) == CONTENT

    def test_unreachable(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no connection"):
            download.fetch(REMOTE, [unreachable()], tmp_path)

    def test_folder_that_cannot_be_made(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(DataError, match=r"cannot write to .*Name another folder in FDL_DATA_DIR"):
            download.fetch(REMOTE, [server.mirror("good")], tmp_path / "file" / "cache")

    def test_replaces_an_old_file_only_when_the_new_one_is_good(self, server: Server, tmp_path: Path) -> None:
        old = tmp_path / REMOTE.name
        old.write_bytes(b"old")
        with pytest.raises(DataError):
            download.fetch(REMOTE, [server.mirror("truncated")], tmp_path)
        assert old.read_bytes() == b"old"
        download.fetch(REMOTE, [server.mirror("good")], tmp_path)
        assert idx_module.unpacked(old) == CONTENT

    def test_progress_without_tqdm(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        with download.progress("a.gz", 2_000_000) as advance:
            advance(1_500_000)
        assert capsys.readouterr().err == "downloading a.gz (2.0 MB) ... 1.5 MB\n"
        with download.progress("b.gz", 28_881) as advance:
            advance(28_881)
        assert capsys.readouterr().err == "downloading b.gz (28.9 kB) ... 28.9 kB\n"


MD5 = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.fixture
def no_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mnist_module, "CHECKOUT", tmp_path / "nowhere")


class TestMnist:
    def test_the_checkout_has_the_original_files(self) -> None:
        for name, digest in MD5.items():
            content = idx_module.unpacked(mnist_module.CHECKOUT / name)
            assert hashlib.md5(content, usedforsecurity=False).hexdigest() == digest

    def test_both_parts(self) -> None:
        train, test = mnist()
        assert train.images.shape == (60000, 28, 28, 1) and test.images.shape == (10000, 28, 28, 1)
        assert train.images.dtype == np.uint8 and train.labels.dtype == np.int32
        assert train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
        assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        assert len(train) == 60000 and not train.images.flags.writeable and not train.labels.flags.writeable
        assert round(float(train.images.mean()) / 255, 4) == 0.1307

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
    def test_scaled(self, dtype: str) -> None:
        plain, scaled = mnist("test").images[:100], mnist("test", dtype=dtype).images[:100]
        assert scaled.dtype == dtypes.of(dtype) and scaled.max() == 1
        np.testing.assert_array_equal(scaled, (plain.astype(np.float64) / 255).astype(dtypes.of(dtype)))

    def test_examples_are_picked(self) -> None:
        test = mnist("test")
        assert len(test[:10]) == 10 and test[:10].images.shape == (10, 28, 28, 1)
        assert set(test[test.labels == 3].labels.tolist()) == {3}
        with pytest.raises(TypeError, match="slice"):
            test[3]

    def test_is_a_pytree(self) -> None:
        pairs, _ = tree.flatten_with_paths(Dataset(np.zeros((2, 28, 28, 1)), np.zeros(2)))
        assert [tree.path_str(path, "d") for path, _ in pairs] == ["d.images", "d.labels"]

    def test_bad_arguments(self) -> None:
        with pytest.raises(ValueError, match=r'split must be "train", "test" or None for both, got \'valid\''):
            mnist("valid")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="dtype must be uint8 or a floating-point type, got int32"):
            mnist("test", dtype="int32")

    @pytest.mark.usefixtures("no_checkout")
    def test_download_then_cache(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in MD5:
            shutil.copy(Path(__file__).parents[1] / "examples" / "data" / "mnist" / name, tmp_path / "served")
        monkeypatch.setattr(mnist_module, "MIRRORS", (server.mirror("missing"), server.mirror("good")))
        monkeypatch.setenv("FDL_DATA_DIR", str(tmp_path / "data"))
        first = mnist("test")
        assert len(server.asked) == 4 and len(first) == 10000
        assert sorted(p.name for p in (tmp_path / "data" / "mnist").iterdir()) == sorted(n for n in MD5 if "t10k" in n)
        second = mnist("test")
        assert len(server.asked) == 4, "the second time nothing is downloaded"
        np.testing.assert_array_equal(first.images, second.images)
        cached = tmp_path / "data" / "mnist" / "t10k-labels-idx1-ubyte.gz"
        cached.write_bytes(cached.read_bytes()[:-10])
        with pytest.warns(UserWarning, match=r"t10k-labels-idx1-ubyte\.gz is damaged: .*downloading .* anew"):
            third = mnist("test")
        np.testing.assert_array_equal(first.labels, third.labels)

    @pytest.mark.usefixtures("no_checkout")
    def test_unpacked_files_will_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mnist_module, "MIRRORS", ())
        source = Path(__file__).parents[1] / "examples" / "data" / "mnist"
        for name in MD5:
            if "t10k" in name:
                (tmp_path / name.removesuffix(".gz")).write_bytes(idx_module.unpacked(source / name))
        assert len(mnist("test", cache=tmp_path)) == 10000

    @pytest.mark.usefixtures("no_checkout")
    def test_without_network_the_error_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mnist_module, "MIRRORS", (unreachable(),))
        monkeypatch.delenv("FDL_DATA_DIR", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        with pytest.raises(DataError) as caught:
            mnist("train")
        text = str(caught.value)
        assert "could not download train-images-idx3-ubyte.gz" in text and "no connection" in text
        assert f"Looked in:\n  {tmp_path}/fdl/mnist" in text and "Without a network, put these four files" in text
        assert all(f"\n  {name}" in text for name in MD5)

    @pytest.mark.usefixtures("no_checkout")
    def test_damaged_and_no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mnist_module, "MIRRORS", (unreachable(),))
        (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"not it"))
        with (
            pytest.warns(UserWarning, match="is damaged: 6 bytes unpacked, expected 7840016"),
            pytest.raises(DataError, match="is damaged: 6 bytes unpacked"),
        ):
            mnist("test", cache=tmp_path)


DATA = {"x": np.arange(20, dtype=np.float32).reshape(10, 2), "y": np.arange(10, dtype=np.int32)}


class TestLoader:
    def test_in_order(self) -> None:
        loader = Loader(DATA, 4)
        batches = list(loader)
        assert len(loader) == len(batches) == 3
        assert [b["y"].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert all(type(b["x"]) is np.ndarray and b["x"].flags.c_contiguous for b in batches)

    def test_drop_last(self) -> None:
        loader = Loader(DATA, 4, drop_last=True)
        assert len(loader) == 2 and [len(b["y"]) for b in loader] == [4, 4]
        assert len(Loader(DATA, 5, drop_last=True)) == len(Loader(DATA, 5)) == 2

    @given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.integers(0, 1000))
    def test_every_example_once(self, count: int, size: int, drop_last: bool, seed: int) -> None:
        data = (np.arange(count), np.arange(count) * 10)
        if drop_last and size > count:
            with pytest.raises(ValueError, match="drop_last leaves no batch"):
                Loader(data, size, drop_last=True)
            return
        loader = Loader(data, size, key=random.key(seed), drop_last=drop_last)
        batches = list(loader.epoch(seed % 3))
        assert len(batches) == len(loader)
        seen = np.concatenate([a for a, _ in batches])
        assert len(set(seen.tolist())) == len(seen) == (count // size * size if drop_last else count)
        assert all((b == a * 10).all() for a, b in batches), "the arrays are shuffled alike"

    def test_order_is_the_keys(self) -> None:
        loader = Loader(DATA, 3, key=random.key(7))
        one = [[b["y"].tolist() for b in epoch] for epoch in loader.epochs(3)]
        two = [[b["y"].tolist() for b in epoch] for epoch in Loader(DATA, 3, key=random.key(7)).epochs(3)]
        assert one == two, "the same key gives the same batches"
        assert one[0] != one[1] != one[2], "each epoch has its own order"
        assert [b["y"].tolist() for b in loader.epoch(2)] == one[2], "an epoch doesn't depend on those before it"
        assert [b["y"].tolist() for b in Loader(DATA, 3, key=random.key(8))] != one[0]
        expected = np.asarray(random.permutation(random.fold_in(random.key(7), 1), 10))
        assert np.concatenate(one[1]).tolist() == expected.tolist()

    def test_key_without_shuffle(self) -> None:
        assert next(iter(Loader(DATA, 10, key=random.key(0), shuffle=False)))["y"].tolist() == list(range(10))

    def test_stack(self) -> None:
        loader = Loader(DATA, 3, key=random.key(1))
        stacked = loader.stack(4)
        assert stacked["x"].shape == (3, 3, 2) and stacked["y"].shape == (3, 3)
        for i, batch in enumerate(list(loader.epoch(4))[:3]):
            np.testing.assert_array_equal(stacked["x"][i], batch["x"])

    def test_takes_fdl_arrays_and_datasets(self) -> None:
        data = Dataset(np.zeros((6, 28, 28, 1), np.uint8), np.arange(6, dtype=np.int32))
        batch = next(iter(Loader(data, 4)))
        assert type(batch) is Dataset and batch.images.shape == (4, 28, 28, 1)
        batch = next(iter(Loader(fdl.Array(np.arange(6)), 4)))
        assert type(batch) is np.ndarray and batch.tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("data", "options", "message"),
        [
            ({}, {}, "data holds no arrays"),
            ({"x": 3}, {}, r"data\['x'\] is a int, expected an array"),
            ({"x": np.float32(3) * np.ones(())}, {}, r"data\['x'\] is a scalar array"),
            ({"x": np.ones(3), "y": np.ones((4, 2))}, {}, r"data\['x'\] has 3, data\['y'\] of shape \(4, 2\) has 4"),
            (np.ones(3), {"batch_size": 0}, "batch_size must be at least 1, got 0"),
            (np.ones(3), {"batch_size": 1.5}, r"batch_size must be an integer, got 1\.5"),
            (np.ones(3), {"shuffle": True}, r"shuffle=True needs a key. Pass key=fdl\.random\.key\(seed\)"),
        ],
    )
    def test_faults(self, data: Any, options: dict[str, Any], message: str) -> None:
        with pytest.raises((ValueError, TypeError), match=message):
            Loader(data, **{"batch_size": 2, **options})


class TestSplit:
    def test_in_order(self) -> None:
        train, valid = split(DATA, 0.8)
        assert train["y"].tolist() == list(range(8)) and valid["y"].tolist() == [8, 9]

    @given(st.integers(2, 50), st.floats(0.05, 0.95), st.integers(0, 100))
    def test_parts_are_apart_and_complete(self, count: int, fraction: float, seed: int) -> None:
        if not 0 < round(fraction * count) < count:
            with pytest.raises(ValueError, match="leaves one part empty"):
                split(np.arange(count), fraction)
            return
        one, two = split(np.arange(count), fraction, random.key(seed))
        assert len(one) == round(fraction * count)
        assert sorted([*one.tolist(), *two.tolist()]) == list(range(count))
        again, _ = split(np.arange(count), fraction, random.key(seed))
        assert again.tolist() == one.tolist()

    @pytest.mark.parametrize("fraction", [0, 1, 8, -0.5, float("nan")])
    def test_faults(self, fraction: float) -> None:
        with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
            split(DATA, fraction)


@pytest.mark.parametrize("name", ["idx", "loader"])
def test_examples_in_docstrings(name: str) -> None:
    module = sys.modules[f"fdl.data.{name}"]
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted and not result.failed
