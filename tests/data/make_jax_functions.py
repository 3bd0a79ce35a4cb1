"""Computes `jax_lax.npz` and `jax_nn.npz` with JAX: `python tests/data/make_jax_functions.py`, in the folder above `tests`."""

import sys
import warnings

import jax
import ml_dtypes  # noqa: F401
import numpy as np

sys.path.insert(0, ".")
from tests import lax_cases, nn_cases

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")
warnings.simplefilter("ignore")
for name, module, cases in (("lax", jax.lax, lax_cases.CASES), ("nn", jax.nn, nn_cases.CASES)):
    out = {}
    for case in cases:
        try:
            result = case.f(module, *map(jax.numpy.asarray, case.arrays()))
        except Exception as e:
            raise RuntimeError(case.name) from e
        for i, leaf in enumerate(jax.tree.leaves(result)):
            out[f"{case.name}|{i}"] = np.asarray(leaf)
    np.savez_compressed(f"tests/data/jax_{name}.npz", **out)
    print(name, len(cases), "cases,", len(out), "arrays")
