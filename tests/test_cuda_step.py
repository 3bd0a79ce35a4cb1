"""The MLP's whole training step from the loop IR to CUDA kernels, under Numba's simulator, against the reference."""

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


def test_the_training_step_runs_under_the_simulator() -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("agrees")
