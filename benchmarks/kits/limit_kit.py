"""The machine's limits, by loops written in LLVM IR: fused multiply-adds in registers, and streaming through memory.

A row's limit is the time of its floating-point operations at the peak rate plus the time to stream its bytes once, between buffers of
that size which are used again and again: what an implementation reaches that reads its arguments once, computes at the peak, and writes
an output whose memory is recycled.  Threads do not meet between repetitions, so that handing out work is not in the limit.
"""

from __future__ import annotations

import ctypes
import functools
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from benchmarks.record import Bench, Work

BLOCK = 1 << 8
"""Bytes that a step of a streaming loop moves."""
ACCUMULATORS = 24
"""Independent sums, more than latency × throughput of any CPU's FMA units."""
_threads = 1


def versions() -> dict[str, str]:
    """Of what runs."""
    return {"llvmlite": llvmlite.__version__}


def set_threads(n: int) -> None:
    """As many as the libraries have."""
    global _threads
    _threads = n


def _fma(lanes: int, fused: bool) -> str:
    """`peak(n) -> sum`: n steps of a multiply-add on each accumulator."""
    n, v = ACCUMULATORS if lanes >= 16 else ACCUMULATORS // 2, f"<{lanes} x float>"
    phis = "\n".join(f"  %a{k} = phi {v} [ zeroinitializer, %entry ], [ %b{k}, %loop ]" for k in range(n))
    if fused:
        step = "\n".join(
            f"  %b{k} = call {v} @llvm.fma.v{lanes}f32({v} %scale, {v} %a{k}, {v} %shift)" for k in range(n)
        )  # fmt: skip
    else:
        step = "\n".join(f"  %m{k} = fmul {v} %scale, %a{k}\n  %b{k} = fadd {v} %m{k}, %shift" for k in range(n))
    sums = "\n".join(f"  %s{k + 1} = fadd {v} %s{k}, %b{k}" for k in range(1, n))
    return f"""
declare {v} @llvm.fma.v{lanes}f32({v}, {v}, {v})
define float @peak(i64 %n) {{
entry:
  %one = insertelement {v} poison, float 0.5, i32 0
  %scale = shufflevector {v} %one, {v} poison, <{lanes} x i32> zeroinitializer
  %two = insertelement {v} poison, float 1.0, i32 0
  %shift = shufflevector {v} %two, {v} poison, <{lanes} x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
{phis}
{step}
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  %s1 = fadd {v} %b0, %b0
{sums}
  %r = extractelement {v} %s{n}, i32 0
  ret float %r
}}
"""


def _stream(name: str, lanes: int, load: bool, store: bool, past_cache: bool = False) -> str:
    """`name(to, from, blocks, repetitions)`: loads and stores blocks, in order; the stores go past the cache if asked."""
    v, size = f"<{lanes} x float>", 4 * lanes
    parts = range(BLOCK // size)
    hint = ", !nontemporal !0" if past_cache else ""
    body, phis = [], []
    for k in parts:
        body.append(f"  %o{k} = add i64 %at, {k * size}")
        if load:
            body.append(f"  %p{k} = getelementptr i8, ptr %from, i64 %o{k}\n  %x{k} = load {v}, ptr %p{k}, align {size}")
        if store:
            value = f"%x{k}" if load else "zeroinitializer"
            body.append(f"  %q{k} = getelementptr i8, ptr %to, i64 %o{k}\n  store {v} {value}, ptr %q{k}, align {size}{hint}")
        else:  # sums keep the loads alive
            phis.append(f"  %c{k} = phi {v} [ %d{k}, %again ], [ %e{k}, %loop ]")
            body.append(f"  %e{k} = fadd {v} %c{k}, %x{k}")
    outer = "" if store else "\n".join(f"  %d{k} = phi {v} [ zeroinitializer, %entry ], [ %e{k}, %next ]" for k in parts)
    last = parts[-1]
    ends = "  ret float 0.0"
    if not store:
        sums = "\n".join(f"  %s{k} = fadd {v} %{'e0' if k == 1 else f's{k - 1}'}, %e{k}" for k in parts[1:])
        ends = f"{sums}\n  %r = extractelement {v} %{'e0' if last == 0 else f's{last}'}, i32 0\n  ret float %r"
    return f"""
define float @{name}(ptr %to, ptr %from, i64 %blocks, i64 %repetitions) {{
entry:
  br label %again
again:
  %k = phi i64 [ 0, %entry ], [ %l, %next ]
{outer}
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %j, %loop ]
{chr(10).join(phis)}
  %at = mul i64 %i, {BLOCK}
{chr(10).join(body)}
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %blocks
  br i1 %more, label %loop, label %next
next:
  ; the next repetition may not be merged with this one
  call void asm sideeffect "", "~{{memory}}"()
  %l = add i64 %k, 1
  %once = icmp ult i64 %l, %repetitions
  br i1 %once, label %again, label %done
done:
{ends}
}}
"""


class _Loops:
    """The compiled loops, and the vector width that they were made for."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        self.lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
        fused = bool(features.get("fma") or features.get("avx512f") or features.get("neon"))
        streams = {
            "copy": (True, True, False), "copy_past": (True, True, True), "load": (True, False, False),
            "fill": (False, True, False), "fill_past": (False, True, True),
        }  # fmt: skip
        text = (
            _fma(self.lanes, fused) + "".join(_stream(n, self.lanes, *how) for n, how in streams.items()) + "\n!0 = !{i32 1}\n"
        )
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten() + (",-prefer-256-bit" if self.lanes == 16 else ""), opt=3
        )
        module = llvm.parse_assembly(text)
        module.verify()
        self.engine = llvm.create_mcjit_compiler(module, target)
        self.engine.finalize_object()
        self.flops = 2 * self.lanes * (ACCUMULATORS if self.lanes >= 16 else ACCUMULATORS // 2)
        self.peak = self._function("peak", ctypes.c_int64)
        self.streams = {n: self._function(n, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2) for n in streams}

    def _function(self, name: str, *types: Any) -> Callable[..., float]:
        found: Callable[..., float] = ctypes.CFUNCTYPE(ctypes.c_float, *types)(self.engine.get_function_address(name))
        return found


@functools.cache
def _loops() -> _Loops:
    return _Loops()


def _together(tasks: Sequence[Callable[[], Any]]) -> float:
    """Seconds from the start of the first task to the end of the last, each on a thread of its own."""
    if len(tasks) == 1:
        start = time.perf_counter()
        tasks[0]()
        return time.perf_counter() - start
    spans: list[tuple[float, float]] = []
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> None:
        barrier.wait()
        start = time.perf_counter()
        task()
        spans.append((start, time.perf_counter()))

    threads = [threading.Thread(target=run, args=(t,)) for t in tasks]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _buffer(n: int) -> tuple[Any, int]:
    """Memory of n bytes that has been written to, and its address, a multiple of 64."""
    raw = np.ones(n + 64, np.uint8)
    return raw, (raw.ctypes.data + 63) // 64 * 64


def _rounded(n: int) -> int:
    """So many bytes, as whole blocks for each thread."""
    unit = BLOCK * _threads
    return -(-n // unit) * unit


class _Limits:
    """Seconds that so much work takes at least."""

    def __init__(self, work: Work) -> None:
        self.loops, self.work = _loops(), work
        both = min(work.read, work.written)
        self.parts = [(n, b) for n, b in (("copy", both), ("load", work.read - both), ("fill", work.written - both)) if b]
        size = _rounded(max(work.read, work.written, 1))
        self.read, self.source = _buffer(size)
        self.written, self.target = _buffer(size)
        self.chosen = {name: self._choose(name, b) for name, b in self.parts}

    def _choose(self, name: str, n: int) -> str:
        """Stores through the cache or past it, whichever is faster for so many bytes."""
        ways = [w for w in (name, f"{name}_past") if w in self.loops.streams]
        times = {w: min(self._streamed(w, n, 4e-3) for _ in range(3)) for w in ways}
        return min(times, key=times.__getitem__)

    def _streamed(self, name: str, n: int, seconds: float) -> float:
        share = _rounded(n) // _threads
        f = self.loops.streams[name]
        repetitions = max(1, int(seconds * 2e10 / n))
        starts = [(self.target + k * share, self.source + k * share) for k in range(_threads)]
        tasks = [functools.partial(f, to, source, share // BLOCK, repetitions) for to, source in starts]
        return _together(tasks) / repetitions * n / _rounded(n)

    def _computed(self, flops: float, seconds: float) -> float:
        steps = max(1, int(seconds * 2e11 / self.loops.flops))
        elapsed = _together([lambda: self.loops.peak(steps)] * _threads)
        return flops * elapsed / (steps * self.loops.flops * _threads)

    def sample(self, seconds: float = 1e-2) -> float:
        """One estimate."""
        total = sum(self._streamed(self.chosen[name], b, seconds) for name, b in self.parts)
        return total + (self._computed(self.work.flops, seconds) if self.work.flops else 0.0)

    def samples(self, seconds: float) -> list[float]:
        """Estimates of 10 ms each, at least two."""
        self.sample()
        return [self.sample() for _ in range(max(2, int(seconds / 1e-2)))]


def limit(work: Work) -> Bench:
    """What gives a row's limit."""
    limits = _Limits(work)
    return Bench(limits.sample, sampler=limits.samples)


def rates(megabytes: int = 256) -> dict[str, float]:
    """The peak in GFLOP/s, and the copy bandwidth in GB/s (bytes read and written) from and to memory."""
    size = megabytes << 20
    peak, copied = (_Limits(w) for w in (Work(flops=1e9), Work(read=size, written=size)))
    return {
        "GFLOP/s": 1 / statistics.median(peak.samples(0.1)),
        "GB/s": 2 * size / 1e9 / statistics.median(copied.samples(0.1)),
    }
