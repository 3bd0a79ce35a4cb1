"""How far a backend's results may be from the reference: measured, by running the program with rounding errors of random size.

Each equation that is not exact has a tolerance in `primitive_table`.  `Interpreter` computes what the reference does, and moves the result
of every such equation by a random amount within that tolerance; what comes out at the end differs by what the program makes of such
errors, its amplification included.  Where exact equations alone lead to an output it does not differ at all, and the same bits are asked
for.  (Stochastic arithmetic: J. Vignes, "A stochastic arithmetic for reliable scientific computation", 1993.)

The interpreter has its own cond, while and scan, so that with amplitude 0 it is a second opinion on control flow, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.ir import Equation, Literal, Program
from fdl.tracer.primitive import Call, Elementwise

from .entries import COMPLEX_ULPS, ULPS
from .values import Array, kind

LINEAR = frozenset({
    "reduce_sum", "cumsum", "window_sum", "dot_general", "conv", "conv_input_grad", "conv_filter_grad", "window_scatter",
})  # fmt: skip
"""Sums of products: their errors are relative to the sum of the absolute values."""
SOLVERS = frozenset({
    "cholesky", "lu", "lu_solve", "triangular_solve", "qr", "eigh", "eig", "svd", "sqrtm", "schur", "hessenberg", "sylvester",
    "interleaved",
})  # fmt: skip
"""Stable algorithms: they give what is exact for a matrix close to the one given."""
ZEROS = frozenset({
    "max", "min", "reduce_max", "reduce_min", "cummax", "cummin", "window_max", "window_min", "sort", "reduce_sum", "cumsum",
    "window_sum", "dot_general", "conv", "conv_input_grad", "conv_filter_grad", "scatter", "window_scatter", "reduce_prod", "cumprod",
})  # fmt: skip
"""A zero that comes out of these may have either sign: that of the first operand or of the second, with a neutral element or without."""
EPS = {
    dtypes.float16: 2.0**-10, dtypes.bfloat16: 2.0**-7, dtypes.float32: 2.0**-23, dtypes.float64: 2.0**-52,
    dtypes.complex64: 2.0**-23, dtypes.complex128: 2.0**-52,
}  # fmt: skip
TINY = {
    dtypes.float16: 2.0**-14, dtypes.bfloat16: 2.0**-126, dtypes.float32: 2.0**-126, dtypes.float64: 2.0**-1022,
    dtypes.complex64: 2.0**-126, dtypes.complex128: 2.0**-1022,
}  # fmt: skip

HUGE = {
    dtypes.float16: 65504.0, dtypes.bfloat16: 3e38, dtypes.float32: 3e38, dtypes.float64: 1e307, dtypes.complex64: 3e38,
    dtypes.complex128: 1e307,
}  # fmt: skip


class Interpreter:
    """Runs programs on NumPy, with random errors.

    Args:
        amplitude: of the errors, in tolerances; 0 for none.
        common: whether all elements of an array move the same way, as with a biased approximation.
    """

    def __init__(self, amplitude: float, rng: np.random.Generator, common: bool = False) -> None:
        self.amplitude, self.rng, self.common = amplitude, rng, common

    def run(self, program: Program, args: Sequence[Any]) -> list[Any]:
        """The outputs of a program for its inputs; its constants have their own values."""
        env: dict[Any, Any] = dict(zip(program.inputs, args, strict=True))
        env.update(zip(program.constants, program.values, strict=True))

        def read(a: Any) -> Any:
            return a.value if isinstance(a, Literal) else env[a]

        with np.errstate(all="ignore"):
            for e in program.equations:
                env.update(zip(e.outputs, self.equation(e, [read(a) for a in e.inputs]), strict=True))
        return [read(a) for a in program.outputs]

    def equation(self, e: Equation, xs: Sequence[Any]) -> Sequence[Any]:
        """The outputs of one equation."""
        p, name = e.params, e.primitive.name
        match name:
            case "jit":
                return self.run(p["program"], xs)
            case "cond":
                return self.run(p["branches"][min(max(int(xs[0]), 0), len(p["branches"]) - 1)], xs[1:])
            case "while":
                return self._while(xs, **p)
            case "scan":
                return self._scan(e, xs, **p)
        lowering = e.primitive.lowering
        if isinstance(lowering, Call):
            callee = lowering.callee(p, [a.type for a in e.inputs]) if lowering.typed else lowering.callee(p)
            return self.run(callee, lowering.operands(xs, p))
        return self._leaf(e, xs)

    def _while(self, xs: Sequence[Any], cond: Program, body: Program, n_cond: int, n_body: int) -> Sequence[Any]:
        first, second, carry = xs[:n_cond], xs[n_cond : n_cond + n_body], xs[n_cond + n_body :]
        while self.run(cond, [*first, *carry])[0]:
            carry = self.run(body, [*second, *carry])
        return carry

    def _scan(
        self,
        e: Equation,
        xs: Sequence[Any],
        body: Program,
        n_consts: int,
        n_carry: int,
        length: int,
        reverse: bool,
        unroll: int = 1,
    ) -> Sequence[Any]:
        consts, carry, rows = xs[:n_consts], xs[n_consts : n_consts + n_carry], xs[n_consts + n_carry :]
        stacks: list[dict[int, Any]] = [{} for _ in e.outputs[n_carry:]]
        for i in sorted(range(length), reverse=reverse):
            outs = self.run(body, [*consts, *carry, *(np.asarray(x)[i] for x in rows)])
            carry = outs[:n_carry]
            for stack, y in zip(stacks, outs[n_carry:], strict=True):
                stack[i] = y
        ys = [
            np.stack([s[i] for i in range(length)]) if length else np.zeros(v.type.shape, v.type.dtype)
            for s, v in zip(stacks, e.outputs[n_carry:], strict=True)
        ]
        return [*carry, *ys]

    def _leaf(self, e: Equation, xs: Sequence[Any]) -> Sequence[Any]:
        name, primitive = e.primitive.name, e.primitive
        amplitude = self.amplitude
        is_complex = any(dtypes.is_complex(a.type.dtype) for a in (*e.inputs, *e.outputs))
        ulps = (COMPLEX_ULPS if is_complex else ULPS).get(name, 0.0)
        if amplitude and name in SOLVERS:
            xs = [self._moved(x, 16 * amplitude, self._largest(x)) for x in xs]
        out = primitive.reference(*xs, **e.params)
        outs: Sequence[Any] = out if primitive.multiple else (out,)
        if not amplitude:
            return outs
        if name in ZEROS or name == "select":
            outs = [self._signs(y) if name in ZEROS else y for y in outs]
        if not ulps:
            return outs
        if name in LINEAR or (name == "scatter" and e.params["op"] in ("add", "mul")):
            with_abs = [_finite(np.abs(x)) if dtypes.is_inexact(np.asarray(x).dtype) else x for x in xs]
            if name == "window_scatter":  # where the extremum stands is the operand's to say
                with_abs[0] = xs[0]
            scales = [np.asarray(primitive.reference(*with_abs, **e.params))]
            # Where a partial sum may overflow, its order decides between an infinity, NaN and a number.
            outs = [
                np.where(np.isfinite(_wide(scales[0])), outs[0], self.rng.choice([0.0, np.nan])).astype(
                    np.asarray(outs[0]).dtype
                )
            ]
        elif isinstance(primitive.lowering, Elementwise):
            scales = [np.abs(np.asarray(y)) for y in outs]
        elif name in ("reduce_prod", "cumprod"):
            # Where the product of some factors may overflow, it meets a zero of the others or not by their order.
            (x,) = xs
            most = _wide(np.asarray(primitive.reference(np.maximum(np.abs(np.asarray(x)), 1).astype(np.asarray(x).dtype), **e.params)))
            outs = [np.where(np.isfinite(most), outs[0], self.rng.choice([0.0, np.nan])).astype(np.asarray(outs[0]).dtype)]
            scales = [np.abs(np.asarray(y)) for y in outs]
        else:
            scales = [self._largest(y) for y in outs]
        return [self._moved(y, ulps * amplitude, s) for y, s in zip(outs, scales, strict=True)]

    def _largest(self, x: Any) -> Any:
        x = np.asarray(x)
        if not dtypes.is_inexact(x.dtype):
            return 0
        return np.max(np.abs(np.where(np.isfinite(_wide(x)), _wide(x), 0)), initial=0.0)

    def _moved(self, x: Any, ulps: float, scale: Any) -> Any:
        """`x` with errors of up to `ulps` units in the last place of `scale`; what may be zero, now and then is: quotients tell."""
        x = np.asarray(x)
        if not dtypes.is_inexact(x.dtype):
            return x
        wide = _wide(x)
        size = ulps * EPS[x.dtype] * np.maximum(np.abs(_wide(np.asarray(scale))), TINY[x.dtype])
        size = np.where(np.isfinite(size), size, ulps * EPS[x.dtype] * HUGE[x.dtype])  # a sum of absolute values may overflow
        if self.common:
            noise: Any = self.rng.choice([-1.0, 1.0]) * self.rng.uniform(0.5, 1)
        else:
            noise = self.rng.uniform(-1, 1, x.shape)
        moved = wide + noise * size
        if kind(x.dtype) == "c":
            moved = moved + 1j * self.rng.uniform(-1, 1, x.shape) * size
        near = np.abs(wide) <= size
        if near.any():
            moved = np.where(near & (self.rng.random(x.shape) < 0.5), 0, moved)
        if x.dtype == dtypes.float64 or x.dtype == dtypes.complex128:
            return np.where(np.isfinite(wide), moved, x)
        return np.where(np.isfinite(wide), moved, wide).astype(np.float32 if kind(x.dtype) == "f" else x.dtype).astype(x.dtype)

    def _signs(self, x: Any) -> Any:
        """`x` with zeros of random sign."""
        x = np.asarray(x)
        if kind(x.dtype) != "f" or not (x == 0).any():
            return x
        return np.where((x == 0) & (self.rng.random(x.shape) < 0.5), -x, x).astype(x.dtype)


def _finite(x: Any) -> Any:
    return np.where(np.isfinite(_wide(x)), x, 0).astype(x.dtype)


def _wide(x: Any) -> Any:
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


# --- comparison -----------------------------------------------------------------------------------

RUNS = 3
MARGIN = 3.0
"""What the errors of the first runs are multiplied by: three runs seldom meet the worst ones together."""
CLOSER = (1.0, 1.0, 4.0)
"""Amplitudes of the runs that follow where that is not enough, before a difference counts; then twice the errors met are allowed."""
AGAIN = 24


class Tolerance:
    """What outputs of a program on given inputs are acceptable.

    Attributes:
        expected: the reference's outputs.
        unsure: the share of elements that rounding errors may change beyond a hundredth of their size, or 16 ulp of a half-precision type.
    """

    def __init__(self, program: Program, inputs: Sequence[Any], seed: int) -> None:
        self.program, self.inputs, self.seed = program, inputs, seed
        self.rng = np.random.default_rng(seed)
        self.expected = [np.asarray(x) for x in Interpreter(0, self.rng).run(program, inputs)]
        self.runs: list[list[Array]] = []
        self.exact = is_exact(program)
        for k in range(0 if self.exact else RUNS):
            self.runs.append(self._run(1.0, common=k == 2))
        self.unsure = self._unsure()

    def _run(self, amplitude: float, common: bool) -> list[Array]:
        return [np.asarray(x) for x in Interpreter(amplitude, self.rng, common).run(self.program, self.inputs)]

    def _unsure(self) -> float:
        total = bad = 0
        for i, e in enumerate(self.expected):
            if not dtypes.is_inexact(e.dtype):
                continue
            total += e.size
            if self.runs:
                with np.errstate(all="ignore"):
                    part = max(0.01, 16 * EPS[e.dtype])
                    bad += int(np.sum(self._spread(i) > part * np.abs(_wide(e)) + 1e-6))
        return bad / total if total else 0.0

    def _spread(self, i: int) -> Any:
        """How far the elements of output `i` moved; infinite where one is finite in one run and not in another."""
        e = _wide(self.expected[i]) if self.expected[i].dtype != np.bool_ else self.expected[i].astype(np.float64)
        spread: Any = np.zeros(e.shape)
        with np.errstate(all="ignore"):
            for outs in self.runs:
                o = outs[i].astype(e.dtype)
                d = np.where(_same(o, e), 0, np.abs(o - e))
                spread = np.maximum(spread, np.where(np.isnan(d), np.inf, d))
        return spread

    def mismatch(self, i: int, actual: Array) -> str:
        """What is wrong with `actual` as output `i`; "" where nothing is."""
        e = self.expected[i]
        a = np.asarray(actual)
        if (a.shape, a.dtype) != (e.shape, e.dtype):
            return f"output {i} is {a.dtype}{a.shape}, expected {e.dtype}{e.shape}"
        margin = MARGIN if len(self.runs) <= RUNS else 2.0
        bad = self._bad(i, a, margin)
        if bad.any() and len(self.runs) == RUNS:  # look closer: more errors, and larger ones
            for k in range(AGAIN):
                self.runs.append(self._run(CLOSER[k % len(CLOSER)], common=bool(k % 2)))
            margin = 2.0
            bad = self._bad(i, a, margin)
        if bad.any() and not self.exact:
            bad &= ~self._flipped(i, a)
        if not bad.any():
            return ""
        at = tuple(int(k) for k in np.argwhere(bad)[0])
        return (
            f"output {i}{list(at)} is {a[at]!r}, expected {e[at]!r} ± {float(np.max(self._spread(i)[at])) * margin:.3g}; "
            f"{int(bad.sum())} of {e.size} elements are wrong"
        )

    def _bad(self, i: int, a: Array, margin: float) -> Any:
        e = self.expected[i]
        wide = (lambda x: x.astype(np.float64)) if e.dtype == np.bool_ else _wide
        we, wa, spread = wide(e), wide(a), self._spread(i)
        with np.errstate(all="ignore"):
            off = np.where(_same(wa, we), 0, np.abs(wa - we))
            bad = ~(off <= margin * spread) & ~np.isinf(spread)
            if kind(e.dtype) == "i" and bad.any():  # beyond 2**53
                bad &= a != e
        return np.asarray(bad)

    def _flipped(self, i: int, a: Array) -> Any:
        """Where an error that rounding hid in every run may have shown: a last bit of what depends on something inexact."""
        e = self.expected[i]
        wild = self._run(2000.0, common=False)[i]
        tainted = ~_same(_wide(wild), _wide(e)) if e.dtype != np.bool_ else wild != e
        if not dtypes.is_inexact(e.dtype):
            return tainted & False
        with np.errstate(all="ignore"):
            near = np.abs(_wide(a) - _wide(e)) <= 2 * EPS[e.dtype] * np.maximum(np.abs(_wide(e)), TINY[e.dtype])
        return tainted & near


def _same(a: Any, b: Any) -> Any:
    return (a == b) | ((a != a) & (b != b))


def is_exact(program: Program) -> bool:
    """Whether every equation gives the same bits on every backend, so that no errors need be tried."""
    for e in _all(program):
        name = e.primitive.name
        if isinstance(e.primitive.lowering, Call) and e.primitive.lowering.typed:
            return False
        if ULPS.get(name, 0) or COMPLEX_ULPS.get(name, 0) or name in ZEROS:
            if any(dtypes.is_inexact(v.type.dtype) for v in (*e.outputs, *e.inputs)):
                return False
    return True


def _all(program: Program) -> list[Equation]:
    found: list[Equation] = []
    for e in program.equations:
        found.append(e)
        for v in e.params.values():
            for p in v if isinstance(v, tuple) else (v,):
                if isinstance(p, Program):
                    found += _all(p)
    return found
