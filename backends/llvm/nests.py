"""Loop IR statements to instructions, inside one function: loops, vector loops, branches, checks.

Every function here writes into `State.code` and leaves it at the block where execution goes on.  A loop's preheader stays
open while its body is written, which is where `Code` puts what does not change in the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from fdl.backends.loops import ir
from fdl.tracer import dtypes

from . import scalars, vectorise
from .text import Code, branch, iota, jump, memory_type, register_type, vec
from .values import INDEX, Reg, State, Vector, combine, fold, identity, integer, known, store, uniform, value, widen

STACK_LIMIT = 4096
"""The largest local buffer, in bytes, that lives on the stack."""
SPLIT = 400
"""Statements in a row after which a new basic block starts."""
UNROLL_LIMIT = 16

Block: TypeAlias = tuple[ir.Stmt, ...]
LoopBody: TypeAlias = Callable[[str, list[Reg]], list[Reg]]
"""Writes a loop's body: from the loop variable and the carries to the next carries."""


def block(s: State, stmts: Block) -> None:
    """Writes statements in order."""
    for stmt in stmts:
        statement(s, stmt)


def statement(s: State, stmt: ir.Stmt) -> None:
    """Writes one statement."""
    s.statements += 1
    if s.statements % SPLIT == 0:
        s.code.split()
    match stmt:
        case ir.Let():
            s.env[stmt.var.name] = value(s, stmt.value)
        case ir.Store():
            index = [value(s, i) for i in stmt.index]
            store(s, stmt.buffer, index, value(s, stmt.value))
        case ir.For():
            _for(s, stmt)
        case ir.While():
            _while(s, stmt)
        case ir.If():
            _if(s, stmt)
        case ir.Alloc():
            allocate(s, stmt.buffer)
        case ir.Check():
            _check(s, stmt)
        case ir.Call():
            _call(s, stmt)
        case ir.Barrier():
            pass  # one thread runs the whole block here
        case _:
            raise AssertionError(f"{type(stmt).__name__} cannot stand inside a kernel: the schedule keeps it in the driver")


# --- buffers --------------------------------------------------------------------------------------


def allocate(s: State, buffer: ir.Buffer) -> None:
    """Gives a temporary its address: in the arena, on the stack, or in the thread's scratch."""
    code = s.code
    if buffer.name in s.offsets:
        arena = code.pure(f"load ptr, ptr {s.frame}, align 8", s.frame)
        s.pointers[buffer.name] = code.pure(f"getelementptr inbounds i8, ptr {arena}, i64 {s.offsets[buffer.name]}", arena)
        return
    if buffer.nbytes <= STACK_LIMIT:
        if buffer.name not in s.pointers:
            s.pointers[buffer.name] = code.alloca(memory_type(buffer.dtype), max(buffer.size, 1), 64)
        return
    s.pointers[buffer.name] = take_scratch(s, buffer.nbytes)


def take_scratch(s: State, nbytes: int) -> str:
    """A piece of the function's scratch block, 64-byte aligned."""
    offset = s.scratch_bytes
    s.scratch_bytes += -(-nbytes // 64) * 64
    return s.code.pure(f"getelementptr inbounds i8, ptr {s.scratch}, i64 {offset}", s.scratch)


def stored_buffers(stmts: Iterable[ir.Stmt]) -> set[str]:
    """The names of the buffers that statements write."""
    names: set[str] = set()
    for stmt in ir.walk(tuple(stmts)):
        match stmt:
            case ir.Store():
                names.add(stmt.buffer.name)
            case ir.Call() | ir.Callback():
                names |= {r.buffer.name for r in stmt.outputs}
            case _:
                pass
    return names


class _Writes:
    """While open, loads of the buffers that a loop stores to stay inside it."""

    def __init__(self, s: State, names: Iterable[str]) -> None:
        self.s = s
        self.names = tuple(names)

    def __enter__(self) -> None:
        self.saved = dict(self.s.floors)
        for name in self.names:
            self.s.floors[name] = self.s.code.level
            self.s.touch(name)

    def __exit__(self, *_: object) -> None:
        self.s.floors = self.saved
        for name in self.names:
            self.s.touch(name)


# --- loops ----------------------------------------------------------------------------------------


def _for(s: State, loop: ir.For) -> None:
    if loop.kind == "vector" and s.vector is None:
        plan = vectorise.plan(loop, s.code.target)
        if plan is not None:
            _vector_for(s, loop, plan)
            return
    extent = value(s, loop.extent)
    n = known(extent)
    inits = [value(s, c.init) for c in loop.carries]
    if n is not None and n <= 0:
        _bind_results(s, loop, inits)
    elif n is not None and loop.kind == "unroll" and n <= UNROLL_LIMIT:
        _unrolled(s, loop, n, inits)
    elif n is not None:
        _bind_results(s, loop, counted(s, loop, "0", extent.text, extent.text, inits))
    else:
        _bind_results(s, loop, _guarded(s, loop, extent.text, inits))


def _bind_results(s: State, loop: ir.For, regs: list[Reg]) -> None:
    for c, reg in zip(loop.carries, regs, strict=True):
        s.env[c.result.name] = reg


def _unrolled(s: State, loop: ir.For, n: int, regs: list[Reg]) -> None:
    for i in range(n):
        s.env[loop.var.name] = integer(i)
        for c, reg in zip(loop.carries, regs, strict=True):
            s.env[c.var.name] = reg
        s.iteration.append((str(i), str(n)))
        block(s, loop.body)
        regs = [value(s, c.next) for c in loop.carries]
        s.iteration.pop()
    _bind_results(s, loop, regs)


def _guarded(s: State, loop: ir.For, extent: str, inits: list[Reg]) -> list[Reg]:
    """A loop whose extent is known at run time only, and may be zero."""
    inits = [_in_lanes(s, c, r) for c, r in zip(loop.carries, inits, strict=True)]
    kinds = [register_type(c.var.dtype) for c in loop.carries]
    return when_positive(s, extent, kinds, inits, _body(s, loop, extent), stored_buffers(loop.body))


def when_positive(
    s: State,
    extent: str,
    kinds: list[str],
    inits: list[Reg],
    body: LoopBody,
    stored: Iterable[str] = (),
    latch: Callable[[str], None] | None = None,
) -> list[Reg]:
    """As `raw_loop` over 0..extent-1, where there may be no iteration."""
    code = s.code
    run, done = code.label("run"), code.label("done")
    before = code.block
    with code.scope(branch(code.pure(f"icmp sgt i64 {extent}, 0", extent), run, done), barrier=True):
        code.start(run)
        results = raw_loop(s, "0", extent, 1, kinds, inits, stored, body, latch)
        after = code.block
        code.go(done)
    code.start(done)
    merged = []
    for kind, init, result in zip(kinds, inits, results, strict=True):
        phi = f"phi {vec(kind, result.lanes)} [ {init.text}, %{before} ], [ {result.text}, %{after} ]"
        merged.append(Reg(code.emit(phi), result.lanes))
    return merged


def _in_lanes(s: State, carry: ir.Carry, reg: Reg) -> Reg:
    """The carry's initial value in the form that it has through the loop."""
    if s.vector is not None and carry.var.name in s.vector.varying:
        return Reg(widen(s, reg, carry.var.dtype), s.vector.lanes)
    assert reg.uniform, carry
    return reg


def _body(s: State, loop: ir.For, total: str) -> LoopBody:
    """The writer of a loop's body."""

    def body(i: str, regs: list[Reg]) -> list[Reg]:
        s.env[loop.var.name] = Reg(i, nonnegative=True)
        for c, reg in zip(loop.carries, regs, strict=True):
            s.env[c.var.name] = reg
        s.iteration.append((i, total))
        block(s, loop.body)
        s.iteration.pop()
        return [_in_lanes(s, c, value(s, c.next)) for c in loop.carries]

    return body


def counted(s: State, loop: ir.For, first: str, end: str, total: str, inits: list[Reg]) -> list[Reg]:
    """The carries after iterations first..end-1 (at least one) of `total`."""
    inits = [_in_lanes(s, c, r) for c, r in zip(loop.carries, inits, strict=True)]
    kinds = [register_type(c.var.dtype) for c in loop.carries]
    return raw_loop(s, first, end, 1, kinds, inits, stored_buffers(loop.body), _body(s, loop, total))


def identity_of(carry: ir.Carry) -> str:
    """The operand that changes nothing under the carry's operation."""
    return scalars.constant(identity(carry.combine or "", carry.var.dtype), carry.var.dtype)


def raw_loop(
    s: State,
    first: str,
    end: str,
    step: int,
    kinds: list[str],
    inits: list[Reg],
    stored: Iterable[str],
    body: LoopBody,
    latch: Callable[[str], None] | None = None,
) -> list[Reg]:
    """A loop over first, first + step, ... below `end`, which runs at least once; the carries' last values.

    Args:
        kinds: the LLVM element type of each carry.
        stored: the buffers that the body writes.
        latch: writes more at the end of an iteration, given the number of the next one.
    """
    code = s.code
    head, done = code.label("loop"), code.label("end")
    before = code.block
    with code.scope(jump(head)):
        code.start(head)
        place = code.reserve()
        i = code.name("i")
        code.depth[i] = code.level
        names = [Reg(code.name("c"), r.lanes) for r in inits]
        for reg in names:
            code.depth[reg.text] = code.level
        with _Writes(s, stored):
            nexts = body(i, names)
        following = code.emit(f"add nuw nsw i64 {i}, {step}", "i")
        if latch is not None:
            latch(following)
        phis = [f"{i} = phi i64 [ {first}, %{before} ], [ {following}, %{code.block} ]"]
        for kind, name, init, new in zip(kinds, names, inits, nexts, strict=True):
            typed = vec(kind, init.lanes)
            phis.append(f"{name.text} = phi {typed} [ {init.text}, %{before} ], [ {new.text}, %{code.block} ]")
        code.fill(place, phis)
        code.do(branch(code.emit(f"icmp ult i64 {following}, {end}"), head, done))
        code.start(done)
    for reg in nexts:  # the last block dominates what follows
        if code.depth.get(reg.text, 0) > code.level:
            code.depth[reg.text] = code.level
    return [Reg(r.text, r.lanes) for r in nexts]


# --- vector loops ---------------------------------------------------------------------------------


def _vector_for(s: State, loop: ir.For, plan: vectorise.Plan) -> None:
    """Full vectors first, then one masked vector, or a scalar loop, for what is left over."""
    extent = value(s, loop.extent)
    n = known(extent)
    inits = [value(s, c.init) for c in loop.carries]
    totals = _vector_static(s, loop, plan, n) if n is not None else _vector_dynamic(s, loop, plan, extent.text)
    results = []
    for c, init, total in zip(loop.carries, inits, totals, strict=True):
        if total is None:
            results.append(init)
            continue
        assert c.combine is not None
        results.append(Reg(combine(s.code, c.combine, c.var.dtype, init.text, total, 1)))
    _bind_results(s, loop, results)


def _identities(loop: ir.For, lanes: int) -> list[str]:
    return [scalars.constant(identity(c.combine or "", c.var.dtype), c.var.dtype, lanes) for c in loop.carries]


def _folded(s: State, loop: ir.For, parts: list[str], lanes: int, to: int) -> list[str]:
    pairs = zip(loop.carries, parts, strict=True)
    return [fold(s.code, c.combine or "", c.var.dtype, p, lanes, to) for c, p in pairs]


def _vector_static(s: State, loop: ir.For, plan: vectorise.Plan, n: int) -> list[str] | list[None]:
    """The carries' partial results over n iterations; None where there is no iteration."""
    if n <= 0:
        return [None] * len(loop.carries)
    if n == 1:
        return _scalar_rest(s, loop, "0", "1", True, _identities(loop, 1))
    lanes = plan.lanes
    while lanes > plan.smallest and lanes // 2 >= n:
        lanes //= 2
    main = n - n % lanes
    parts, width = _identities(loop, lanes), lanes
    if main:
        parts = _full_vectors(s, loop, plan, lanes, str(main), main == lanes, str(n), parts)
    rest = n - main
    while rest:
        if not plan.masked:
            while width > rest:
                width //= 2
            if width < plan.smallest:
                break
            parts = _folded(s, loop, parts, lanes, width)
            parts = _one_vector(s, loop, plan, width, None, integer(n - rest), str(n), parts)
            lanes, rest = width, rest - width
            continue
        while width // 2 >= max(rest, plan.smallest):
            width //= 2
        parts = _folded(s, loop, parts, lanes, width)
        mask = None if rest == width else "<" + ", ".join(f"i1 {'true' if i < rest else 'false'}" for i in range(width)) + ">"
        parts = _one_vector(s, loop, plan, width, mask, integer(main), str(n), parts)
        lanes, rest = width, 0
    parts = _folded(s, loop, parts, lanes, 1)
    return _scalar_rest(s, loop, str(n - rest), str(n), rest == 1, parts) if rest else parts


def _vector_dynamic(s: State, loop: ir.For, plan: vectorise.Plan, n: str) -> list[str]:
    """As `_vector_static` for an extent known at run time."""
    code, lanes = s.code, plan.lanes
    parts = _identities(loop, lanes)
    main = code.pure(f"and i64 {n}, {-lanes}", n)

    def full() -> list[str]:
        return _full_vectors(s, loop, plan, lanes, main, False, n, parts)

    def masked() -> list[str]:
        left = code.pure(f"sub i64 {n}, {main}", n, main)
        bound = code.splat("i32", code.pure(f"trunc i64 {left} to i32", left), lanes)
        mask = code.pure(f"icmp ult {vec('i32', lanes)} {iota('i32', lanes)}, {bound}", bound)
        return _one_vector(s, loop, plan, lanes, mask, Reg(main, align=lanes, nonnegative=True), n, parts)

    parts = _when(s, loop, code.pure(f"icmp sgt i64 {n}, {lanes - 1}", n), parts, lanes, full)
    left_over = code.pure(f"icmp slt i64 {main}, {n}", main, n)
    if plan.masked:
        parts = _when(s, loop, left_over, parts, lanes, masked)
        return _folded(s, loop, parts, lanes, 1)
    parts = _folded(s, loop, parts, lanes, 1)
    return _when(s, loop, left_over, parts, 1, lambda: _scalar_rest(s, loop, main, n, False, parts))


def _when(s: State, loop: ir.For, condition: str, parts: list[str], lanes: int, body: Callable[[], list[str]]) -> list[str]:
    """`body()`'s partial results where the condition holds, else `parts`."""
    code = s.code
    run, done = code.label("run"), code.label("done")
    before = code.block
    with code.scope(branch(condition, run, done), barrier=True):
        code.start(run)
        results = body()
        after = code.block
        code.go(done)
    code.start(done)
    kinds = [vec(register_type(c.var.dtype), lanes) for c in loop.carries]
    pairs = zip(kinds, parts, results, strict=True)
    return [code.emit(f"phi {kind} [ {old}, %{before} ], [ {new}, %{after} ]") for kind, old, new in pairs]


def _full_vectors(
    s: State, loop: ir.For, plan: vectorise.Plan, lanes: int, end: str, once: bool, total: str, parts: list[str]
) -> list[str]:
    """All lanes, no mask: iterations 0, lanes, 2 lanes, ... below `end`."""
    if once:
        return _one_vector(s, loop, plan, lanes, None, integer(0), total, parts)

    def body(i: str, regs: list[Reg]) -> list[Reg]:
        base = Reg(i, align=lanes, nonnegative=True)
        return [Reg(p, lanes) for p in _one_vector(s, loop, plan, lanes, None, base, total, [r.text for r in regs])]

    kinds = [register_type(c.var.dtype) for c in loop.carries]
    inits = [Reg(p, lanes) for p in parts]
    return [r.text for r in raw_loop(s, "0", end, lanes, kinds, inits, stored_buffers(loop.body), body)]


def _one_vector(
    s: State, loop: ir.For, plan: vectorise.Plan, lanes: int, mask: str | None, base: Reg, total: str, parts: list[str]
) -> list[str]:
    """The body once, on `lanes` iterations from `base`; the carries' new partial results."""
    code = s.code
    s.vector = Vector(lanes, mask, plan.varying, len(s.iteration))
    s.env[loop.var.name] = base._replace(step=1)
    for c, part in zip(loop.carries, parts, strict=True):
        s.env[c.var.name] = Reg(part, lanes)
    s.iteration.append((base.text, total))
    block(s, loop.body)
    s.iteration.pop()
    results = []
    for c, part in zip(loop.carries, parts, strict=True):
        new = widen(s, value(s, c.next), c.var.dtype)
        if mask is not None:
            kind = vec(register_type(c.var.dtype), lanes)
            new = code.pure(f"select {vec('i1', lanes)} {mask}, {kind} {new}, {kind} {part}", mask, new, part)
        results.append(new)
    s.vector = None
    return results


def _scalar_rest(s: State, loop: ir.For, first: str, n: str, once: bool, parts: list[str]) -> list[str]:
    """The last iterations one by one, on targets without masked loads."""
    inits = [Reg(p) for p in parts]
    if not once:
        return [r.text for r in counted(s, loop, first, n, n, inits)]
    s.env[loop.var.name] = Reg(first, nonnegative=True)
    for c, reg in zip(loop.carries, inits, strict=True):
        s.env[c.var.name] = reg
    s.iteration.append((first, n))
    block(s, loop.body)
    s.iteration.pop()
    return [value(s, c.next).text for c in loop.carries]


# --- branches -------------------------------------------------------------------------------------


def _if(s: State, stmt: ir.If) -> None:
    code = s.code
    condition = value(s, stmt.condition)
    if s.vector is not None and condition.lanes > 1:
        _predicated(s, stmt.then, condition.text)
        if stmt.orelse:
            kind = vec("i1", condition.lanes)
            _predicated(s, stmt.orelse, code.pure(f"xor {kind} {condition.text}, splat (i1 true)", condition.text))
        return
    if_uniform(s, stmt, condition.text, lambda stmts: block(s, stmts))


def if_uniform(s: State, stmt: ir.If, condition: str, body: Callable[[Block], None]) -> None:
    """A branch; `body` writes an arm."""
    code = s.code
    yes, done = code.label("then"), code.label("endif")
    no = code.label("else") if stmt.orelse else done
    code.do(branch(condition, yes, no))
    for label, stmts in ((yes, stmt.then), (no, stmt.orelse)):
        if label != done:
            with code.scope(pinned=True):
                code.start(label)
                body(stmts)
                code.go(done)
    code.start(done)


def _predicated(s: State, stmts: Block, condition: str) -> None:
    """Statements for the lanes where the condition holds; jumped over when there is none."""
    code = s.code
    assert s.vector is not None
    outer = s.vector
    lanes = outer.lanes
    kind = vec("i1", lanes)
    mask = condition if outer.mask is None else code.pure(f"and {kind} {outer.mask}, {condition}", outer.mask, condition)
    yes, done = code.label("some"), code.label("endsome")
    with code.scope(branch(code.any_lane(mask, lanes), yes, done), pinned=True):
        code.start(yes)
        s.vector = replace(outer, mask=mask)
        block(s, stmts)
        code.go(done)
    s.vector = outer
    code.start(done)


def _while(s: State, stmt: ir.While) -> None:
    while_loop(s, stmt, lambda stmts: block(s, stmts), lambda _: None)


def while_loop(s: State, stmt: ir.While, body: Callable[[Block], None], latch: Callable[[str], None]) -> None:
    """A `While`; `body` writes a block, and `latch` the end of an iteration, given the number of the next one."""
    code = s.code
    head, run, done = code.label("while"), code.label("do"), code.label("endwhile")
    before = code.block
    with code.scope(jump(head)):
        code.start(head)
        place = code.reserve()
        i = code.name("i")
        code.depth[i] = code.level
        with _Writes(s, stored_buffers((*stmt.prelude, *stmt.body))):
            s.iteration.append((i, "4294967296"))
            body(stmt.prelude)
            with code.scope(branch(uniform(s, stmt.condition), run, done), barrier=True):
                code.start(run)
                body(stmt.body)
                following = code.emit(f"add i64 {i}, 1", "i")
                latch(following)
                last = code.block
                code.go(head)
            s.iteration.pop()
        code.fill(place, [f"{i} = phi i64 [ 0, %{before} ], [ {following}, %{last} ]"])
        code.start(done)


# --- checks and calls -----------------------------------------------------------------------------


def _check(s: State, check: ir.Check) -> None:
    """Calls `fdl_fail` off the common path; of several lanes, for the first."""
    code = s.code
    s.code.module.external("fdl_fail", "declare void @fdl_fail(ptr, i64, i64, i64, i64, i64)")
    ok = value(s, check.ok)
    values = [value(s, v) for v in check.values]
    lanes = s.vector.lanes if s.vector is not None else 1
    bad, done = code.label("fail"), code.label("ok")
    kind = vec("i1", lanes)
    if s.vector is None or ok.lanes == 1 and s.vector.mask is None:
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


def _call(s: State, call: ir.Call) -> None:
    """A tile kernel that has a hand-written function; the others are loops by now."""
    code = s.code
    tile = s.tiles[id(call)]
    for line in tile.declares:
        code.module.declare(line)
    code.module.helpers.update(tile.parts)
    refs = (*call.outputs, *call.inputs)
    scratch = take_scratch(s, tile.scratch_bytes) if tile.scratch_bytes else "null"
    pointers = [ref_pointer(s, r) for r in refs]
    sizes = [uniform(s, n) for r in refs for n in r.shape]
    others = [uniform(s, v) for v in call.scalars]
    arguments = [f"ptr {p}" for p in (scratch, *pointers)] + [f"i64 {n}" for n in (*sizes, *others)]
    code.do(f"call void @{tile.symbol}({', '.join(arguments)})")
    for r in call.outputs:
        s.touch(r.buffer.name)


def ref_pointer(s: State, ref: ir.Ref) -> str:
    """The address of a window's first element."""
    pointer = s.pointers[ref.buffer.name]
    offset = uniform(s, ref.offset)
    if offset == "0":
        return pointer
    return s.code.pure(f"getelementptr inbounds {memory_type(ref.buffer.dtype)}, ptr {pointer}, i64 {offset}", pointer, offset)
