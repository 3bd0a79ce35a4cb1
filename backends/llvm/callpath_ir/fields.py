"""The structs of the call path, field by field, and the text that reads and writes them."""

from __future__ import annotations

from typing import Final

ROW: Final = 64
"""Bytes of one row of a table."""
STACK_WORDS: Final = 8192
"""Calls that need more words than this take them from the heap."""
MAX_ENTRIES: Final = 32

ARRAY, NUMPY, FLOAT_, INT, BOOL, COMPLEX, NONE, TUPLE, LIST, DICT, SAME, EQUAL, BITS = range(13)
"""Kinds of steps. A row: kind, source register, slot or first register, count, object, table, object, leaf."""
BUILD_OUT, BUILD_CONST, BUILD_TUPLE, BUILD_LIST, BUILD_DICT, BUILD_NAMED = range(6)
"""Kinds of builds. A row: kind, count or index, object, keys."""

RELEASE, HOLD = 1, 2
"""Bits of an entry's flags."""

_ENTRY_FIELDS = (
    "owner", "program", "guard", "positional", "keywords", "names", "steps", "step_rows", "donations", "donation_rows", "outputs",
    "output_rows", "builds", "build_rows", "consts", "const_table", "inputs", "leaves", "arena_bytes", "flags", "poll",
    "callback", "max_threads", "words", "at_arena", "at_registers", "at_buffers", "at_leaves", "at_scalars", "at_outputs",
    "at_stack",
)  # fmt: skip
ENTRY: Final = {name: 8 * i for i, name in enumerate(_ENTRY_FIELDS)}
"""Byte offsets of an entry's fields; `at_` fields are byte offsets into the call's memory (at_arena: −1 for none)."""

_SELF_FIELDS = (
    "refcount", "type", "vectorcall", "dict", "weakrefs", "slow", "array_type", "data", "weak", "consumed", "fail",
    "count", "capacity", "words", "hits", "misses",
)  # fmt: skip
SELF: Final = {name: 8 * i for i, name in enumerate(_SELF_FIELDS)} | {"entries": 8 * len(_SELF_FIELDS)}
"""Byte offsets of a dispatcher's fields."""
SELF_SIZE: Final = SELF["entries"] + 8 * MAX_ENTRIES


def load(name: str, kind: str, base: str, offset: int) -> str:
    """`%name = load kind, base + offset`."""
    return f"  %{name}.at = getelementptr i8, ptr {base}, i64 {offset}\n  %{name} = load {kind}, ptr %{name}.at"


def store(name: str, kind: str, value: str, base: str, offset: int) -> str:
    """`base + offset` = value; `name` makes the address's name unique."""
    return f"  %{name}.at = getelementptr i8, ptr {base}, i64 {offset}\n  store {kind} {value}, ptr %{name}.at"


def entry(*names: str, e: str = "%e") -> str:
    """`%name` = the entry's field of that name, for each name."""
    pointers = {"owner", "program", "guard", "names", "step_rows", "donation_rows", "output_rows", "build_rows", "const_table"}
    return "\n".join(load(n, "ptr" if n in pointers else "i64", e, ENTRY[n]) for n in names)


def self_(*names: str) -> str:
    """`%name` = the dispatcher's field of that name, for each name."""
    words = {"data", "weak", "consumed", "count", "capacity", "words", "hits", "misses"}
    return "\n".join(load(n, "i64" if n in words else "ptr", "%self", SELF[n]) for n in names)


def part(name: str, field: str) -> str:
    """`%name` = the address of a part of the call's memory."""
    return f"{load(field, 'i64', '%e', ENTRY[field])}\n  %{name} = getelementptr i8, ptr %mem, i64 %{field}"
