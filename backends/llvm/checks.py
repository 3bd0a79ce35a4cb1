"""Checks: a comparison on the common path, and a call of `fdl_fail` off it.

The error record keeps the lowest key (site, iteration).  That is the program's first failure as long as the record holds those of
one iteration of the program's loops only: the driver leaves a loop with the iteration that failed, and a loop that runs
inside a kernel seals the record there, so that nothing is lower from then on.
"""

from __future__ import annotations

from fdl.backends.loops import ir
from fdl.tracer import dtypes

from . import scalars
from .text import Code, branch, register_type, vec
from .values import INDEX, Reg, State, value, widen


def check_statement(s: State, check: ir.Check) -> None:
    """Calls `fdl_fail` off the common path; of several lanes, for the first."""
    code = s.code
    s.code.module.external("fdl_fail", "declare void @fdl_fail(ptr, i64, i64, i64, i64, i64)")
    ok = value(s, check.ok)
    values = [value(s, v) for v in check.values]
    lanes = s.vector.lanes if s.vector is not None else 1
    bad, done = code.label("fail"), code.label("ok")
    kind = vec("i1", lanes)
    if s.vector is None or (ok.lanes == 1 and s.vector.mask is None):
        failed = code.pure(f"xor i1 {ok.text}, true", ok.text)
        lane = None
        entry = branch(failed, bad, done)
    else:
        wide = widen(s, ok, dtypes.bool_)
        failed = code.pure(f"xor {kind} {wide}, splat (i1 true)", wide)
        if s.vector.mask is not None:
            failed = code.pure(f"and {kind} {failed}, {s.vector.mask}", failed, s.vector.mask)
        entry = branch(code.any_lane(failed, lanes), bad, done)
        lane = failed
    with code.scope(entry, pinned=True):
        code.start(bad)
        number = "0" if lane is None else _first_lane(code, lane, lanes)
        shown = [_lane_of(s, r, v, number) for r, v in zip(values, check.values, strict=True)]
        shown += ["0"] * (3 - len(shown))
        iteration = _iteration_number(s, number)
        arguments = ", ".join(f"i64 {x}" for x in (str(check.site), iteration, *shown))
        code.do(f"call void @fdl_fail(ptr {s.frame}, {arguments})")
        code.go(done)
    code.start(done)


NO_ERROR = 2**63 - 1
"""The key of a record without a failure."""
_SEALED = -(2**63)
"""A key that nothing is lower than."""
_KEY_OFFSET = 16


def seal_record(s: State) -> None:
    """Keeps the failure that is on record from here on: it came in an earlier iteration than what follows."""
    code = s.code
    slot = code.pure(f"getelementptr inbounds i8, ptr {s.frame}, i64 {_KEY_OFFSET}", s.frame)
    key = code.emit(f"load i64, ptr {slot}, align 8")
    seal, on = code.label("seal"), code.label("on")
    with code.scope(branch(code.emit(f"icmp ne i64 {key}, {NO_ERROR}"), seal, on), pinned=True):
        code.start(seal)
        code.do(f"store i64 {_SEALED}, ptr {slot}, align 8")
        code.go(on)
    code.start(on)


def _first_lane(code: Code, lanes_set: str, lanes: int) -> str:
    word = max(lanes, 8)
    bits = code.pure(f"bitcast <{lanes} x i1> {lanes_set} to i{lanes}", lanes_set)
    if word != lanes:
        bits = code.pure(f"zext i{lanes} {bits} to i{word}", bits)
    code.module.declare(f"declare i{word} @llvm.cttz.i{word}(i{word}, i1)")
    count = code.pure(f"call i{word} @llvm.cttz.i{word}(i{word} {bits}, i1 false)", bits)
    if word == 64:
        return count
    return code.pure(f"{'zext' if word < 64 else 'trunc'} i{word} {count} to i64", count)


def _lane_of(s: State, reg: Reg, node: ir.Value, lane: str) -> str:
    """One lane of a value, as an i64."""
    code = s.code
    text = reg.text
    if reg.lanes > 1:
        text = code.pure(f"extractelement {vec(register_type(node.dtype), reg.lanes)} {reg.text}, i64 {lane}", reg.text, lane)
    text = scalars.convert(code, text, node.dtype, INDEX, 1)
    if reg.step and lane != "0":
        offset = code.pure(f"mul i64 {lane}, {reg.step}", lane)
        text = code.pure(f"add i64 {text}, {offset}", text, offset)
    return text


def _iteration_number(s: State, lane: str) -> str:
    """The number of the iteration of the loops around, in the order in which a serial run would come by."""
    code = s.code
    number: str = "0"
    for position, (variable, extent) in enumerate(s.iteration):
        if number != "0":
            number = code.pure(f"mul i64 {number}, {extent}", number, extent)
            number = code.pure(f"add i64 {number}, {variable}", number, variable)
        else:
            number = variable
        if s.vector is not None and position == s.vector.position and lane != "0":
            number = code.pure(f"add i64 {number}, {lane}", number, lane)
    if not number.startswith("%"):
        return number
    return code.intrinsic("umin", "i64", 1, number, str(2**40 - 1))  # the key has 40 bits for it
