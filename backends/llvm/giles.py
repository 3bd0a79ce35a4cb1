"""The inverse of erf of JAX's random numbers (`tracer/giles.py` says what it is) on vectors of floats."""

from __future__ import annotations

import math

from fdl.tracer.giles import DENOMINATOR, DOUBLE, NUMERATOR, RATIONAL_END, SINGLE, Piece

from .explog import LN2, log_near_one, split_exponent
from .lanes import Lanes


def _log(f: Lanes, square: str, rest: str) -> str:
    """log(rest), for 0 < rest = 1 - square <= 1."""
    e, m, _ = split_exponent(f, rest)
    near = f.sub(m, f.const(1.0))
    if f.single:
        return log_near_one(f, near, e)
    # XLA has the rational function of -square up to where it is no longer good; from there on, of the reduced argument, it is a logarithm.
    below = f.cmp("olt", square, f.const(RATIONAL_END))
    u = f.select(below, f.neg(square), near)
    e = f.select(below, f.const(0.0), e)
    high, low = (f.const(c) for c in LN2[False])
    u2 = f.mul(u, u)
    tail = f.mul(f.mul(u, u2), f.div(f.poly(u, NUMERATOR), f.poly(u, DENOMINATOR)))
    return f.mad(e, high, f.add(u, f.mad(u2, f.const(-0.5), f.mad(e, low, tail))))


def _ratio(f: Lanes, w: str, root: str, piece: Piece) -> str:
    return f.poly(f.sub(root if piece.root else w, f.const(piece.centre)), piece.coefficients)


def erf_inv_giles(f: Lanes, x: str) -> str:
    """Infinite at -1 and 1, NaN outside."""
    first, *others = SINGLE if f.single else DOUBLE
    square = f.mul(x, x)
    rest = f.sub(f.const(1.0), square)
    w = f.neg(_log(f, square, rest))
    near = _ratio(f, w, w, first)

    def tail() -> str:
        root = f.sqrt(w)
        ratio = _ratio(f, w, root, others[-1])
        for piece in reversed(others[:-1]):
            ratio = f.select(f.cmp("olt", w, f.const(piece.end)), _ratio(f, w, root, piece), ratio)
        ratio = f.select(f.cmp("olt", w, f.const(first.end)), near, ratio)
        # Where `rest` has no logarithm, w is no number to go by.
        ratio = f.select(f.cmp("oeq", rest, f.const(0.0)), f.const(math.inf), ratio)
        return f.select(f.cmp("olt", rest, f.const(0.0)), f.const(math.nan), ratio)

    # One comparison, a little early, finds the tail and |x| >= 1. A NaN stays one in the product.
    rare = f.cmp("ole", rest, f.const(1.00001 * math.exp(-first.end)))
    return f.mul(x, f.where_any(rare, near, tail))
