"""Tile calls, resolved: a hand-written LLVM function where the target has one, else the kernel's definition in its place.

This comes before everything else in `emit`, so that costs, kernels and vectors are found for the loops that really run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fdl.backends.loops import ir
from fdl.backends.loops.build import expanded, new_names
from fdl.backends.loops.tiles import TILES

from .target import Target
from .tiles import Shared, TileFunction, tile_function

Block = tuple[ir.Stmt, ...]


def resolve(
    routine: ir.Routine, target: Target, need: Callable[[Shared], None]
) -> tuple[Block, dict[int, TileFunction]]:
    """The body of `routine` with every `Call` expanded that has no function, and the functions of the others by the statement's id.

    `need` is told of the functions that those call and that are compiled apart.

    Example: with no function for it, ``call transpose(y[..] <- x[..])`` becomes ``for i: for j: y[i, j] = x[i, j]``.
    """
    if not any(isinstance(s, ir.Call) for s in ir.walk(routine.body)):
        return routine.body, {}
    functions: dict[int, TileFunction] = {}
    names = new_names(routine)

    def call(stmt: ir.Call) -> Block:
        function = tile_function(stmt, target)
        if function is None:
            return resolve_inner(expanded(stmt, TILES[stmt.kernel].body, names))
        functions[id(stmt)] = function
        for shared in function.shared.values():
            need(shared)
        return (stmt,)

    def resolve_inner(stmts: Block) -> Block:
        return _mapped(stmts, call)

    return resolve_inner(routine.body), functions


def _mapped(block: Block, call: Callable[[ir.Call], Block]) -> Block:
    result: list[ir.Stmt] = []
    for stmt in block:
        match stmt:
            case ir.Call():
                result += call(stmt)
            case ir.For():
                body = _mapped(stmt.body, call)
                result.append(stmt if body is stmt.body else replace(stmt, body=body))
            case ir.While():
                result.append(replace(stmt, prelude=_mapped(stmt.prelude, call), body=_mapped(stmt.body, call)))
            case ir.If():
                result.append(replace(stmt, then=_mapped(stmt.then, call), orelse=_mapped(stmt.orelse, call)))
            case _:
                result.append(stmt)
    same = len(result) == len(block) and all(a is b for a, b in zip(result, block, strict=True))
    return block if same else tuple(result)
