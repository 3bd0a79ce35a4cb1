"""The MLP's whole training step, and loops, from the loop IR to CUDA kernels, under Numba's simulator, against the reference."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = '''
import numpy as np

import fdl
import fdl.numpy as fnp
from fdl import nn, optim, random
from fdl.backends import cuda
from fdl.backends.loops.pipeline import pipeline
from fdl.backends.reference import ReferenceExecutable
from fdl.tracer import tree
from fdl.tracer.passes.simplify import simplify

model = nn.Sequential(nn.Linear(5), nn.relu, nn.Dropout(0.5), nn.Linear(3))
x = random.normal(random.key(1), (4, 6))
y = fnp.array([0, 2, 1, 1])
params, state = model.init(random.key(0), x)
opt = optim.adam(1e-2)


def loss(params, key):
    z, _ = model(params, state, x, key=key, train=True)
    return nn.losses.softmax_cross_entropy(z, y).mean()


def step(params, opt_state, key):
    value, grads = fdl.value_and_grad(loss)(params, key)
    updates, opt_state = opt.update(grads, opt_state, params)
    return optim.apply_updates(params, updates), opt_state, value


args = (params, opt.init(params), random.key(2))
program = fdl.make_ir(step)(*args)
arrays = [np.asarray(a) for a in (*tree.leaves(args), *program.values)]
expected = ReferenceExecutable(program)(arrays)
routine, _ = pipeline(simplify(program), "cuda")
n = len(program.inputs)
outputs, failure = cuda.run(routine, arrays[:n], arrays[n:])
assert failure is None
for out, e in zip(outputs, expected, strict=True):
    np.testing.assert_allclose(out, np.asarray(e), rtol=2e-5, atol=2e-6)
print("agrees", len(outputs))
'''


LOOPS = '''
import numpy as np
import fdl
import fdl.numpy as fnp
from fdl import lax
from fdl.backends import cuda
from fdl.backends.loops.pipeline import pipeline
from fdl.backends.reference import ReferenceExecutable
from fdl.tracer import tree
from fdl.tracer.passes.simplify import simplify

x = fnp.asarray(np.arange(40.0, dtype=np.float32) - 7)
labels = fnp.asarray(np.arange(8) * 3 % 5)
cases = [
    lambda x, l: lax.fori_loop(0, 40, lambda i, x: x.at[i].set(0.5 * x[i] + 1.0), x),
    lambda x, l: lax.scan(lambda n, v: (n + 1, v * n), 0, x),
    lambda x, l: lax.map(lambda r: r * r.sum(), x.reshape(8, 5)),
    lambda x, l: x.reshape(8, 5)[fnp.arange(8), l],
    lambda x, l: x.reshape(8, 5).at[fnp.arange(8), l].add(1.0),
    lambda x, l: lax.scan(lambda c, i: (c + x[i], i), 0.0, fnp.arange(40)),
    lambda x, l: lax.fori_loop(1, 40, lambda i, x: x.at[i].set(x[i - 1] + 1.0), x),
]
for k, f in enumerate(cases):
    program = fdl.make_ir(f)(x, labels)
    arrays = [np.asarray(a) for a in (x, labels, *program.values)]
    expected = ReferenceExecutable(program)(arrays)
    routine, _ = pipeline(simplify(program), "cuda", checked=True)
    n = len(program.inputs)
    outputs, failure = cuda.run(routine, arrays[:n], arrays[n:])
    assert failure is None
    for out, e in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(out, np.asarray(e), rtol=2e-5, atol=2e-6)
print("agrees", len(cases))
'''


def run(script: str) -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("agrees")


def test_the_training_step_runs_under_the_simulator() -> None:
    run(SCRIPT)


def test_loops_of_separate_steps_run_under_the_simulator() -> None:
    """Scans that count, scans made parallel, and those that stay in order."""
    run(LOOPS)
