"""The machine that code is generated for: vector width, features, and what may be asked for by name.

A `Target` is chosen at run time: `host()` is the widest this machine runs, `named("avx2")` a narrower one (the same
code as an older machine would get, which is how the tests cover them), and the environment variable FDL_TARGET
overrides `host()`.  Everything that depends on the CPU (widths, masks, fused multiply-add, half-precision conversions)
is read off the target, never asked of the machine again, so that text generated for a target is a pure function of it.
"""

from __future__ import annotations

import functools
import os

import llvmlite.binding as llvm

from fdl.tracer.dtypes import DType
from fdl.tracer.records import dataclass

from .locks import LLVM

NAMES = ("avx512", "avx2", "sse2", "neon")
"""Every target, widest first."""

_REQUIRED = {
    "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "fma", "f16c", "bmi2"),
    "avx2": ("avx2", "fma", "f16c", "bmi2"),
    "sse2": ("sse2",),
    "neon": ("neon",),
}
# What a narrower target than the machine's own is compiled for: the generic CPU of that level.
_GENERIC_CPU = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "sse2": "x86-64", "neon": "generic"}


@dataclass(frozen=True, slots=True)
class Target:
    """A CPU level. Two equal targets give the same text and the same object code."""

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    fma: bool
    masked: bool
    """Whether masked vector loads and stores of 4- and 8-byte elements are instructions."""

    def lanes(self, dtype: DType) -> int:
        """The number of elements of `dtype` in one vector register; types below 4 bytes count as 4.

        Example:
            >>> from fdl.tracer import dtypes
            >>> make("avx2", "x86_64-unknown-linux-gnu").lanes(dtypes.float32)
            8
        """
        return self.vector_bytes // max(dtype.itemsize, 4)

    @property
    def masked_small(self) -> bool:
        """Whether masked loads and stores of 1- and 2-byte elements are instructions too."""
        return self.name == "avx512"

    @property
    def rounding(self) -> bool:
        """Whether floor, ceil, trunc and round are instructions (SSE4.1 and later, NEON)."""
        return self.name != "sse2"

    @property
    def half(self) -> bool:
        """Whether float16 ↔ float32 conversions are instructions."""
        return self.name != "sse2"

    @property
    def bf16_pairs(self) -> bool:
        """Whether there is an instruction that adds the product of two pairs of bfloat16 to a float32 (AVX512-BF16)."""
        return self.name == "avx512" and "+avx512bf16" in self.features.split(",")

    @property
    def registers(self) -> int:
        """The number of vector registers."""
        return 32 if self.name in ("avx512", "neon") else 16


def make(name: str, triple: str, cpu: str | None = None, features: str = "") -> Target:
    """The target `name` for `triple`, whether or not this machine can run it (for generating code only)."""
    if name not in NAMES:
        raise ValueError(f"unknown target {name!r}. Expected one of {', '.join(NAMES)}.")
    return Target(
        name=name,
        triple=triple,
        cpu=cpu or _GENERIC_CPU[name],
        features=features,
        vector_bytes={"avx512": 64, "avx2": 32}.get(name, 16),
        fma=name != "sse2",
        masked=name in ("avx512", "avx2"),
    )


def host() -> Target:
    """The widest target that this machine runs, or the one that FDL_TARGET names."""
    override = os.environ.get("FDL_TARGET", "")
    with LLVM:
        return named(override) if override else _native()


@functools.cache
def named(name: str) -> Target:
    """The target called `name`.

    Raises: ValueError for an unknown name and for one that this machine cannot run.
    """
    if name not in NAMES:
        raise ValueError(f"unknown target {name!r}. Expected one of {', '.join(NAMES)}.")
    native = _native()
    if name == native.name:
        return native
    if name not in runnable():
        raise ValueError(f"this machine cannot run the target {name!r}; it can run {', '.join(runnable())}.")
    return make(name, native.triple)


@functools.cache
def runnable() -> tuple[str, ...]:
    """The names of the targets that this machine runs, widest first."""
    features = _host_features()
    arm = llvm.get_process_triple().startswith(("aarch64", "arm64"))
    if arm:
        return ("neon",)
    return tuple(n for n in NAMES if n != "neon" and all(features.get(f, False) for f in _REQUIRED[n])) or ("sse2",)


@functools.cache
def _host_features() -> dict[str, bool]:
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on this system: the baseline is what is left
        return {}


@functools.cache
def _native() -> Target:
    name = runnable()[0]
    features = _host_features()
    flat = ",".join(("+" if on else "-") + f for f, on in sorted(features.items()))
    return make(name, llvm.get_process_triple(), llvm.get_host_cpu_name() if features else None, flat)
