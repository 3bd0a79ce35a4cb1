"""Save and load: every kind of tree comes back bit for bit; what doesn't fit or is damaged is refused in clear words."""

from __future__ import annotations

import collections
import doctest
import enum
import json
import os
import struct
import subprocess
import sys
import tempfile
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fdl import files, saving
from fdl import safetensors as format_
from fdl.safetensors import FormatError
from fdl.saving import load, save
from fdl.tracer import dtypes, tree
from fdl.tracer.array import Array
from fdl.tracer.errors import DTypeError, TreeError


class Moments(NamedTuple):
    mean: Any
    variance: Any


@dataclass(frozen=True, slots=True)
class State:
    step: Any
    moments: Any
    name: str = field(default="adam", metadata={"static": True})


class Box:
    def __init__(self, content: Any, label: str) -> None:
        self.content, self.label = content, label


tree.register(Box, lambda b: ((b.content,), b.label), lambda label, c: Box(c[0], label), lambda *_: (".content",))


class Color(enum.IntEnum):
    RED = 1


def array_of(dtype: dtypes.DType, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """Any bits of the dtype: NaNs with payloads too. Bools are 0 or 1."""
    rng = np.random.default_rng(seed)
    if dtype == dtypes.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    count = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(rng.bytes(count), dtype).reshape(shape).copy()


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal in structure, types and bits."""
    x, s = tree.flatten(a)
    y, t = tree.flatten(b)
    return s == t and all(map(same_leaf, x, y))


def same_leaf(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Array):
        return a.type == b.type and a.data.tobytes() == b.data.tobytes()
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return repr(a) == repr(b)


shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
arrays = st.builds(array_of, st.sampled_from(dtypes.ALL), shapes, st.integers(0, 2**32 - 1))
leaves = st.one_of(
    arrays,
    arrays.map(lambda a: Array(a.copy())),
    st.sampled_from([Array(np.float32(3), weak=True), np.float64(0.5), np.int8(-3), np.bool_(True)]),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
)
trees = st.recursive(
    st.one_of(st.none(), leaves),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
        st.dictionaries(st.integers(), inner, max_size=3),
        st.builds(Moments, inner, inner),
        st.builds(State, inner, inner, st.text(max_size=3)),
    ),
    max_leaves=8,
)


class TestRoundTrip:
    @given(value=trees)
    def test_any_tree(self, tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
        path = tmp_path_factory.getbasetemp() / "any.safetensors"
        save(path, value)
        assert same(load(path), value)
        assert same(load(path, like=value), value)

    @pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)], ids=str)
    def test_every_dtype(self, tmp_path: Path, dtype: dtypes.DType, shape: tuple[int, ...]) -> None:
        data = array_of(dtype, shape, 1)
        value = {"numpy": data, "array": Array(data.copy()), "scalars": [*data.reshape(-1)]}
        save(tmp_path / "a", value)
        assert same(load(tmp_path / "a"), value)

    def test_arrays_are_the_readers_own(self, tmp_path: Path) -> None:
        save(tmp_path / "a", {"a": np.arange(3), "b": Array(np.arange(3))})
        back = load(tmp_path / "a")
        back["a"][0] = 7
        assert back["a"].flags.aligned and not back["b"].data.flags.writeable

    @pytest.mark.parametrize("make", [lambda a: a.T, lambda a: a[::2], lambda a: a.astype(">f4"), np.asfortranarray])
    def test_layout_and_byte_order_do_not_matter(self, tmp_path: Path, make: Any) -> None:
        value = make(np.arange(24, dtype=np.float32).reshape(4, 6))
        save(tmp_path / "a", value)
        back = load(tmp_path / "a")
        assert back.dtype == np.float32 and back.dtype.isnative
        np.testing.assert_array_equal(back, value)

    def test_ordered_dict(self, tmp_path: Path) -> None:
        value = collections.OrderedDict(b=np.ones(2), a=1)
        save(tmp_path / "a", value)
        back = load(tmp_path / "a", like=value)
        assert type(back) is collections.OrderedDict and back["a"] == 1

    def test_registered_class_needs_like(self, tmp_path: Path) -> None:
        save(tmp_path / "a", {"box": Box(np.ones(2, np.float32), "l")})
        with pytest.raises(TreeError, match=r"tree\['box'\] is a test_saving:Box, which only like= can rebuild"):
            load(tmp_path / "a")
        back = load(tmp_path / "a", like={"box": Box(np.zeros(2, np.float32), "l")})
        assert back["box"].label == "l" and back["box"].content.tolist() == [1, 1]
        with pytest.raises(TreeError, match=r"tree\['box'\]: saved static data 'l', expected 'm'"):
            load(tmp_path / "a", like={"box": Box(np.zeros(2, np.float32), "m")})

    def test_static_data_that_files_cannot_hold(self, tmp_path: Path) -> None:
        value = State(1, 2, name=np.tanh)  # type: ignore[arg-type]
        save(tmp_path / "a", value)
        with pytest.raises(TreeError, match="which is not stored in files"):
            load(tmp_path / "a")
        assert load(tmp_path / "a", like=value) == value

    def test_class_that_is_not_imported_or_has_changed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        module = types.ModuleType("elsewhere")
        monkeypatch.setitem(sys.modules, "elsewhere", module)
        Point = collections.namedtuple("Point", ["x", "y"])
        Point.__module__ = "elsewhere"
        module.Point = Point  # type: ignore[attr-defined]
        save(tmp_path / "a", Point(1, 2))
        assert load(tmp_path / "a") == Point(1, 2)
        module.Point = collections.namedtuple("Point", ["x", "z"])  # type: ignore[attr-defined,misc]
        with pytest.raises(TreeError, match=r"saved with the fields \['x', 'y'\], but now it has \['x', 'z'\]"):
            load(tmp_path / "a")
        monkeypatch.delitem(sys.modules, "elsewhere")
        with pytest.raises(TreeError, match="tree is a elsewhere:Point, which is not imported"):
            load(tmp_path / "a")

    def test_loading_runs_no_code(self, tmp_path: Path) -> None:
        # A file may name any class; only dataclasses and named tuples are made, without calling their __init__.
        node = {"class": "subprocess:Popen", "kind": "dataclass", "children": [["args", {"str": "true"}]], "data": None}
        text = json.dumps(node)
        format_.write(tmp_path / "a", {}, {"fdl.tree": text, "fdl.crc32": saving._checksum(text, {})})
        with pytest.raises(TreeError, match="subprocess:Popen, which only like= can rebuild"):
            load(tmp_path / "a")

    @pytest.mark.parametrize(
        ("leaf", "message"),
        [
            (print, r"tree\['a'\]\[1\] is a builtin_function_or_method, which cannot be saved"),
            ({1, 2}, r"tree\['a'\]\[1\] is a set"),
            (Color.RED, r"tree\['a'\]\[1\] is a Color"),
            (np.array(["x"]), r"tree\['a'\]\[1\] has dtype <U1, expected one of bool, int8"),
            (np.array([None]), r"tree\['a'\]\[1\] has dtype object"),
        ],
    )
    def test_leaves_that_cannot_be_saved(self, tmp_path: Path, leaf: Any, message: str) -> None:
        with pytest.raises(DTypeError, match=message):
            save(tmp_path / "a", {"a": [1, leaf]})
        assert list(tmp_path.iterdir()) == []


PARAMS = {
    "conv1": {"w": np.ones((3, 3, 1, 16), np.float32), "b": np.zeros(16, np.float32)},
    "dense": [Array(np.ones((4, 5), np.float32))],
    "step": 3,
}


class TestLike:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        save(tmp_path / "params.safetensors", PARAMS)
        return tmp_path / "params.safetensors"

    def test_fits(self, path: Path) -> None:
        assert same(load(path, like=PARAMS), PARAMS)

    def test_like_of_shapes_only(self, path: Path) -> None:
        shapes = tree.map(
            lambda leaf: types.SimpleNamespace(shape=leaf.shape, dtype=leaf.dtype) if hasattr(leaf, "shape") else leaf, PARAMS
        )
        assert same(load(path, like=shapes), PARAMS)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda p: p["conv1"].update(w=np.ones((3, 3, 3, 16), np.float32)),
                r"tree\['conv1'\]\['w'\]: saved \(3, 3, 1, 16\) float32, expected \(3, 3, 3, 16\) float32",
            ),
            (
                lambda p: p["conv1"].update(b=np.zeros(16, dtypes.bfloat16)),
                r"tree\['conv1'\]\['b'\]: saved \(16,\) float32, expected \(16,\) bfloat16",
            ),
            (lambda p: p["conv1"].pop("b"), r"tree\['conv1'\]\['b'\]: saved \(16,\) float32, not expected"),
            (
                lambda p: p.update(norm={"scale": np.ones(3)}),
                r"tree\['norm'\]: not in the file, expected a dict with keys \['scale'\]",
            ),
            (lambda p: p["dense"].append(1), r"tree\['dense'\]: saved a list of 1, expected a list of 2"),
            (lambda p: p.update(dense=tuple(p["dense"])), r"tree\['dense'\]: saved a list of 1, expected a tuple of 1"),
            (lambda p: p.update(dense=None), r"tree\['dense'\]: saved a list of 1, expected None"),
            (lambda p: p.update(step=np.int32(3)), r"tree\['step'\]: saved a Python int, expected \(\) int32"),
            (lambda p: p.update(conv1=Moments(1, 2)), r"tree\['conv1'\]: saved a dict with .*, expected a Moments"),
        ],
    )
    def test_differences_name_the_key_path(self, path: Path, change: Any, message: str) -> None:
        like = tree.map(lambda leaf: leaf, PARAMS)
        change(like)
        with pytest.raises(TreeError, match=message) as caught:
            load(path, like=like)
        assert str(caught.value).startswith(f"{path} does not fit `like`:")
        assert str(caught.value).count("\n") == 2, "what fits is not mentioned"

    def test_many_differences_are_cut(self, tmp_path: Path) -> None:
        save(tmp_path / "a", {str(i): np.ones(2) for i in range(50)})
        with pytest.raises(TreeError, match="and 42 more"):
            load(tmp_path / "a", like={str(i): np.ones(3) for i in range(50)})

    def test_fields_of_a_class(self, tmp_path: Path) -> None:
        save(tmp_path / "a", State(1, Moments(np.ones(2), 0.5)))
        with pytest.raises(TreeError, match=r"tree\.moments\.mean: saved \(2,\) float64, expected \(3,\) float64"):
            load(tmp_path / "a", like=State(1, Moments(np.ones(3), 0.5)))
        with pytest.raises(TreeError, match=r"tree: saved static data \('adam'\), expected \('sgd'\)"):
            load(tmp_path / "a", like=State(1, Moments(np.ones(2), 0.5), name="sgd"))


class TestFormat:
    def test_the_safetensors_package_reads_it(self, tmp_path: Path) -> None:
        value: dict[str, Any] = {str(d): array_of(d, (2, 3), 5) for d in dtypes.ALL if d.kind != "c"}
        save(tmp_path / "a", value | {"a.b": np.ones(1), "a": {"b": np.zeros(1)}})
        with safetensors.safe_open(tmp_path / "a", "np") as file:
            assert sorted(file.keys()) == sorted([*(str(d) for d in dtypes.ALL if d.kind != "c"), "a.b", "a.b#2"])
            for name in ("float32", "int64", "bool", "uint8", "float16"):
                assert same_leaf(file.get_tensor(name), value[name])
            assert json.loads(file.metadata()["fdl.tree"])["dict"]

    def test_reads_what_the_safetensors_package_writes(self, tmp_path: Path) -> None:
        named: dict[str, Any] = {"layer.w": np.arange(6, dtype=np.float32).reshape(2, 3), "layer.b": np.zeros(3, np.int64)}
        safetensors.numpy.save_file(named, tmp_path / "a", metadata={"format": "np"})
        back = load(tmp_path / "a")
        assert set(back) == set(named) and all(type(a) is Array for a in back.values())
        like = {"layer": {"w": np.zeros((2, 3), np.float32), "b": np.zeros(3, np.int64)}}
        assert load(tmp_path / "a", like=like)["layer"]["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
        with pytest.raises(TreeError, match=r"tree\['layer'\]\['c'\]: the file has no 'layer\.c', expected \(\) float64"):
            load(tmp_path / "a", like={"layer": {**like["layer"], "c": np.zeros(())}})
        with pytest.raises(TreeError, match=r"layer\.b: saved, not expected"):
            load(tmp_path / "a", like={"layer": {"w": like["layer"]["w"]}})
        with pytest.raises(TreeError, match=r"tree\['layer'\]\['b'\]: saved \(3,\) int64, expected \(3,\) float64"):
            load(tmp_path / "a", like={"layer": {**like["layer"], "b": np.zeros(3)}})

    def test_every_truncation_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        save(path, {"w": np.ones((2, 2), np.float32), "n": 3})
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(FormatError, match=r"too few|truncated|damaged"):
                load(path)
        path.write_bytes(whole + b"x")
        with pytest.raises(FormatError, match="too long"):
            load(path)

    def test_every_changed_byte_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        save(path, {"w": np.arange(4, dtype=np.float32), "n": 3, "m": [True]})
        whole = path.read_bytes()
        for position in range(len(whole)):
            for flip in (0x01, 0x80):
                path.write_bytes(whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :])
                with pytest.raises(FormatError):
                    load(path)

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("[]", "its header is a JSON list"),
            ("{", "its header is no JSON"),
            ('{"a": 3}', "the entry of 'a' lacks its dtype, shape or data_offsets"),
            ('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}', "the entry of 'a' lacks"),
            ('{"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}', "'a' has dtype F8_E4M3, expected one"),
            ('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', r"'a' has shape \[-1\]"),
            ('{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}', r"'a' has shape \[1\.0\]"),
            ('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "'a' of 8 bytes is said to lie at 0 to 4"),
            ('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}', "is said to lie at -4 to 0"),
            ('{"a": {"dtype": "I32", "shape": [99999999999], "data_offsets": [0, 399999999996]}}', "truncated"),
            ('{"a": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}}', "'a' starts at byte 2 of the data, expected 0"),
            ('{"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, "a": 1}', "a name occurs twice"),
            ('{"__metadata__": {"x": 1}}', "__metadata__ is not a map from strings to strings"),
            ('{"a": {"dtype": "BOOL", "shape": [4], "data_offsets": [0, 4]}}', "bool array with bytes other than 0 and 1"),
            ("[" * 100_000, "its header is no JSON"),
        ],
    )
    def test_bad_headers(self, tmp_path: Path, header: str, message: str) -> None:
        text = header.encode()
        (tmp_path / "a").write_bytes(struct.pack("<Q", len(text)) + text + b"\x01\x02\x03\x04")
        with pytest.raises(FormatError, match=message) as caught:
            load(tmp_path / "a")
        assert str(caught.value).startswith(str(tmp_path / "a"))

    def test_other_files(self, tmp_path: Path) -> None:
        for content, message in [(b"", "0 bytes are too few"), (b"PK\x03\x04 some zip file", "not a safetensors file")]:
            (tmp_path / "a").write_bytes(content)
            with pytest.raises(FormatError, match=message):
                load(tmp_path / "a")
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "missing")

    def test_structure_that_makes_no_sense(self, tmp_path: Path) -> None:
        for text in ['{"array": "gone", "as": "numpy", "dtype": "f32"}', "{", '{"what": 1}', '{"class": "x"}']:
            format_.write(tmp_path / "a", {}, {"fdl.tree": text, "fdl.crc32": saving._checksum(text, {})})
            for like in (None, np.zeros(2)):
                with pytest.raises((FormatError, TreeError)):
                    load(tmp_path / "a", like=like)

    def test_complex128_has_no_name_in_the_format(self, tmp_path: Path) -> None:
        with pytest.raises(DTypeError, match=r"no arrays of dtype complex128 \('a'\)"):
            format_.write(tmp_path / "a", {"a": np.zeros(2, complex)}, {})


class TestAtomic:
    def test_failure_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a"
        save(path, 1)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            save(path, 2)
        monkeypatch.undo()
        assert load(path) == 1 and [p.name for p in tmp_path.iterdir()] == ["a"]

    @pytest.mark.skipif(os.name != "posix", reason="signals and modes are POSIX's")
    def test_killed_while_saving(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        save(path, {"w": np.zeros(10)})
        code = f"""
import os, signal, numpy as np
from fdl import files
from fdl.saving import save
files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
save({str(path)!r}, {{"w": np.ones(10)}})
"""
        result = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], timeout=120)
        assert result.returncode == -9 and load(path)["w"].tolist() == [0] * 10

    def test_links_are_followed_and_modes_are_the_users(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "real" / "a")
        save(link, 5)
        assert link.is_symlink() and load(tmp_path / "real" / "a") == 5
        with open(tmp_path / "plain", "w"):
            assert (tmp_path / "real" / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"save: the folder .*gone does not exist"):
            save(tmp_path / "gone" / "a", 1)


@pytest.mark.parametrize("module", [files, saving])
def test_examples_in_docstrings(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the examples write
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
