"""`einsum`: sums of products in index notation, contracted two by two in the cheapest order.

The notation is read into labels: each operand becomes a tuple of labels, each once. An order of contraction is a list of positions, as
NumPy's `einsum_path` has it: those operands are taken out, and their product, summed over the labels that nothing else reads, is put at
the end. Up to eight operands the order is the one with the fewest multiplications, found by dynamic programming over subsets; beyond,
a greedy one. Each contraction is one `dot_general`, so no intermediate has an axis that is summed over.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import contract
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.reduce import reduce_sum
from fdl.tracer.records import dataclass

from .promote import no_out, promote_operands, to_dtype

Label = str  # a letter, or "..k" for the k-th axis from the right under an ellipsis
Term = tuple[Label, ...]
Path = list[tuple[int, ...]]

OPTIMAL_LIMIT = 8
"""The most operands for which the best order is searched: the search visits 3ⁿ pairs of subsets."""


@dataclass(frozen=True, slots=True)
class _Problem:
    """What an einsum asks for: the labels of each operand (with repetitions), those of the result, and their sizes."""

    terms: tuple[Term, ...]
    result: Term
    sizes: tuple[tuple[Label, int], ...]


def einsum(
    subscripts: Any,
    *operands: Any,
    out: None = None,
    optimize: Any = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """Sums of products in index notation: `einsum("bij,jk->bik", x, w)`, or `einsum(x, [0, 1], w, [1, 2], [0, 2])`.

    An axis of the operands that is not in the result is summed over; a letter twice in one operand takes its diagonal; `...` stands for
    axes that broadcast; without `->` the result has the letters that occur once, in alphabetical order.

    Args:
        optimize: "auto", "optimal", "greedy", True (like "auto"), False (from left to right), or a path from `einsum_path`.
        precision: accepted and not needed: products are accumulated in the operands' dtype, at least in float32.
        preferred_element_type: a dtype to which the operands are converted first.

    Raises: ShapeError naming the letter whose sizes differ, or the term that does not fit its operand.

    Example:
        >>> einsum("ij,kj->ik", [[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0]]).tolist()
        [[1.0], [2.0]]
    """
    no_out("einsum", out)
    problem, xs = _read(subscripts, operands)
    if preferred_element_type is not None:
        xs = [to_dtype(x, dtypes.of(preferred_element_type)) for x in xs]
    xs = promote_operands("einsum", *xs, broadcast=False)
    dtype = type_of(xs[0]).dtype
    if dtype == dtypes.bool_:  # sums of ands are ors
        xs = [to_dtype(x, dtypes.int32) for x in xs]
    xs, terms = _simple_terms(problem, xs)
    path = _path(problem, optimize)
    y = _contract(xs, terms, problem.result, path)
    return e.ne(y, e.scalar_like(0, y)) if dtype == dtypes.bool_ else y


def einsum_path(subscripts: Any, *operands: Any, optimize: Any = "auto") -> tuple[list[Any], str]:
    """The order in which `einsum` would contract, as `["einsum_path", (i, j), ...]`, and a table of its costs.

    Example:
        >>> einsum_path("ij,jk,k->i", [[1.0] * 9] * 9, [[1.0] * 9] * 9, [1.0] * 9)[0]
        ['einsum_path', (1, 2), (0, 1)]
    """
    problem, _ = _read(subscripts, operands)
    path = _path(problem, optimize)
    return ["einsum_path", *path], _report(problem, path)


# --- reading the notation -------------------------------------------------------------------------


def _read(subscripts: Any, operands: tuple[Any, ...]) -> tuple[_Problem, list[Any]]:
    """The problem, and its operands as arrays."""
    if isinstance(subscripts, str):
        inputs, arrow, output = subscripts.replace(" ", "").partition("->")
        terms = [_letters(t, subscripts) for t in inputs.split(",")]
        result = _letters(output, subscripts) if arrow else None
        xs = list(operands)
    else:
        # Interleaved: x, labels, y, labels, ..., and perhaps the labels of the result.
        given = [subscripts, *operands]
        result = _numbers(given.pop()) if len(given) % 2 else None
        xs, terms = given[::2], [_numbers(n) for n in given[1::2]]
        inputs = ",".join("".join(t) for t in terms)
    if len(terms) != len(xs):
        raise ShapeError(f"einsum: {inputs!r} names {len(terms)} operands, but {len(xs)} were given.{at(user_source())}")
    xs = promote_operands("einsum", *xs, broadcast=False)
    shapes = [type_of(x).shape for x in xs]
    full = [_without_ellipsis(t, len(shape), shape) for t, shape in zip(terms, shapes, strict=True)]
    hidden = max((len(shape) - len(t) + 1 for t, shape in zip(terms, shapes, strict=True) if "..." in t), default=0)
    covered = tuple(f"..{k}" for k in range(hidden, 0, -1))
    if result is None:
        every = [c for t in full for c in t if not c.startswith("..")]
        final = (*covered, *sorted(c for c in set(every) if every.count(c) == 1))
    else:
        final = tuple(c for d in result for c in (covered if d == "..." else (d,)))
    sizes = _sizes(full, shapes)
    if set(final) - set(sizes) or len(set(final)) != len(final):
        shown = "".join(result or ())
        raise ShapeError(
            f"einsum: output {shown!r} must use each letter at most once, and only letters of the inputs.{at(user_source())}"
        )
    return _Problem(tuple(full), final, tuple(sorted(sizes.items()))), xs


def _letters(term: str, whole: str) -> list[Label]:
    before, dots, after = term.partition("...")
    if not all(c.isalpha() for c in before + after):
        raise ShapeError(
            f"einsum: term {term!r} of {whole!r} has a character that is no letter, comma or '...'.{at(user_source())}"
        )
    return [*before, *([dots] if dots else []), *after]


def _numbers(labels: Any) -> list[Label]:
    out = []
    for n in labels:
        if n is Ellipsis:
            out.append("...")
        elif isinstance(n, int) and 0 <= n < 0x10000:
            out.append(chr(0x100000 + n))  # one character each, ordered as the numbers are
        else:
            raise ShapeError(f"einsum: labels are integers from 0 and ..., got {n!r}.{at(user_source())}")
    return out


def _without_ellipsis(term: list[Label], ndim: int, shape: tuple[int, ...]) -> Term:
    named = len(term) - term.count("...")
    if named > ndim or (named < ndim and "..." not in term) or term.count("...") > 1:
        raise ShapeError(
            f"einsum: term {''.join(map(_shown, term))!r} does not fit an operand of shape {shape}: expected one letter for each axis."
            f"{at(user_source())}"
        )
    rest = [f"..{k}" for k in range(ndim - named, 0, -1)]
    return tuple(c for d in term for c in (rest if d == "..." else [d]))


def _shown(label: Label) -> str:
    return str(ord(label) - 0x100000) if len(label) == 1 and ord(label) >= 0x100000 else label


def _sizes(terms: Sequence[Term], shapes: Sequence[tuple[int, ...]]) -> dict[Label, int]:
    sizes: dict[Label, int] = {}
    for k, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        for c, n in zip(term, shape, strict=True):
            known = sizes.setdefault(c, n)
            if n not in (known, 1) and known != 1:
                what = "an axis under '...'" if c.startswith("..") else f"index {_shown(c)!r}"
                raise ShapeError(
                    f"einsum: {what} has sizes {known} and {n}, the latter in operand {k} of shape {shape}: expected one size."
                    f"{at(user_source())}"
                )
            sizes[c] = n if known == 1 else known
    return sizes


def _simple_terms(problem: _Problem, xs: Sequence[Any]) -> tuple[list[Any], list[Term]]:
    """The operands with diagonals taken, axes of size 1 that broadcast dropped, and lone axes summed over; and their labels."""
    sizes = dict(problem.sizes)
    out, terms = [], []
    for x, term in zip(xs, problem.terms, strict=True):
        x, term = _diagonals(x, term)
        shape = type_of(x).shape
        wide = tuple(n for c, n in zip(term, shape, strict=True) if n == sizes[c])
        x, term = s.reshape(x, wide), tuple(c for c, n in zip(term, shape, strict=True) if n == sizes[c])
        out.append(x)
        terms.append(term)
    for i, term in enumerate(terms):
        elsewhere = set(problem.result).union(*(t for j, t in enumerate(terms) if j != i))
        lone = tuple(a for a, c in enumerate(term) if c not in elsewhere)
        out[i] = reduce_sum(out[i], lone) if lone else out[i]
        terms[i] = tuple(c for c in term if c in elsewhere)
    return out, terms


def _diagonals(x: Any, term: Term) -> tuple[Any, Term]:
    """`x` with each label on one axis: where one repeats, the elements of equal indices."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            x, term = diagonal_of(x, i, j), (*term[:i], *term[i + 1 : j], *term[j + 1 :], c)
    return x, term


def diagonal_of(x: Any, i: int, j: int) -> Any:
    """The elements of `x` whose indices along axes `i` and `j`, of one size, are equal, as a last axis: a slice with a stride."""
    shape = type_of(x).shape
    n = max(shape[i], shape[j])  # an axis of size 1 broadcasts against the other
    rest = [a for a in range(len(shape)) if a not in (i, j)]
    if shape[i] != shape[j]:
        return s.reshape(s.transpose(x, (*rest, i, j)), (*(shape[a] for a in rest), n))
    flat = s.reshape(s.transpose(x, (*rest, i, j)), (*(shape[a] for a in rest), n * n))
    return s.slice_axis(flat, len(rest), 0, n * n, n + 1) if n else flat


# --- the order ------------------------------------------------------------------------------------


def _path(problem: _Problem, optimize: Any) -> Path:
    n = len(problem.terms)
    name = optimize
    if isinstance(optimize, (list, tuple)):
        if not (optimize and isinstance(optimize[0], str) and optimize[0] != "einsum_path"):
            return _checked([tuple(p) for p in optimize if p != "einsum_path"], n)
        name = optimize[0]  # ("greedy", a limit of memory): NumPy's form
    if name is False:
        return [(0, 1), *((0, n - k - 1) for k in range(1, n - 1))] if n > 1 else [(0,)]
    if name not in (True, None, "auto", "optimal", "greedy"):
        raise ShapeError(
            f"einsum: optimize={optimize!r}: expected 'auto', 'optimal', 'greedy', True, False or a path.{at(user_source())}"
        )
    terms = tuple(frozenset(t) for t in problem.terms)
    find = greedy_path if name == "greedy" or (n > OPTIMAL_LIMIT and name != "optimal") else optimal_path
    return list(find(terms, frozenset(problem.result), problem.sizes)) if n > 1 else [(0,)]


def _checked(path: Path, n: int) -> Path:
    left = n
    for step in path:
        if not step or len(set(step)) != len(step) or not all(0 <= i < left for i in step):
            raise ShapeError(f"einsum: step {step} of the path does not fit {left} remaining operands.{at(user_source())}")
        left -= len(step) - 1
    if left != 1:
        raise ShapeError(f"einsum: the path {path} leaves {left} of {n} operands, expected 1.{at(user_source())}")
    return path


Labels = frozenset[Label]


def _volume(labels: Labels, sizes: dict[Label, int]) -> int:
    return math.prod(max(sizes[c], 1) for c in labels)


@functools.lru_cache(maxsize=1000)
def optimal_path(
    terms: tuple[Labels, ...], result: Labels, sizes: tuple[tuple[Label, int], ...]
) -> tuple[tuple[int, int], ...]:
    """The order with the fewest multiplications; among equals the one with the smallest intermediates.

    Dynamic programming over the subsets of the operands.
    """
    n, size = len(terms), dict(sizes)
    every = (1 << n) - 1

    def union(subset: int) -> Labels:
        return frozenset().union(*(terms[i] for i in range(n) if subset >> i & 1))

    inside = {subset: union(subset) for subset in range(1, every + 1)}
    kept = {
        subset: inside[subset] & (result | (inside[every ^ subset] if subset != every else frozenset())) for subset in inside
    }
    best: dict[int, tuple[int, int, int]] = {
        1 << i: (0, 0, 0) for i in range(n)
    }  # (multiplications, elements stored, one half)
    for count in range(2, n + 1):
        for members in itertools.combinations(range(n), count):
            subset = sum(1 << i for i in members)
            stored = _volume(kept[subset], size)
            half = (subset - 1) & subset
            found: tuple[int, int, int] | None = None
            while half:
                other = subset ^ half
                if half > other:  # each split once
                    cost = best[half][0] + best[other][0] + _volume(kept[half] | kept[other], size)
                    candidate = (cost, best[half][1] + best[other][1] + stored, half)
                    found = candidate if found is None or candidate < found else found
                half = (half - 1) & subset
            assert found is not None
            best[subset] = found
    steps: list[tuple[int, int]] = []
    operands = [1 << i for i in range(n)]

    def build(subset: int) -> None:
        if subset in operands:
            return
        half = best[subset][2]
        for part in sorted((half, subset ^ half), key=lambda p: p & -p):
            build(part)
        i, j = sorted((operands.index(half), operands.index(subset ^ half)))
        steps.append((i, j))
        del operands[j], operands[i]
        operands.append(subset)

    build(every)
    return tuple(steps)


@functools.lru_cache(maxsize=1000)
def greedy_path(terms: tuple[Labels, ...], result: Labels, sizes: tuple[tuple[Label, int], ...]) -> tuple[tuple[int, int], ...]:
    """An order that contracts, at each step, the pair whose product is smallest against what it replaces."""
    size, left = dict(sizes), list(terms)
    steps = []
    while len(left) > 1:

        def gain(pair: tuple[int, int]) -> tuple[int, int]:
            i, j = pair
            others = result.union(*(t for k, t in enumerate(left) if k not in pair))
            product = (left[i] | left[j]) & others
            return (
                _volume(product, size) - _volume(left[i], size) - _volume(left[j], size),
                _volume(left[i] | left[j], size),
            )

        i, j = min(itertools.combinations(range(len(left)), 2), key=gain)
        others = result.union(*(t for k, t in enumerate(left) if k not in (i, j)))
        product = (left[i] | left[j]) & others
        steps.append((i, j))
        del left[j], left[i]
        left.append(product)
    return tuple(steps)


def _report(problem: _Problem, path: Path) -> str:
    sizes = dict(problem.sizes)
    left = [frozenset(t) for t in problem.terms]
    result = frozenset(problem.result)
    naive = _volume(result.union(*left), sizes) * max(len(left), 1)
    rows, total, largest = [], 0, 0
    for step in path:
        picked = [left[i] for i in step]
        left = [t for k, t in enumerate(left) if k not in step]
        product = frozenset().union(*picked) & result.union(*left)
        left.append(product)
        cost = _volume(frozenset().union(*picked), sizes) * max(len(picked), 1)
        total, largest = total + cost, max(largest, _volume(product, sizes))
        shown = ["".join(map(_shown, sorted(t))) for t in (*picked, product)]
        rows.append(f"  {', '.join(shown[:-1])} -> {shown[-1]}: {cost:.3e} operations, {_volume(product, sizes):.3e} elements")
    head = [f"  operations, all at once: {naive:.3e}", f"  operations, in this order: {total:.3e}"]
    return "\n".join([*head, f"  largest intermediate: {largest:.3e} elements", *rows])


# --- contracting ----------------------------------------------------------------------------------


def _contract(xs: list[Any], terms: list[Term], result: Term, path: Path) -> Any:
    for step in path:
        picked = [(terms[i], xs[i]) for i in step]
        xs = [x for k, x in enumerate(xs) if k not in step]
        terms = [t for k, t in enumerate(terms) if k not in step]
        term, x = picked[0]
        for k, (next_term, y) in enumerate(picked[1:], 2):
            later = set(result).union(*terms, *(t for t, _ in picked[k:]))
            term, x = _pair(term, x, next_term, y, later)
        xs.append(x)
        terms.append(term)
    term, x = terms[0], xs[0]
    gone = tuple(i for i, c in enumerate(term) if c not in result)
    x = reduce_sum(x, gone) if gone else x
    term = tuple(c for c in term if c in result)
    return s.transpose(x, tuple(term.index(c) for c in result))


def _pair(a: Term, x: Any, b: Term, y: Any, later: set[Label]) -> tuple[Term, Any]:
    """The product of two operands, summed over the labels that nothing later reads."""
    shared = [c for c in a if c in b]
    batch, gone = [c for c in shared if c in later], [c for c in shared if c not in later]
    left, right = [c for c in a if c not in shared], [c for c in b if c not in shared]
    if not gone:  # no sum: a broadcast product, which fuses with what is around it
        return _product(a, x, b, y, batch, left, right)
    out = contract.dot_general(
        x, y, (tuple(a.index(c) for c in gone), tuple(b.index(c) for c in gone)),
        (tuple(a.index(c) for c in batch), tuple(b.index(c) for c in batch)),
    )  # fmt: skip
    return (*batch, *left, *right), out


def _product(a: Term, x: Any, b: Term, y: Any, batch: list[Label], left: list[Label], right: list[Label]) -> tuple[Term, Any]:
    term = (*batch, *left, *right)
    sizes = dict(zip((*a, *b), (*type_of(x).shape, *type_of(y).shape), strict=True))
    shape = tuple(sizes[c] for c in term)
    return term, e.mul(_spread(x, a, term, shape), _spread(y, b, term, shape))


def _spread(x: Any, own: Term, term: Term, shape: tuple[int, ...]) -> Any:
    """`x`, with axes `own`, repeated to axes `term`; a scalar as it is."""
    if not own:
        return x
    places = [term.index(c) for c in own]
    order = tuple(sorted(range(len(own)), key=places.__getitem__))
    return s.broadcast(s.transpose(x, order), shape, tuple(sorted(places)))


__all__ = ["einsum", "einsum_path"]
