"""Writes `jax_parameters.json`, what JAX's functions call their parameters: `python tests/data/make_jax_parameters.py FILE`.

Parameters that one can only give by position, and private ones, are left out.
"""

import importlib
import inspect
import json
import sys
import types
import warnings

import jax

NAMESPACES = (
    "jax.numpy", "jax.numpy.linalg", "jax.numpy.fft", "jax.lax", "jax.nn", "jax.nn.initializers", "jax.random", "jax.scipy.fft",
    "jax.scipy.integrate", "jax.scipy.linalg", "jax.scipy.ndimage", "jax.scipy.optimize", "jax.scipy.signal", "jax.scipy.special",
    "jax.scipy.sparse.linalg", "jax.scipy.stats",
)  # fmt: skip
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

warnings.simplefilter("ignore")
found = {}
for namespace in NAMESPACES:
    module = importlib.import_module(namespace)
    parts = {namespace: module}
    if namespace == "jax.scipy.stats":  # a distribution is a module there
        values = {n: getattr(module, n) for n in dir(module) if not n.startswith("_")}
        parts |= {f"{namespace}.{n}": v for n, v in values.items() if isinstance(v, types.ModuleType)}
    for path, part in parts.items():
        own = {}
        for name in sorted(dir(part)):
            value = None if name.startswith("_") else getattr(part, name, None)
            if not callable(value) or inspect.isclass(value) or isinstance(value, types.UnionType):
                continue
            try:
                parameters = inspect.signature(value).parameters.values()
            except (TypeError, ValueError):
                continue
            own[name] = [p.name for p in parameters if p.kind in NAMED and not p.name.startswith("_")]
        found[path] = own
with open(sys.argv[1], "w") as f:
    json.dump({"jax": jax.__version__, "parameters": found}, f, indent=0)
    f.write("\n")
print({k: len(v) for k, v in found.items()})
