"""Iterative solvers of linear systems: conjugate gradients, BiCGSTAB, GMRES, for matrices of which only the products are known.

The solution of A x = b is differentiated implicitly, by solves with A and its transpose (`custom_linear_solve`): the iterations are not
recorded. Sources: Y. Saad, "Iterative methods for sparse linear systems" (2nd edition, 2003), algorithms 9.1, 9.5 (with 7.7) and 6.9.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.control import fori_loop, while_loop
from fdl.numpy.promote import as_operand
from fdl.tracer import dtypes, tree
from fdl.tracer.array import ArrayBase
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.transforms.implicit import custom_linear_solve

Apply = Callable[[Any], Any]
Solver = Callable[[Apply, Any, Any, Apply, Any, int], Any]

# --- vectors: one array of all leaves --------------------------------------------------------------


def _dot(x: Any, y: Any) -> Any:
    return fnp.vdot(x, y)


def _norm(x: Any) -> Any:
    return fnp.sqrt(fnp.sum(fnp.square(fnp.abs(x))))


def _ratio(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0: the search has ended there."""
    none = fnp.equal(b, 0)
    return fnp.where(none, 0, fnp.divide(a, fnp.where(none, 1, b)))


def _operator(name: str, a: Any, what: str) -> Apply:
    if callable(a) and not isinstance(a, ArrayBase):
        return a
    matrix = as_operand(a, f"{name}: {what}")
    shape = type_of(matrix).shape
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ShapeError(f"{name}: {what} has shape {shape}, expected a square matrix or a function.{at(user_source())}")
    return lambda x: fnp.matmul(matrix, x)


def _identity(x: Any) -> Any:
    return x


def _solve(
    name: str, solver: Solver, a: Any, b: Any, x0: Any, tol: float, atol: float, maxiter: int | None, m: Any, symmetric: bool
) -> tuple[Any, None]:
    """Flattens pytrees to vectors, runs `solver`, and gives its result the derivative of the solution."""
    apply = _operator(name, a, "A")
    precondition = _identity if m is None else _operator(name, m, "M")
    leaves, structure = tree.flatten(tree.map(fnp.asarray, b))
    if not leaves or any(not dtypes.is_inexact(type_of(x).dtype) for x in leaves):
        raise DTypeError(f"{name}: b must have floating-point elements.{at(user_source())}")
    start = tree.map(fnp.zeros_like, b) if x0 is None else tree.map(fnp.asarray, x0)
    if [type_of(x).shape for x in tree.leaves(start)] != [type_of(x).shape for x in leaves]:
        raise ShapeError(f"{name}: x0 and b must be nested and shaped alike.{at(user_source())}")
    shapes = [type_of(x).shape for x in leaves]
    size = sum(type_of(x).size for x in leaves)

    def ravel(t: Any) -> Any:
        return fnp.concat([fnp.reshape(x, (-1,)) for x in tree.leaves(t)])

    def unravel(v: Any) -> Any:
        parts, at_ = [], 0
        for shape in shapes:
            n = int(np.prod(shape))
            parts.append(fnp.reshape(v[at_ : at_ + n], shape))
            at_ += n
        return tree.unflatten(structure, parts)

    def flat(f: Apply) -> Apply:
        return lambda v: ravel(f(unravel(v)))

    most = 10 * size if maxiter is None else maxiter
    limit = fnp.maximum(fnp.multiply(tol, _norm(ravel(b))), atol)
    first = ravel(start)

    def solve(matvec: Apply, right: Any) -> Any:
        return solver(matvec, right, first, flat(precondition), limit, most)

    def transposed(vecmat: Apply, right: Any) -> Any:
        # Another right side: its own scale, and no guess.
        own = fnp.maximum(fnp.multiply(tol, _norm(right)), atol)
        return solver(vecmat, right, fnp.zeros_like(right), flat(precondition), own, most)

    x = custom_linear_solve(flat(apply), ravel(b), solve, transposed, symmetric=symmetric)
    return unravel(x), None


# --- conjugate gradients --------------------------------------------------------------------------


def _cg(matvec: Apply, b: Any, x: Any, precondition: Apply, limit: Any, most: int) -> Any:
    r = fnp.subtract(b, matvec(x))
    z = precondition(r)

    def unfinished(state: tuple[Any, ...]) -> Any:
        _, r, _, _, k = state
        return fnp.logical_and(fnp.greater(_norm(r), limit), fnp.less(k, most))

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        x, r, p, gamma, k = state
        ap = matvec(p)
        alpha = _ratio(gamma, _dot(p, ap))
        x, r = x + alpha * p, r - alpha * ap
        z = precondition(r)
        new = _dot(r, z)
        return x, r, z + _ratio(new, gamma) * p, new, k + 1

    return while_loop(unfinished, step, (x, r, z, _dot(r, z), 0))[0]


def cg(
    A: Any, b: Any, x0: Any = None, *, tol: float = 1e-5, atol: float = 0.0, maxiter: int | None = None, M: Any = None
) -> tuple[Any, None]:
    """(x, None) with A x = b, for a Hermitian positive definite A, by the method of conjugate gradients.

    Args:
        A: a matrix, or a function of a pytree like `b` that is linear.
        b: the right side, a pytree of floating-point arrays.
        x0: where to start, zeros by default.
        tol, atol: the iterations end when the residual's norm is at most max(tol |b|, atol).
        maxiter: how many iterations at most, ten times the size of `b` by default.
        M: an approximation of the inverse of A, as a matrix or function.

    Example:
        >>> x, _ = cg(np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0]), tol=1e-10)
        >>> x.round(4).tolist()
        [0.0909, 0.6364]
    """
    return _solve("cg", _cg, A, b, x0, tol, atol, maxiter, M, True)


# --- BiCGSTAB -------------------------------------------------------------------------------------


def _bicgstab(matvec: Apply, b: Any, x: Any, precondition: Apply, limit: Any, most: int) -> Any:
    r = fnp.subtract(b, matvec(x))
    shadow, one = r, fnp.ones((), type_of(r).dtype)

    def unfinished(state: tuple[Any, ...]) -> Any:
        r, broken, k = state[1], state[-2], state[-1]
        return fnp.logical_and(fnp.logical_and(fnp.greater(_norm(r), limit), fnp.less(k, most)), fnp.logical_not(broken))

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        x, r, p, v, rho, alpha, omega, _, k = state
        new = _dot(shadow, r)
        beta = _ratio(new, rho) * _ratio(alpha, omega)
        p = r + beta * (p - omega * v)
        p_hat = precondition(p)
        v = matvec(p_hat)
        alpha = _ratio(new, _dot(shadow, v))
        s = r - alpha * v
        s_hat = precondition(s)
        t = matvec(s_hat)
        omega = _ratio(_dot(t, s), _dot(t, t))
        x = x + alpha * p_hat + omega * s_hat
        broken = fnp.logical_or(fnp.equal(new, 0), fnp.logical_and(fnp.equal(omega, 0), fnp.equal(alpha, 0)))
        return x, s - omega * t, p, v, new, alpha, omega, broken, k + 1

    zero = fnp.zeros_like(r)
    start = (x, r, zero, zero, one, one, one, False, 0)
    return while_loop(unfinished, step, start)[0]


def bicgstab(
    A: Any, b: Any, x0: Any = None, *, tol: float = 1e-5, atol: float = 0.0, maxiter: int | None = None, M: Any = None
) -> tuple[Any, None]:
    """(x, None) with A x = b, for any square A, by the stabilised method of biconjugate gradients. The arguments are those of `cg`."""
    return _solve("bicgstab", _bicgstab, A, b, x0, tol, atol, maxiter, M, False)


# --- GMRES ----------------------------------------------------------------------------------------


def _gmres(matvec: Apply, b: Any, x: Any, precondition: Apply, limit: Any, most: int, *, restart: int, size: int) -> Any:
    width = min(restart, size)
    column = fnp.arange(width + 1)

    def residual(x: Any) -> Any:
        return precondition(fnp.subtract(b, matvec(x)))

    def cycle(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        x, r, k = state
        beta = _norm(r)
        basis = fnp.zeros((width + 1, size), type_of(r).dtype).at[0].set(_ratio(r, beta))
        h = fnp.zeros((width + 1, width), type_of(r).dtype)

        def extend(j: Any, both: tuple[Any, Any]) -> tuple[Any, Any]:
            basis, h = both
            w = precondition(matvec(basis[j]))
            # Twice, since one pass of Gram and Schmidt loses orthogonality.
            first = fnp.where(column <= j, fnp.matmul(fnp.conj(basis), w), 0)
            w = w - fnp.matmul(first, basis)
            second = fnp.where(column <= j, fnp.matmul(fnp.conj(basis), w), 0)
            w = w - fnp.matmul(second, basis)
            length = _norm(w)
            entries = first + second + fnp.where(column == j + 1, length, 0)
            return basis.at[j + 1].set(_ratio(w, length)), h.at[:, j].set(entries)

        basis, h = fori_loop(0, width, extend, (basis, h))
        right = fnp.where(column == 0, fnp.astype(beta, type_of(r).dtype), 0)
        y = fnp.matmul(fnp.linalg.pinv(h), right)
        x = x + fnp.matmul(y, basis[:width])
        return x, residual(x), k + 1

    def unfinished(state: tuple[Any, Any, Any]) -> Any:
        _, r, k = state
        return fnp.logical_and(fnp.greater(_norm(r), limit), fnp.less(k, most))

    return while_loop(unfinished, cycle, (x, residual(x), 0))[0]


def gmres(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    tol: float = 1e-5,
    atol: float = 0.0,
    restart: int = 20,
    maxiter: int | None = None,
    M: Any = None,
    solve_method: str = "batched",
) -> tuple[Any, None]:
    """(x, None) with A x = b, for any square A, by the generalised method of minimal residuals.

    Args:
        restart: how many products are used before the method begins anew.
        maxiter: how often it does at most.
        solve_method: accepted, and of no use here.

    The other arguments are those of `cg`; the residual that is compared is the preconditioned one.
    """
    size = sum(type_of(fnp.asarray(x)).size for x in tree.leaves(b))
    if restart < 1:
        raise ShapeError(f"gmres: restart={restart}: expected at least 1.{at(user_source())}")
    solver = functools.partial(_gmres, restart=restart, size=size)
    return _solve("gmres", solver, A, b, x0, tol, atol, maxiter, M, False)


__all__ = ["bicgstab", "cg", "gmres"]
