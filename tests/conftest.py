"""Settings that every test shares: deterministic Hypothesis, golden files, and the GPU marker."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

import fdl  # noqa: F401 (it says where the primitives are)
from fdl.tracer.primitive import declare_all

# What a test compiles is compiled by it: objects from an earlier run would hide what is broken. Processes inherit it. Where the same
# code is tested again on another number of threads, which objects do not depend on, FDL_TESTS_CACHE names a folder for them.
os.environ["FDL_CACHE_DIR"] = os.environ.get("FDL_TESTS_CACHE", "")

# Examples are derived from the test alone, and none are remembered: a run depends on nothing but the code. No deadline
# and no complaint about slow generation, since machines and their load differ.
settings.register_profile(
    "fdl", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("fdl")
# Hypothesis also draws numbers and strings that it finds in the source of the modules loaded so far, so that a test's
# examples would depend on which files ran before it in the same process. There is no public switch.
if hasattr(providers, "is_local_module_file"):
    setattr(providers, "is_local_module_file", lambda path: False)  # noqa: B010 (mypy: not exported)

# Tables of tests are made of all primitives, whichever modules a test file imports.
declare_all()

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: asserts that `text` is what tests/golden/NAME holds; --update-golden writes it instead."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"{path} is missing. Run pytest with --update-golden, and read what it writes."
        assert text == path.read_text(encoding="utf-8"), f"{path} differs. If the change is meant, run with --update-golden."

    return check


def _missing_gpu() -> str:
    """Why there is no GPU to test on; "" where there is one. Asks the driver itself: no CUDA package is needed."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver finds no GPU"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    why = _missing_gpu() if marked else ""
    if why:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=why))
