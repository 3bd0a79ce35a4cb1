"""Functions of matrices: expm, sqrtm; and Sylvester equations.

expm: N. J. Higham, "The scaling and squaring method for the matrix exponential revisited" (2005); A. H. Al-Mohy and N. J. Higham, "A new
scaling and squaring algorithm for the matrix exponential" (2009). The Padé approximant has degree 13 in double precision and 7 in single,
whatever the norm, so that a program is the same for all matrices of its shape.
"""

from __future__ import annotations

import math
from typing import Any

from fdl.control import cond, fori_loop
from fdl.numpy.linalg.operands import identity_like, matrices, same_stack
from fdl.numpy.linalg.solving import solve_stack
from fdl.numpy.promote import asarray, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops import schur as s
from fdl.tracer.ops.complex import complex as join
from fdl.tracer.ops.reduce import reduce_max, reduce_sum
from fdl.tracer.ops.rules import shape_of
from fdl.tracer.ops.shape import broadcast
from fdl.tracer.ops.triangular import triangular_solve
from fdl.transforms import jvp

# The largest norms for which the approximant is exact to working precision (Higham 2005, table 2.3; 2009, for single precision).
_THETA = {13: 5.371920351148152, 7: 3.925724783138660}


def _pade_numbers(degree: int) -> list[float]:
    """The coefficients of the numerator: (2m - j)! m! / ((2m)! (m - j)! j!) · (2m)! / m!, which are whole."""
    f = math.factorial
    return [f(2 * degree - j) // (f(degree - j) * f(j)) for j in range(degree + 1)]


def _scaled(x: Any, value: float) -> Any:
    return e.mul(x, e.scalar_like(value, x))


def _sum(*terms: Any) -> Any:
    total = terms[0]
    for t in terms[1:]:
        total = e.add(total, t)
    return total


def _pade_parts(a: Any, degree: int) -> tuple[Any, Any]:
    """The odd part u and the even part v of the numerator p(a) = u + v; the denominator is v - u."""
    b = [float(x) for x in _pade_numbers(degree)]
    scale = b[-1]
    b = [x / scale for x in b]  # the highest one is 1: nothing overflows in single precision
    one, a2 = identity_like(a), m.product(a, a)
    a4 = m.product(a2, a2)
    a6 = m.product(a4, a2)
    if degree == 7:
        odd = _sum(_scaled(a6, b[7]), _scaled(a4, b[5]), _scaled(a2, b[3]), _scaled(one, b[1]))
        return m.product(a, odd), _sum(_scaled(a6, b[6]), _scaled(a4, b[4]), _scaled(a2, b[2]), _scaled(one, b[0]))
    high_odd = _sum(_scaled(a6, b[13]), _scaled(a4, b[11]), _scaled(a2, b[9]))
    high_even = _sum(_scaled(a6, b[12]), _scaled(a4, b[10]), _scaled(a2, b[8]))
    odd = _sum(m.product(a6, high_odd), _scaled(a6, b[7]), _scaled(a4, b[5]), _scaled(a2, b[3]), _scaled(one, b[1]))
    even = _sum(m.product(a6, high_even), _scaled(a6, b[6]), _scaled(a4, b[4]), _scaled(a2, b[2]), _scaled(one, b[0]))
    return m.product(a, odd), even


def _like(x: Any, other: Any) -> Any:
    return join(x, e.scalar_like(0, x)) if dtypes.is_complex(type_of(other).dtype) else x


def _everywhere(x: Any, shape: tuple[int, ...]) -> Any:
    """One number for each matrix, at each of its elements."""
    return broadcast(x, shape, tuple(range(len(shape) - 2)))


def expm(A: Any, *, upper_triangular: bool = False, max_squarings: int = 16) -> Any:
    """The exponentials of square matrices (..., n, n), by scaling and squaring with a Padé approximant.

    Args:
        upper_triangular: `A` is upper triangular, which saves the factorization.
        max_squarings: matrices whose 1-norm needs more squarings than that, about 5 · 2^max_squarings, give NaN.

    Example:
        >>> expm([[0.0, 1.0], [0.0, 0.0]]).tolist()
        [[1.0, 1.0], [0.0, 1.0]]
    """
    (a,) = matrices("expm", A, square=True)
    shape = shape_of(a)
    if 0 in shape:
        return a
    lead = len(shape) - 2
    degree = 13 if dtypes.real_of(type_of(a).dtype) == dtypes.float64 else 7
    norm = e.stop_gradient(reduce_max(reduce_sum(e.abs(a), (lead,)), (lead,)))
    ratio = e.div(norm, e.scalar_like(_THETA[degree], norm))
    doublings = e.max(e.ceil(_log2(ratio)), e.scalar_like(0, norm))
    small = e.mul(a, _like(_everywhere(e.exp2(e.neg(doublings)), shape), a))
    u, v = _pade_parts(small, degree)
    numerator, denominator = e.add(u, v), e.sub(v, u)
    if upper_triangular:
        x = triangular_solve(denominator, numerator, lower=False)
    else:
        x = solve_stack(denominator, numerator)
    most = reduce_max(doublings, tuple(range(lead))) if lead else doublings

    def square(i: Any, x: Any) -> Any:
        step = to_dtype(asarray(i), type_of(norm).dtype)
        more = e.gt(_everywhere(doublings, shape), step)
        return cond(e.gt(most, step), lambda x: e.select(more, m.product(x, x), x), lambda x: x, x)

    x = fori_loop(0, max_squarings, square, x)
    within = e.le(_everywhere(doublings, shape), e.scalar_like(max_squarings, norm))
    return e.select(within, x, e.scalar_like(math.nan, x))


def _log2(x: Any) -> Any:
    """log₂ x, and 0 where x is 0."""
    zero = e.scalar_like(0, x)
    nothing = e.eq(x, zero)
    return e.select(nothing, zero, _scaled(e.log(e.select(nothing, e.scalar_like(1, x), x)), 1 / math.log(2.0)))


def expm_frechet(A: Any, E: Any, *, method: Any = None, compute_expm: bool = True) -> Any:
    """(expm(A), L), or L alone: the derivative L of `expm` at A in the direction E.

    Raises: ShapeError where the shapes differ.
    """
    a, direction = matrices("expm_frechet", A, E, square=True)
    if shape_of(a) != shape_of(direction):
        raise ShapeError(
            f"expm_frechet: A has shape {shape_of(a)}, E {shape_of(direction)}: expected one shape.{at(user_source())}"
        )
    value, moved = jvp(expm, (a,), (direction,))
    return (value, moved) if compute_expm else moved


def sqrtm(A: Any, blocksize: int = 1) -> Any:
    """The principal square roots of square matrices (..., n, n): complex, with eigenvalues of non-negative real part.

    A matrix with a negative real or a zero eigenvalue has no derivative.
    """
    return s.sqrtm(*matrices("sqrtm", A, square=True))


def solve_sylvester(A: Any, B: Any, C: Any) -> Any:
    """The solution x (..., m, n) of a x + x b = c, for square `A` (..., m, m) and `B` (..., n, n)."""
    return s.sylvester(*same_stack("solve_sylvester", *matrices("solve_sylvester", A, B, C)))
