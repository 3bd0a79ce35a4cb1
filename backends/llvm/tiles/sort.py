"""Stable sorting of rows: byte-wise radix sort of (key, position) words, least significant first.

A key is mapped to an unsigned integer of the same order (sign bits flipped, all NaN the largest, -0 made +0); 32 bits of it and the
element's position make one 64-bit word.  Words are sorted by those 32 bits, from the least significant part of the least
significant key to the most significant; each round keeps the order of equal parts, so that the last one leaves
the stable order of all keys.  Then every operand is gathered by position.  Short rows are sorted by insertion.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.cut import static
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.loops.ir import Call, Ref
from fdl.tracer.dtypes import DType, bfloat16, bool_, is_float, is_int

SHORT_ROW = 40
"""Rows up to this length are sorted by insertion."""

_COUNTS_BYTES = 4 * 256 * 8


def write_sort(call: Call, target: Target) -> TileFunction | None:
    """The sort of `call`, or None where the length is not known or a dtype has no words."""
    refs = (*call.outputs, *call.inputs)
    n = static(call.outputs[0].shape[0])
    if n is None or n >= 2**32 or any(r.buffer.dtype.kind == "c" for r in refs):
        return None
    num_keys = int(dict(call.attrs).get("num_keys", 1))  # type: ignore[call-overload]
    facts = [(r.buffer.dtype.name, r.strides) for r in refs]
    params = [("ptr", "scratch"), *(("ptr", f"out{i}") for i in range(len(call.outputs)))]
    params += [*(("ptr", f"in{i}") for i in range(len(call.inputs))), *(("i64", f"s{i}") for i in range(len(refs)))]
    entry = Code(digest("sort", n, num_keys, facts), params)
    if n == 0:
        return tile(entry, [], 0)
    words = "%scratch"
    spare = entry.at("i64", "%scratch", n)
    counts = entry.at("i64", spare, n)
    with entry.loop(n) as i:  # the identity: position in the low half
        entry.store("i64", i.index, entry.at("i64", words, i.index))
    for number in reversed(range(num_keys)):
        ref = call.inputs[number]
        for shift in range(0, ref.buffer.dtype.itemsize * 8, 32):
            _load_keys(entry, ref, f"%in{number}", n, words, shift)
            size = min(ref.buffer.dtype.itemsize, 4)
            entry.call(
                "@fdl_sort_words", ("ptr", words), ("ptr", spare), ("ptr", counts), ("i64", n), ("i64", size)
            )  # fmt: skip
    for number, (to, source) in enumerate(zip(call.outputs, call.inputs, strict=True)):
        # By way of the spare words: the windows may be the same.
        _gather(entry, source, f"%in{number}", to, f"%out{number}", n, words, spare)
    return tile(entry, [_sort_words()], 16 * n + _COUNTS_BYTES)


def _bits(dtype: DType) -> str:
    return f"i{dtype.itemsize * 8}"


def _load_keys(code: Code, ref: Ref, base: str, n: int, words: str, shift: int) -> None:
    """Put bits [shift, shift + 32) of each element's key above its position."""
    kind = _bits(ref.buffer.dtype)
    with code.loop(n) as i:
        slot = code.at("i64", words, i.index)
        position = code.let(f"and i64 {code.load('i64', slot)}, 4294967295")
        element = code.load(kind, code.at(kind, base, code.mul(position, ref.strides[0])))
        key = _ordered(code, ref.buffer.dtype, element)
        if shift:
            key = code.let(f"lshr {kind} {key}, {shift}")
        wide = key if kind == "i64" else code.let(f"zext {kind} {key} to i64")
        code.store("i64", code.let(f"or i64 {code.let(f'shl i64 {wide}, 32')}, {position}"), slot)


def _ordered(code: Code, dtype: DType, element: str) -> str:
    """The unsigned integer that stands for `element` (its bits) in the order of the sort."""
    kind, width = _bits(dtype), dtype.itemsize * 8
    sign = -(1 << (width - 1))
    if is_int(dtype) and dtype.kind == "i":
        return code.let(f"xor {kind} {element}, {sign}")
    if dtype == bool_ or not is_float(dtype):
        return element
    exponent = {16: 8 if dtype == bfloat16 else 5, 32: 8, 64: 11}[width]
    infinity = ((1 << exponent) - 1) << (width - 1 - exponent)
    magnitude = code.let(f"and {kind} {element}, {-sign - 1}")
    zero = code.let(f"icmp eq {kind} {magnitude}, 0")
    nan = code.let(f"icmp ugt {kind} {magnitude}, {infinity}")
    element = code.let(f"select i1 {zero}, {kind} 0, {kind} {element}")
    spread = code.let(f"ashr {kind} {element}, {width - 1}")
    flip = code.let(f"or {kind} {spread}, {sign}")
    return code.let(f"select i1 {nan}, {kind} -1, {kind} {code.let(f'xor {kind} {element}, {flip}')}")


def _gather(code: Code, source: Ref, base: str, to: Ref, out: str, n: int, words: str, spare: str) -> None:
    kind = _bits(source.buffer.dtype)
    with code.loop(n) as i:
        position = code.let(f"and i64 {code.load('i64', code.at('i64', words, i.index))}, 4294967295")
        value = code.load(kind, code.at(kind, base, code.mul(position, source.strides[0])))
        code.store(kind, value, code.at(kind, spare, i.index))
    with code.loop(n) as i:
        code.store(kind, code.load(kind, code.at(kind, spare, i.index)), code.at(kind, out, code.mul(i.index, to.strides[0])))


# --- the shared sorter ------------------------------------------------------------------------------


def _sort_words() -> Code:
    """`void (words, spare, counts, n, bytes)`: stable sort of n words by the `bytes` bytes above bit 32."""
    code = Code(
        "fdl_sort_words", (("ptr", "words"), ("ptr", "spare"), ("ptr", "counts"), ("i64", "n"), ("i64", "bytes"))
    )  # fmt: skip
    short = code.compare("sle", "%n", SHORT_ROW)
    with code.when(short):
        _insertion(code)
    with code.when(code.let(f"xor i1 {short}, true")):
        _radix(code)
    return code


def _insertion(code: Code) -> None:
    with code.loop("%n", start=1) as i:
        word = code.load("i64", code.at("i64", "%words", i.index))
        key = code.let(f"lshr i64 {word}, 32")
        test, look, move, rest = (code.fresh(stem) for stem in ("test", "look", "move", "rest"))
        before = code.block
        code.emit(f"br label %{test}")
        code.label(test)
        place = f"%{code.fresh('place')}"
        below = f"%{code.fresh('below')}"
        code.emit(f"{place} = phi i64 [ {i.index}, %{before} ], [ {below}, %{move} ]")
        code.emit(f"{below} = sub i64 {place}, 1")
        code.emit(f"br i1 {code.compare('sgt', place, 0)}, label %{look}, label %{rest}")
        code.label(look)
        other = code.load("i64", code.at("i64", "%words", below))
        later = code.let(f"icmp ugt i64 {code.let(f'lshr i64 {other}, 32')}, {key}")
        code.emit(f"br i1 {later}, label %{move}, label %{rest}")
        code.label(move)
        code.store("i64", other, code.at("i64", "%words", place))
        code.emit(f"br label %{test}")
        code.label(rest)
        code.store("i64", word, code.at("i64", "%words", place))


def _byte(code: Code, word: str, shift: str | int) -> str:
    return code.let(f"and i64 {code.let(f'lshr i64 {word}, {shift}')}, 255")


def _radix(code: Code) -> None:
    """Count all bytes in one pass, then scatter by each byte in turn; a byte that all words share needs no scatter."""
    with code.loop(4 * 256) as i:
        code.store("i64", "0", code.at("i64", "%counts", i.index))
    with code.loop("%n") as i:
        word = code.load("i64", code.at("i64", "%words", i.index))
        for number in range(4):  # the bytes above `bytes` are zero, and cost little
            slot = code.at("i64", "%counts", code.add(_byte(code, word, 32 + 8 * number), 256 * number))
            code.store("i64", code.add(code.load("i64", slot), 1), slot)
    first = code.load("i64", "%words")
    with code.loop("%bytes", [("ptr", "%words"), ("ptr", "%spare")]) as digit:
        source, to = digit.values
        shift = code.add(code.mul(digit.index, 8), 32)
        counts = code.at("i64", "%counts", code.mul(digit.index, 256))
        all_same = code.compare("eq", code.load("i64", code.at("i64", counts, _byte(code, first, shift))), "%n")
        with code.when(code.let(f"xor i1 {all_same}, true")):
            _scatter(code, source, to, counts, shift)
        digit.next = [code.select(all_same, "ptr", source, to), code.select(all_same, "ptr", to, source)]
    (result, _) = digit.results
    with code.when(code.let(f"icmp ne ptr {result}, %words")), code.loop("%n") as i:
        code.store("i64", code.load("i64", code.at("i64", result, i.index)), code.at("i64", "%words", i.index))


def _scatter(code: Code, source: str, to: str, counts: str, shift: str) -> None:
    with code.loop(256, [("i64", "0")]) as i:
        slot = code.at("i64", counts, i.index)
        count = code.load("i64", slot)
        code.store("i64", i.values[0], slot)
        i.next = [code.add(i.values[0], count)]
    with code.loop("%n") as i:
        word = code.load("i64", code.at("i64", source, i.index))
        slot = code.at("i64", counts, _byte(code, word, shift))
        place = code.load("i64", slot)
        code.store("i64", code.add(place, 1), slot)
        code.store("i64", word, code.at("i64", to, place))
