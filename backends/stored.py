"""A compiled program, and the same as an entry of the store on disk.

What a call needs is little: machine code, the sizes of its arguments, the lines that its errors name.  The loop IR and the memory plan are
made again when somebody asks to see them.

The key of a program is the digest of its canonical form, which tells programs apart by all that their code depends on: operations,
parameters, types and literals.  Functions that it calls back are no part of it, since code holds their numbers only.  Where an error may
be raised the source lines count too, because the entry holds them.

May be imported by: `executable`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from fdl.tracer.ir import MAY_FAIL, Equation, Program, Type, subprograms
from fdl.tracer.primitive import Named
from fdl.tracer.records import dataclass

from . import cache, lapack
from .llvm.fences import Place
from .llvm.guards import Layout
from .llvm.run import Module
from .llvm.shared import Linked, are_loaded
from .llvm.target import Target
from .loops.ir import Site


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program's machine code and what a call needs besides.

    `sites` are the routine's; `over` maps outputs to the donated inputs whose memory they take over; `is_long` says that a call may take
    more than a few microseconds; `callbacks` is the number of functions that it calls back.
    """

    module: Module
    sites: tuple[Site, ...]
    over: Mapping[int, int]
    is_long: bool
    callbacks: int


def compiled(program: Program, target: Target, donated: Sequence[int], guarded: bool, make: Callable[[], Compiled]) -> Compiled:
    """The compiled program from the store, or what `make` gives, which is then stored; `guarded` code is other code."""
    store = cache.store()
    key = None if store is None else key_of(program, target, donated, guarded)
    if store is None or key is None:
        return make()
    entry = store.get(key)
    found = None if entry is None else _from_entry(entry)
    if found is None:
        found = make()
        store.put(key, _to_entry(found))
    return found


def sources_of(program: Program) -> tuple[str, ...]:
    """The source lines that an error of the compiled program may name; () for one that cannot fail."""
    found: tuple[str, ...] = program.cached("sources", lambda: _sources(program))
    return found


def _sources(program: Program) -> tuple[str, ...]:
    if MAY_FAIL not in program.effects:
        return ()
    return tuple(s for e in program.equations if MAY_FAIL in e.effects for s in (e.source, *_inner_sources(e)))


def _inner_sources(e: Equation) -> list[str]:
    return [s for p in subprograms(e.params) for s in sources_of(p)]


def key_of(program: Program, target: Target, donated: Sequence[int], guarded: bool = False) -> str | None:
    """The key of a compiled program; None where a parameter has a form that is not known here."""
    hasher = hashlib.blake2b(digest_size=20)
    try:
        _feed(hasher.update, program.canonical)
    except TypeError:
        return None
    facts = [cache.fingerprint(), repr(target), repr(tuple(donated)), *sources_of(program)]
    if guarded:
        facts.append("guarded")
    if _calls_lapack(program):
        facts.append(f"LAPACK {lapack.available()} {lapack.version()}")
    return cache.digest("program", hasher.digest(), *facts)


def _feed(update: Callable[[bytes], Any], x: Any) -> None:
    """Hands the bytes of a part of a canonical form to a hash. Raises: TypeError for what it does not know."""
    match x:
        case tuple():
            update(b"(%d" % len(x))
            for part in x:
                _feed(update, part)
        case bytes():
            update(b"b%d:" % len(x))
            update(x)
        case str():
            raw = x.encode("utf-8", "surrogatepass")
            update(b"s%d:" % len(raw))
            update(raw)
        case None | bool() | int() | float() | complex() | Type() | np.dtype():
            raw = f"{type(x).__name__} {x!r};".encode()
            update(b"r%d:" % len(raw))
            update(raw)
        case Program():
            update(b"p")
            _feed(update, x.canonical)
        case frozenset():
            update(b"f%d" % len(x))
            for part in sorted(map(repr, x)):
                _feed(update, part)
        case _ if callable(x) and not isinstance(x, type):
            update(b"c")
        case _:
            raise TypeError(type(x).__name__)


def _calls_lapack(program: Program) -> bool:
    return any(
        (isinstance(e.primitive.lowering, Named) and e.primitive.lowering.builder == "lapack")
        or any(_calls_lapack(p) for p in subprograms(e.params))
        for e in program.equations
    )


def _to_entry(c: Compiled) -> cache.Entry:
    record = {
        "sizes": [len(code) for code in c.module.objects],
        "symbol": c.module.symbol,
        "externals": list(c.module.externals),
        "arena": c.module.arena_bytes,
        "shared": [[f.symbol, f.key] for f in c.module.shared],
        "sites": [[s.message, s.source, s.number] for s in c.sites],
        "over": sorted(c.over.items()),
        "long": c.is_long,
        "callbacks": c.callbacks,
        "layout": None if c.module.layout is None else astuple(c.module.layout),
    }
    return cache.Entry(record, b"".join(c.module.objects))


def _layout(program: str, inputs: Any, outputs: Any, arena: Any, arena_bytes: int, local: Any, first_site: int) -> Layout:
    ins, outs, placed, own = (tuple(Place(*p) for p in places) for places in (inputs, outputs, arena, local))
    return Layout(program, ins, outs, placed, arena_bytes, own, first_site)


def _from_entry(entry: cache.Entry) -> Compiled | None:
    """What an entry holds; None for one of another shape, or whose shared functions are not there any more."""
    r = entry.record
    try:
        functions = tuple(Linked(str(symbol), str(key)) for symbol, key in r["shared"])
        if not are_loaded(functions):
            return None
        layout = None if r["layout"] is None else _layout(*r["layout"])
        cuts = list(accumulate(map(int, r["sizes"]), initial=0))
        if cuts[-1] != len(entry.code):
            return None
        objects = tuple(entry.code[start:end] for start, end in pairwise(cuts))
        module = Module(objects, str(r["symbol"]), tuple(map(str, r["externals"])), int(r["arena"]), functions, layout)
        sites = tuple(Site(str(message), str(source), int(number)) for message, source, number in r["sites"])
        over = {int(k): int(v) for k, v in r["over"]}
        return Compiled(module, sites, over, bool(r["long"]), int(r["callbacks"]))
    except (KeyError, TypeError, ValueError):
        return None
