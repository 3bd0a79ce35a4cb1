"""Computes `jax_samplers.npz` with JAX: `python make_jax_samplers.py jax_samplers.npz`."""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

N = (40,)
P = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
A = np.arange(12.0, dtype=np.float32).reshape(4, 3)
COV = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)
# Each is called with a key and a dtype; `tests/test_samplers.py` has the same calls.
CALLS = {
    "truncated_normal": lambda r, k, d: r.truncated_normal(k, -1.0, 2.0, N, d),
    "truncated_normal_array": lambda r, k, d: r.truncated_normal(k, np.array([-2.0, 0.5], d), np.array([0.0, 3.0], d), None, d),
    "exponential": lambda r, k, d: r.exponential(k, N, d),
    "laplace": lambda r, k, d: r.laplace(k, N, d),
    "gumbel": lambda r, k, d: r.gumbel(k, N, d),
    "gumbel_high": lambda r, k, d: r.gumbel(k, N, d, mode="high"),
    "cauchy": lambda r, k, d: r.cauchy(k, N, d),
    "logistic": lambda r, k, d: r.logistic(k, N, d),
    "rayleigh": lambda r, k, d: r.rayleigh(k, np.array(1.5, d), N, d),
    "weibull_min": lambda r, k, d: r.weibull_min(k, 1.5, 0.7, N, d),
    "pareto": lambda r, k, d: r.pareto(k, np.array([0.5, 3.0], d), (20, 2), d),
    "lognormal": lambda r, k, d: r.lognormal(k, np.array(0.5, d), N, d),
    "triangular": lambda r, k, d: r.triangular(k, np.array(-1.0, d), np.array(0.5, d), np.array(2.0, d), N, d),
    "wald": lambda r, k, d: r.wald(k, np.array(1.5, d), N, d),
    "maxwell": lambda r, k, d: r.maxwell(k, N, d),
    "double_sided_maxwell": lambda r, k, d: r.double_sided_maxwell(k, np.array(1.0, d), np.array(2.0, d), N, d),
    "multivariate_normal": lambda r, k, d: r.multivariate_normal(k, np.array([1.0, -1.0], d), COV.astype(d), (10,), d),
    "orthogonal": lambda r, k, d: r.orthogonal(k, 3, (2,), d),
    "orthogonal_wide": lambda r, k, d: r.orthogonal(k, 2, (), d, 4),
    "bernoulli_high": lambda r, k, d: r.bernoulli(k, np.full(N, 0.3, d), mode="high"),
    "geometric": lambda r, k, d: r.geometric(k, np.array(0.3, d), N),
    "rademacher": lambda r, k, d: r.rademacher(k, N),
    "choice": lambda r, k, d: r.choice(k, 7, N),
    "choice_axis": lambda r, k, d: r.choice(k, A, (2, 3), axis=1),
    "choice_distinct": lambda r, k, d: r.choice(k, 50, (7,), replace=False),
    "choice_distinct_rows": lambda r, k, d: r.choice(k, A, (3,), replace=False),
    "choice_p": lambda r, k, d: r.choice(k, 4, N, p=P),
    "choice_distinct_p": lambda r, k, d: r.choice(k, 4, (3,), replace=False, p=P),
    "categorical_distinct": lambda r, k, d: r.categorical(k, np.log(P), shape=(3,), replace=False),
    "permutation_independent": lambda r, k, d: r.permutation(k, A, axis=1, independent=True),
    "permutation_axis": lambda r, k, d: r.permutation(k, A, axis=1),
}  # fmt: skip
INTEGERS = "bernoulli_high geometric rademacher choice choice_axis choice_distinct choice_distinct_rows choice_p choice_distinct_p".split()
INTEGERS += ["categorical_distinct", "permutation_independent", "permutation_axis"]


class Converting:
    """jax.random with parameters made JAX arrays, which some samplers ask for."""

    def __getattr__(self, name):
        def call(key, *args, **kwargs):
            return getattr(jr, name)(key, *[jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in args], **kwargs)

        return call


def main():
    out = {}
    for seed in (0, 7):
        for name, call in CALLS.items():
            out[f"{name}|{seed}|float32"] = np.asarray(call(Converting(), jr.key(seed), np.float32))
    with jax.enable_x64(True):
        for name, call in CALLS.items():
            if name not in INTEGERS:
                out[f"{name}|3|float64"] = np.asarray(call(Converting(), jr.key(3), np.float64))
    np.savez_compressed(sys.argv[1], **out)


if __name__ == "__main__":
    main()
