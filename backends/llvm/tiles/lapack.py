"""LAPACK and BLAS routines: a function that lays the arguments out in memory, as Fortran takes them, and calls.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from typing import Any

from fdl.backends import lapack
from fdl.backends.llvm.lapack import ENTER, LEAVE
from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.loops.ir import Call


def write_lapack(call: Call, target: Target) -> TileFunction:
    """The function for a call of kernel "lapack"."""
    attrs: dict[str, Any] = dict(call.attrs)
    routine, arguments = attrs["routine"], attrs["arguments"]
    names = [f"out{i}" for i in range(len(call.outputs))] + [f"in{i}" for i in range(len(call.inputs))]
    sizes = sum(len(r.shape) for r in (*call.outputs, *call.inputs))
    params = [("ptr", "scratch"), *(("ptr", n) for n in names), *(("i64", f"s{i}") for i in range(sizes))]
    code = Code(digest("lapack", routine, arguments, len(call.outputs), len(call.inputs), sizes), params)
    symbol = lapack.PREFIX + routine
    code.declare(f"void @{symbol}({', '.join(['ptr'] * len(arguments))})")
    for gate in (ENTER, LEAVE):
        code.declare(f"void @{gate}()")
    pointers, scratch = [], 0
    for kind, value in arguments:
        match kind:
            case "char":
                pointers.append(_held(code, "i8", [str(ord(value))]))
            case "int":
                pointers.append(_held(code, "i32", [str(value)]))
            case "one":
                parts = lapack.ONES[value]
                ones = ["1.0", "0.0"][: len(parts)]
                pointers.append(_held(code, "float" if parts[0] == "f" else "double", ones))
            case "array":
                pointers.append(f"%in{value}")
            case "work":
                pointers.append(code.at("i8", "%scratch", scratch))
                scratch += -(-value // 64) * 64
            case _:
                raise AssertionError(kind)
    code.call(f"@{ENTER}")
    code.call(f"@{symbol}", *(("ptr", p) for p in pointers))
    code.call(f"@{LEAVE}")
    return tile(code, [], scratch)


def _held(code: Code, kind: str, values: list[str]) -> str:
    """The address of constants on the stack. The entry block is the only one, so that a loop around the call uses no more."""
    address = code.let(f"alloca {kind}, i64 {len(values)}, align 8")
    for i, v in enumerate(values):
        code.store(kind, v, code.at(kind, address, i))
    return address
