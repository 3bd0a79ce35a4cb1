"""Computes `jax_normal.npz` with JAX: `python make_jax_normal.py jax_normal.npz`.

Of a million normal numbers for each seed and dtype: the 384 of largest modulus, where the formula loses digits, and every 4001st.
"""

import sys

import jax
import jax.random as jr
import numpy as np

COUNT = 1_000_000
out = {}
with jax.enable_x64(True):
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        for seed in (1, 4):
            x = np.asarray(jr.normal(jr.key(seed), (COUNT,), dtype))
            order = np.argsort(-np.abs(x.astype(np.float64)), kind="stable")[:384]
            places = np.unique(np.concatenate([order, np.arange(0, COUNT, 4001)])).astype(np.int32)
            picked = x[places]
            out[f"places|{seed}|{dtype}"] = places
            out[f"numbers|{seed}|{dtype}"] = picked.view(np.uint16) if dtype == "bfloat16" else picked
np.savez_compressed(sys.argv[1], **out)
