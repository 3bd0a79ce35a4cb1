"""Linear algebra, and the rest."""

from __future__ import annotations

import numpy as np

from .table import Draw, between, case, ints, just, normal

# --- linear algebra -------------------------------------------------------------------------------


def spd(*shape: int) -> Draw:
    def draw(rng: np.random.Generator) -> np.ndarray:
        a = rng.normal(size=shape)
        return np.asarray(a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1]))

    return draw


def hermitian(*shape: int) -> Draw:
    def draw(rng: np.random.Generator) -> np.ndarray:
        a = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        return np.asarray(a + np.conj(np.swapaxes(a, -1, -2)))

    return draw


def upper(*shape: int) -> Draw:
    return lambda rng: np.triu(rng.normal(size=shape)) + 2 * np.eye(shape[-1])


def packed(m: int, n: int) -> tuple[Draw, Draw]:
    """A reflection in each of n columns, and its factor, so that it is orthogonal."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        return rng.normal(size=(m, n))

    return draw, lambda rng: rng.uniform(0.5, 1.5, n)


case("linalg.cholesky:stack", lambda lax, x: lax.linalg.cholesky(x), spd(2, 4, 4), grad=True, rtol=1e-10)
case("linalg.cholesky:lower read", lambda lax, x: lax.linalg.cholesky(x, symmetrize_input=False), spd(4, 4), rtol=1e-10)
case("linalg.eigh:values", lambda lax, x: lax.linalg.eigh(x)[1], spd(2, 4, 4), grad=True, rtol=1e-9)
case(
    "linalg.eigh:projector",
    lambda lax, x: (lambda v: v[:, :1] @ v[:, :1].T)(lax.linalg.eigh(x, lower=False, symmetrize_input=False)[0]),
    spd(4, 4),
    rtol=1e-9,
)
case("linalg.lu:stack", lambda lax, x: lax.linalg.lu(x), normal(2, 4, 3), rtol=1e-10)
case(
    "linalg.lu_pivots_to_permutation:stack",
    lambda lax, p: lax.linalg.lu_pivots_to_permutation(p, 4),
    just((1, 2, 2, 3), (3, 1, 3, 3), dtype="int32"),
    rtol=0,
)
case("linalg.svd:values", lambda lax, x: lax.linalg.svd(x, compute_uv=False), normal(2, 4, 3), grad=True, rtol=1e-10)
case("linalg.svd:product", lambda lax, x: (lambda u, s, v: (u[:, :3] * s) @ v)(*lax.linalg.svd(x)), normal(4, 3), rtol=1e-10)
case("linalg.qr:product", lambda lax, x: (lambda q, r: q @ r)(*lax.linalg.qr(x)), normal(4, 3), rtol=1e-10)
case("linalg.qr:reduced", lambda lax, x: abs(lax.linalg.qr(x, full_matrices=False)[1]), normal(4, 3), rtol=1e-10)
case("linalg.eig:values", lambda lax, x: lax.sort(abs(lax.linalg.eig(x)[0])), normal(4, 4), rtol=1e-9)
case("linalg.schur:product", lambda lax, x: (lambda t, z: z @ t @ z.T)(*lax.linalg.schur(x)), normal(4, 4), rtol=1e-9)
for _side in (True, False):
    for _lower in (True, False):
        for _t in (True, False):
            case(
                f"linalg.triangular_solve:{_side} {_lower} {_t}",
                lambda lax, a, b, s=_side, low=_lower, t=_t: lax.linalg.triangular_solve(a, b, left_side=s, lower=low, transpose_a=t),
                lambda rng, low=_lower: upper(2, 3, 3)(rng) if not low else np.swapaxes(upper(2, 3, 3)(rng), 1, 2).copy(),
                normal(2, 3, 4) if _side else normal(2, 4, 3), grad=_t, rtol=1e-10,
            )  # fmt: skip
case(
    "linalg.triangular_solve:vector",
    lambda lax, a, b: lax.linalg.triangular_solve(a, b, left_side=True, unit_diagonal=True),
    upper(3, 3),
    normal(3),
    rtol=1e-10,
)
case(
    "linalg.householder_product:real",
    lambda lax, a, t: lax.linalg.householder_product(a, t),
    *packed(4, 3),
    grad=True,
    rtol=1e-10,
)
for _left in (True, False):
    for _t in (True, False):
        case(
            f"linalg.ormqr:{_left} {_t}", lambda lax, a, t, c, left=_left, tr=_t: lax.linalg.ormqr(a, t, c, left=left, transpose=tr),
            *packed(4, 3), normal(4, 2) if _left else normal(2, 4), rtol=1e-10,
        )  # fmt: skip
case("linalg.hessenberg:stack", lambda lax, x: lax.linalg.hessenberg(x), normal(2, 5, 5), rtol=1e-9)
case("linalg.tridiagonal:lower", lambda lax, x: lax.linalg.tridiagonal(x), spd(5, 5), rtol=1e-9)
case("linalg.tridiagonal:upper", lambda lax, x: lax.linalg.tridiagonal(x, lower=False), spd(5, 5), rtol=1e-9)
case("linalg.tridiagonal:complex", lambda lax, x: lax.linalg.tridiagonal(x)[1:3], hermitian(4, 4), rtol=1e-9)
case(
    "linalg.tridiagonal_solve:stack",
    lambda lax, a, d, c, b: lax.linalg.tridiagonal_solve(a, d, c, b),
    normal(2, 5),
    between(4, 6, 2, 5),
    normal(2, 5),
    normal(2, 5, 3),
    grad=True,
    rtol=1e-10,
)
case(
    "linalg.cholesky_update:real",
    lambda lax, r, w: lax.linalg.cholesky_update(r, w),
    lambda rng: np.linalg.cholesky(spd(4, 4)(rng)).T.copy(),
    normal(4),
    rtol=1e-10,
)
case(
    "linalg.symmetric_product:both",
    lambda lax, a, c: lax.linalg.symmetric_product(a, c, alpha=2.0, beta=0.5, symmetrize_output=True),
    normal(3, 4),
    spd(3, 3),
    rtol=1e-10,
)

# --- the rest -------------------------------------------------------------------------------------

case("optimization_barrier:pair", lambda lax, x, y: lax.optimization_barrier((x, y)), normal(3), ints(0, 9, 2), rtol=0)
case(
    "platform_dependent:cpu",
    lambda lax, x: lax.platform_dependent(x, cpu=lambda x: x + 1, tpu=lambda x: x - 1),
    normal(3),
    rtol=0,
)
