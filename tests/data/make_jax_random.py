"""Computes `jax_random.npz` with JAX: `python make_jax_random.py jax_random.npz`."""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

out = {}


def put(name, x):
    out[name] = np.asarray(x)


for seed in (0, 1, 42, -3, 2**31 - 1):
    k = jr.key_data(jr.key(seed))
    put(f"key/{seed}", k)
    K = jr.key(seed)
    put(f"split/{seed}", jr.key_data(jr.split(K, 5)))
    put(f"fold_in/{seed}", jr.key_data(jr.fold_in(K, 7)))
    for dt in ("uint8", "uint16", "uint32"):
        put(f"bits/{seed}/{dt}", jr.bits(K, (3, 5), dt))
    for dt in ("float16", "float32"):
        put(f"uniform/{seed}/{dt}", jr.uniform(K, (4, 5), dt, -2.0, 3.0))
        put(f"normal/{seed}/{dt}", jr.normal(K, (64,), dt))
    put(f"uniform/{seed}/bfloat16", np.asarray(jr.uniform(K, (4, 5), jnp.bfloat16)).view(np.uint16))
    put(f"between/{seed}/bfloat16", np.asarray(jr.uniform(K, (64,), jnp.bfloat16, -1.5, 2.25)).view(np.uint16))
    put(f"bernoulli/{seed}", jr.bernoulli(K, 0.3, (50,)))
    put(f"randint/{seed}/int32", jr.randint(K, (20,), -5, 1000))
    put(f"randint/{seed}/uint8", jr.randint(K, (20,), 3, 256, "uint8"))
    put(f"randint/{seed}/int16", jr.randint(K, (20,), -300, 20000, "int16"))
    put(f"permutation/{seed}/1000", jr.permutation(K, 1000))
    put(f"permutation/{seed}/array", jr.permutation(K, jnp.arange(12.0).reshape(6, 2)))
    put(f"categorical/{seed}", jr.categorical(K, jnp.log(jnp.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])), shape=(20, 2)))
with jax.enable_x64(True):
    for seed in (0, 42):
        K = jr.key(seed)
        put(f"bits/{seed}/uint64", jr.bits(K, (3, 5), "uint64"))
        put(f"uniform/{seed}/float64", jr.uniform(K, (4, 5), "float64"))
        put(f"between/{seed}/float64", jr.uniform(K, (64,), "float64", -1.5, 2.25))
        put(f"normal/{seed}/float64", jr.normal(K, (64,), "float64"))
        put(f"randint/{seed}/int64", jr.randint(K, (20,), -5, 10**15, "int64"))
np.savez_compressed(sys.argv[1], **{k.replace("/", "|"): v for k, v in out.items()})
