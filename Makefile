# fdl: set-up, tests, demo and benchmarks. Needs make and Python 3.11 or newer; no compiler.
#
#   make demo [MODEL=mlp|cnn|vae]   train on MNIST, with pictures and a table of results
#   make test                       the test suite, but for what takes minutes
#   make test-slow                  what takes minutes: whole training runs and exhaustive sweeps
#   make test-matrix                the test suite in guarded memory, then for each CPU level that this machine has (FDL_TARGET) on 1, 2 and
#                                   4 threads (FDL_NUM_THREADS); ARGS="tests/test_fft.py" for a part of it
#   make fuzz [COUNT=10000] [SEED=0]
#                                   random programs: reference against native code, transforms, derivatives (ARGS=--help names the options)
#   make bench [ARGS=--quick]       side-by-side with JAX, PyTorch and NumPy (large downloads; ARGS=--help names the options;
#                                   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu gets the smaller PyTorch)
#   make growth [ARGS=--quick]      how costs grow with size, beside JAX: writes docs/growth.md and its picture (environment as for bench)
#   make scaling [ARGS=--quick]     fdl on one thread, two, .. up to the cores: writes docs/scaling.md (environment as for bench)
#   make lint                       ruff and mypy
#
# Each makes its environment when there is none. VENV=folder puts it elsewhere, PYTHON=name picks the interpreter.

VENV ?= .venv
BENCH_VENV ?= .venv-bench
MODEL ?= all
JOBS ?= 2
ARGS ?=
COUNT ?= 1000
SEED ?= 0

# The newest Python that fits and can make an environment. A name on PATH may be a stub that only prints a hint, so
# each is run.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1; \
	then echo $$p; break; fi; done)

# Matplotlib writes files, never windows.
export MPLBACKEND ?= Agg

.PHONY: demo test test-slow test-matrix fuzz bench growth scaling lint clean
.DEFAULT_GOAL := test

demo: $(VENV)/.ready
	$(VENV)/bin/python -m examples.demo --model $(MODEL) $(ARGS)

test: $(VENV)/.ready
	$(VENV)/bin/python -m pytest -n $(JOBS) -m "not slow" $(ARGS)

test-slow: $(VENV)/.ready
	$(VENV)/bin/python -m pytest -m slow $(ARGS)

# Every run is made, whatever the others say; the last lines tell which failed. Objects do not depend on the number of threads: the
# runs on 2 and 4 threads take those that the run on 1 has compiled.
test-matrix: $(VENV)/.ready
	@failed=; \
	run() { \
	    echo "== $$*"; \
	    env "$$@" $(VENV)/bin/python -m pytest -q -n $(JOBS) -m "not slow" $(ARGS) || failed="$$failed\n$$*"; \
	}; \
	run FDL_DEBUG_MEMORY=1; \
	objects=$$(mktemp -d); \
	for target in $$($(VENV)/bin/python -c 'from fdl.backends.llvm.target import runnable; print(*runnable())'); do \
	    for threads in 1 2 4; do run FDL_TARGET=$$target FDL_NUM_THREADS=$$threads FDL_TESTS_CACHE=$$objects; done; \
	done; \
	rm -rf $$objects; \
	test -z "$$failed" || { printf "failed with:$$failed\n"; exit 1; }

fuzz: $(VENV)/.ready
	$(VENV)/bin/python -m tests.fuzz --count $(COUNT) --seed $(SEED) --jobs $(JOBS) $(ARGS)

bench: $(BENCH_VENV)/.ready
	$(BENCH_VENV)/bin/python -m benchmarks $(ARGS)

growth: $(BENCH_VENV)/.ready
	$(BENCH_VENV)/bin/python -m benchmarks.growth $(ARGS)

scaling: $(BENCH_VENV)/.ready
	$(BENCH_VENV)/bin/python -m benchmarks.scaling $(ARGS)

# The second ruff sees tracer and backends as fdl.tracer and fdl.backends (see pyproject.toml).
lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff check --select TID251 fdl/tracer fdl/backends
	$(VENV)/bin/mypy

$(VENV)/.ready: EXTRAS = examples,test
$(BENCH_VENV)/.ready: EXTRAS = bench

# The stamp is written last: a set-up that was cut short is done again.
$(VENV)/.ready $(BENCH_VENV)/.ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.14 with venv was found on PATH. Install one" \
		"(Debian and Ubuntu: apt install python3 python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@test -e fdl/tracer/__init__.py || { echo "The links fdl/tracer and fdl/backends are missing: clone again with" \
		"git config core.symlinks true." >&2; exit 1; }
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

clean:
	rm -rf build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
