"""Writes `jax_names.json`, the public names of JAX's namespaces: `python tests/data/make_jax_names.py tests/data/jax_names.json`.

A name counts where it is a function, a class, a dtype or a constant; modules, primitives (`..._p`) and typing's names do not.
"""

import importlib
import json
import sys
import types
import warnings

import jax

NAMESPACES = (
    "jax", "jax.numpy", "jax.numpy.linalg", "jax.numpy.fft", "jax.lax", "jax.lax.linalg", "jax.nn", "jax.nn.initializers", "jax.random",
    "jax.scipy.cluster.vq", "jax.scipy.fft", "jax.scipy.integrate", "jax.scipy.interpolate", "jax.scipy.linalg", "jax.scipy.ndimage",
    "jax.scipy.optimize", "jax.scipy.signal", "jax.scipy.sparse.linalg", "jax.scipy.spatial.transform", "jax.scipy.special",
    "jax.scipy.stats",
)  # fmt: skip

warnings.simplefilter("ignore")
found = {}
for namespace in NAMESPACES:
    module = importlib.import_module(namespace)
    names = []
    for name in sorted(dir(module)):
        if name.startswith("_") or name.endswith("_p"):
            continue
        value = getattr(module, name, None)
        if value is None and name != "newaxis":
            continue
        home = getattr(value, "__module__", "") or ""
        if isinstance(value, types.ModuleType) or home in ("typing", "collections.abc") or home.startswith("jaxlib.mlir"):
            continue
        names.append(name)
    found[namespace] = names
    if namespace == "jax.scipy.stats":  # a distribution is a module there
        for part in sorted(
            n for n in dir(module) if isinstance(getattr(module, n), types.ModuleType) and not n.startswith("_")
        ):
            inner = getattr(module, part)
            own = [n for n in sorted(dir(inner)) if not n.startswith("_") and isinstance(getattr(inner, n), types.FunctionType)]
            found[f"jax.scipy.stats.{part}"] = own
with open(sys.argv[1], "w") as f:
    json.dump({"jax": jax.__version__, "names": found}, f, indent=0)
    f.write("\n")
print({k: len(v) for k, v in found.items()})
