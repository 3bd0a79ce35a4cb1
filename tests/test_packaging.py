"""The packages that users install: what is in them, and that they train an MLP away from the checkout. No network."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import fdl

ROOT = Path(__file__).resolve().parents[1]

TRAIN_AN_MLP = """
import os, sys
import numpy as np
import fdl
import fdl.numpy as fnp
from fdl import random

assert os.path.realpath(fdl.__file__).startswith(os.path.realpath(sys.argv[1])), fdl.__file__
assert "fdl.tracer" in sys.modules and "tracer" not in sys.modules and "backends" not in sys.modules

model = fdl.nn.Sequential(fdl.nn.Linear(16), fdl.nn.relu, fdl.nn.Dropout(0.1), fdl.nn.Linear(10))
optimizer = fdl.optim.adam(0.01)
x = np.asarray(random.normal(random.key(1), (32, 20)))
labels = np.arange(32, dtype=np.int32) % 10
params, state = model.init(random.key(0), x)
opt_state = optimizer.init(params)

def loss(params, state, key):
    logits, state = model(params, state, x, key=key, train=True)
    return fnp.mean(fdl.nn.losses.softmax_cross_entropy(logits, labels))

@fdl.jit
def step(params, opt_state, key):
    value, grads = fdl.value_and_grad(loss)(params, state, key)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return fdl.optim.apply_updates(params, updates), opt_state, value

losses = []
for i in range(30):
    params, opt_state, value = step(params, opt_state, random.fold_in(random.key(2), i))
    losses.append(float(value))
assert losses[-1] < 0.7 * losses[0], losses
print("trained")
"""

WRONG_LINES = """
import numpy as np
import fdl
import fdl.numpy as fnp

def wrong(x, w):
    y = fnp.tanh(x)
    return fdl.vmap(lambda r: r @ w)(y)

x = np.ones((2, 3), np.float32)
for f in (wrong, fdl.jit(wrong), fdl.grad(lambda x, w: wrong(x, w).sum())):
    try:
        f(x, np.ones(4, np.float32))
    except ValueError as error:
        print(str(error).split(" at ")[-1])
print(str(fdl.jit(wrong).lower(x, np.ones((3, 2), np.float32)).loops))
"""


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """The output of a command, run without the checkout on its path."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**clean, **env}, capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def copy_of_the_source(to: Path) -> Path:
    """The files that a package is made from, links kept as links: building leaves folders behind."""
    to.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to)
    for name in ("fdl", "tracer", "backends"):
        shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return to


def modules() -> set[str]:
    """The names that a package must hold below `fdl/`."""
    found = {"fdl/py.typed"}
    for folder in ("fdl", "fdl/tracer", "fdl/backends"):
        found |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel made from it."""
    source = copy_of_the_source(tmp_path_factory.mktemp("build") / "source")
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=source)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder.parent)
    return folder


def test_wheel_holds_fdl_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"fdl", "fdl-0.1.0.dist-info"}
    assert {name for name in names if name.startswith("fdl/")} == modules()
    assert wheel.name == "fdl-0.1.0-py3-none-any.whl"


def test_sdist_has_real_folders(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert not [m.name for m in members if m.issym() or m.islnk()]
    names = {m.name.removeprefix("fdl-0.1.0/") for m in members if m.isfile()}
    assert modules() <= names and {"pyproject.toml", "README.md", "LICENSE"} <= names


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read("fdl-0.1.0.dist-info/METADATA"))
        assert b"Apache License" in archive.read("fdl-0.1.0.dist-info/licenses/LICENSE")
    requires = metadata.get_all("Requires-Dist") or []
    core = {re.split(r"[^\w.-]", line)[0].replace("-", "_") for line in requires if "extra ==" not in line}
    assert core == {"numpy", "llvmlite", "ml_dtypes"}
    assert set(metadata.get_all("Provides-Extra") or []) == {"bench", "cuda13", "docs", "examples", "scipy", "test"}
    assert metadata["Version"] == fdl.__version__ == "0.1.0"
    assert metadata["Requires-Python"] == ">=3.11" and metadata["License-Expression"] == "Apache-2.0"


def test_wheel_from_the_checkout_is_the_same(wheel: Path, tmp_path: Path) -> None:
    source = copy_of_the_source(tmp_path / "source")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", source, cwd=source)
    (direct,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(direct) as two:
        assert {i.filename: i.CRC for i in one.infolist()} == {i.filename: i.CRC for i in two.infolist()}


def test_installed_wheel_trains_an_mlp(site: Path, tmp_path: Path) -> None:
    output = run(sys.executable, "-W", "error", "-c", TRAIN_AN_MLP, site, cwd=tmp_path, PYTHONPATH=str(site))
    assert output.strip() == "trained"


@pytest.mark.parametrize("path", ["{site}", "{site}/fdl/.."])
def test_installed_wheel_names_the_user_s_lines(site: Path, tmp_path: Path, path: str) -> None:
    """Its folders lie otherwise than a checkout's, and the path that it is found by may go round about."""
    (tmp_path / "model.py").write_text(WRONG_LINES, encoding="utf-8")
    output = run(sys.executable, "model.py", cwd=tmp_path, PYTHONPATH=path.format(site=site))
    *errors, _ = output.splitlines()[:4]
    assert errors == [f"{tmp_path / 'model.py'}:8 (<lambda>)"] * 3
    places = re.findall(r"# (.*\.py):(\d+)", output)
    assert {line for _, line in places} == {"7", "8"} and {file for file, _ in places} == {str(tmp_path / "model.py")}


def test_editable_install_runs_the_checkout(tmp_path: Path) -> None:
    source = copy_of_the_source(tmp_path / "source")
    hook = "import sys; from setuptools import build_meta; print('NAME', build_meta.build_editable(sys.argv[1]))"
    output = run(sys.executable, "-c", hook, tmp_path, cwd=source)
    site = tmp_path / "site"
    with zipfile.ZipFile(tmp_path / output.split("NAME ")[-1].strip()) as archive:
        archive.extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # Another editable install in this environment would be found first: -S leaves its .pth files out.
    packages = [p for p in sys.path if p.endswith("site-packages")]
    code = f"import sys, site; site.addsitedir({str(site)!r}); sys.path += {packages!r}\n" + TRAIN_AN_MLP
    assert run(sys.executable, "-S", "-c", code, source, cwd=elsewhere).strip() == "trained"
    bare = f"import sys, site; site.addsitedir({str(site)!r}); import tracer"
    result = subprocess.run([sys.executable, "-S", "-c", bare], cwd=elsewhere, capture_output=True, text=True, timeout=60)
    assert "ModuleNotFoundError: No module named 'tracer'" in result.stderr


def test_the_makefile_asks_for_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    used = set(re.findall(r"EXTRAS = (.+)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert {extra for line in used for extra in line.split(",")} <= set(extras)
