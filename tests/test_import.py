"""What `import fdl` loads, and what comes with the first use: the compiler, and the packages that programs may do without."""

from __future__ import annotations

import ast
import importlib
import os
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import fdl
import fdl.numpy as fnp
from fdl.backends import compiler

ROOT = Path(__file__).resolve().parents[1]


def run(code: str, *args: str) -> str:
    """What a fresh process prints that runs `code`; the helpers `loaded` and `compiled` are there."""
    helpers = (
        "import sys\n"
        "def loaded(*names): return sorted(m for m in sys.modules if m in names or m.startswith(tuple(n + '.' for n in names)))\n"
        "def compiled(): return 'fdl.backends.executable' in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", helpers + code, *args], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# --- what is loaded -------------------------------------------------------------------------------

PARTS = (
    "data", "lax", "nn", "optim", "random", "scipy", "testing", "tree", "saving", "threads", "control", "collectives", "debug", "host",
    "placement",
)  # fmt: skip


def test_import_loads_neither_the_compiler_nor_optional_packages() -> None:
    out = run(
        "import fdl\n"
        "print(loaded('llvmlite', 'scipy', 'tqdm', 'numba', 'matplotlib', 'logging', 'fdl.backends'))\n"
        f"print(loaded(*('fdl.' + n for n in {PARTS!r})))"
    )
    assert out.splitlines() == ["['fdl.backends', 'fdl.backends.collector', 'fdl.backends.compiler', 'fdl.backends.modes']", "[]"]


def test_import_loads_what_most_programs_use_of_fdl_numpy() -> None:
    """A module takes 0.3 ms to load. Before there were parts of `fdl.numpy`, the 44 modules of that package were half of what fdl took."""
    out = run(
        "import numpy, fdl\n"
        "print(loaded('numpy.fft', *('fdl.numpy.' + n for n in (*fdl.numpy._LATER, 'fft', 'linalg'))))\n"
        "print(len(loaded('fdl')))\n"
        "x = fdl.numpy.arange(6.0).reshape(2, 3)\n"
        "assert (x @ x.T + x.sum(0)[:2]).max() and fdl.grad(lambda x: fdl.numpy.where(x > 0, x, 0.0).mean())(x).shape == (2, 3)\n"
        "print(loaded(*('fdl.numpy.' + n for n in (*fdl.numpy._LATER, 'fft', 'linalg'))))"
    )
    early, count, late = out.splitlines()
    assert early == late == "[]" and int(count) <= 75


def test_parts_of_fdl_numpy_are_loaded_by_each_way_to_use_them() -> None:
    for use in (
        "assert fnp.einsum('i,i', x, x).item() == 5.0",
        "assert hasattr(fnp, 'einsum') and not hasattr(fnp, 'contractions_'), 1",
        "from fdl.numpy import einsum",
        "from fdl.numpy import *; assert einsum is fnp.einsum and unique is fnp.unique and fft is fnp.fft",
        "import fdl.numpy.contractions; assert fnp.einsum is fdl.numpy.contractions.einsum",
        "assert np.einsum('i,i', x, x).item() == 5.0 and not loaded('fdl.numpy.polynomials')",
        "assert x.__array_namespace__().einsum('i,i', x, x).item() == 5.0",
        "import pickle; assert pickle.loads(bytes.fromhex(sys.argv[1]))('i,i', x, x).item() == 5.0",
        "assert 'einsum' in dir(fnp) and 'einsum' in fnp.__all__ and not loaded('fdl.numpy.contractions'); fnp.einsum",
    ):
        run(
            "import numpy as np, fdl.numpy as fnp\nx = fnp.asarray([1.0, 2.0])\nassert not loaded('fdl.numpy.contractions')\n"
            + use
            + "\nassert loaded('fdl.numpy.contractions')",
            pickle.dumps(fnp.einsum).hex(),
        )
    run(
        "import numpy as np, fdl.numpy as fnp\nx = fnp.asarray([1.0, 0.0])\n"
        "assert np.fft.fft(x).tolist() == [1, 1] and np.linalg.norm(x).item() == 1.0 and np.unique(x).tolist() == [0, 1]\n"
        "assert {type(np.fft.fft(x)), type(np.linalg.norm(x)), type(np.unique(x)), type(np.hypot(x, x))} == {type(x)}"
    )


def test_light_operations_and_derivatives_need_no_compiler() -> None:
    run(
        "import fdl, fdl.numpy as fnp\n"
        "x = fnp.ones((2, 3)).reshape(3, 2)\n"
        "assert fdl.grad(lambda x: x * x)(3.0) == 6.0\n"
        "assert str(fdl.make_ir(fnp.sin)(x)) and fdl.eval_shape(fnp.sin, x).shape == (3, 2)\n"
        "with fdl.config.using(backend='reference'): assert (fnp.ones((2, 2)) @ fnp.ones((2, 2))).tolist() == [[2.0, 2.0], [2.0, 2.0]]\n"
        "assert not compiled()\n"
        "assert (fnp.ones((2, 2)) @ fnp.ones((2, 2))).tolist() == [[2.0, 2.0], [2.0, 2.0]]\n"
        "assert compiled()"
    )


def test_linear_algebra_loads_two_modules_of_scipy_and_not_its_package() -> None:
    """`scipy.linalg` takes 0.3 s to import, most of what the first `inv` of a process takes. An import that follows finds all in order."""
    pytest.importorskip("scipy")
    run(
        "import fdl.numpy as fnp\n"
        "assert fnp.linalg.inv(fnp.asarray([[2.0, 0.0], [0.0, 4.0]])).tolist() == [[0.5, 0.0], [0.0, 0.25]]\n"
        "assert compiled() and not loaded('scipy.linalg'), loaded('scipy.linalg')\n"
        "import scipy.linalg, scipy.linalg.cython_lapack\n"
        "assert scipy.linalg.cython_lapack.__pyx_capi__ and scipy.linalg.inv([[2.0]]).tolist() == [[0.5]]\n"
        "from fdl.backends import lapack\n"
        "from scipy.linalg import cython_blas, cython_lapack\n"
        "assert lapack._modules() == (cython_lapack, cython_blas)\n"
        "assert fnp.linalg.inv(fnp.asarray([[2.0 + 0j]])).tolist() == [[0.5 + 0j]]"
    )


def test_a_part_is_loaded_by_its_first_use_and_kept() -> None:
    run(
        "import fdl\n"
        "assert 'nn' in dir(fdl) and 'nn' not in vars(fdl)\n"
        "layer = fdl.nn.Linear\n"
        "assert vars(fdl)['nn'] is sys.modules['fdl.nn'] and not loaded('fdl.lax')\n"
        "from fdl import lax, save\n"
        "import fdl.scipy.special as special\n"
        "assert lax is fdl.lax and fdl.scipy.special is special and save is fdl.save\n"
    )


def test_threads_and_settings_before_and_after_the_compiler() -> None:
    run(
        "import fdl\n"
        "fdl.config.log_compiles = 'never'\n"
        "fdl.set_num_threads(3)\n"
        "assert fdl.get_num_threads() == 3 and fdl.config.log_compiles == 'never' and not compiled()\n"
        "assert fdl.jit(lambda x: x + 1)(2) == 3 and compiled()\n"
        "fdl.set_num_threads(2)\n"
        "assert fdl.get_num_threads() == 2\n"
        "fdl.config.backend = 'reference'\n"
        "assert fdl.jit(lambda x: x + 1)(2) == 3"
    )


# --- names ----------------------------------------------------------------------------------------


def _typed(file: str) -> dict[str, str]:
    """Name → home of the imports under TYPE_CHECKING, as `parts` spells them."""
    path = ROOT / file
    package = "fdl" if file == "fdl/__init__.py" else "fdl." + file.split("/")[0]
    branch = next(
        n
        for n in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)
    )
    found = {}
    for node in branch.body:
        assert isinstance(node, ast.ImportFrom)
        base = f"{package}.{node.module}" if node.level else node.module or ""
        for alias in node.names:
            assert alias.asname == alias.name
            folder = ROOT.joinpath(*base.split("."), alias.name)
            is_module = folder.is_dir() or folder.with_suffix(".py").exists()
            found[alias.name] = (
                f"{base}.{alias.name}" if is_module and base in ("fdl", "fdl.transforms") else f"{base}:{alias.name}"
            )
    return found


@pytest.mark.parametrize("file", ["fdl/__init__.py", "backends/compiler.py"])
def test_type_checkers_see_what_is_loaded(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    tables = [ast.literal_eval(n) for n in ast.walk(tree) if isinstance(n, ast.Dict)]
    assert tables == [_typed(file)]


def test_the_table_of_fdl_numpy_is_what_its_modules_name() -> None:
    """Type checkers see star imports; the table has the names of each module, in its order."""
    path = ROOT / "fdl/numpy/__init__.py"
    branch = next(n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.If))
    stars, packages = [], []
    for node in branch.body:
        assert isinstance(node, ast.ImportFrom) and node.level == 1
        (stars if node.module else packages).append((node.module, [a.name for a in node.names]))
    assert stars == [(module, ["*"]) for module in fnp._LATER] and packages == [(None, [name]) for name in fnp._PACKAGES]
    for module, names in fnp._LATER.items():
        assert list(names) == importlib.import_module(f"fdl.numpy.{module}").__all__, module
    # The import of a module makes it an attribute of its package, in the place of a function of that name.
    modules = {p.stem for p in path.parent.iterdir()}
    assert modules & set(fnp.__all__) == set(fnp._PACKAGES) and len(set(fnp.__all__)) == len(fnp.__all__)


def test_all_dir_help_and_unknown_names() -> None:
    assert len(set(fdl.__all__)) == len(fdl.__all__) and set(fdl.__all__) <= set(dir(fdl))
    assert {"jit", "grad", "nn", "numpy", "optim", "save", "config", "checkpoint_policies", "Array"} <= set(fdl.__all__)
    assert not {"tracer", "backends", "transforms", "saving", "threads"} & set(fdl.__all__)
    assert "custom_jvp" in pydoc.render_doc(fdl) and callable(fdl.custom_jvp)
    everything: dict[str, object] = {}
    exec("from fdl import *", everything)
    assert all(everything[name] is getattr(fdl, name) for name in fdl.__all__)
    for module in (fdl, fnp, compiler):
        assert not hasattr(module, "nonesuch")
        with pytest.raises(AttributeError, match=rf"^module '{module.__name__}' has no attribute 'nonesuch'$"):
            module.nonesuch  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonesuch'"):
        exec("from fdl import nonesuch")


def test_pickles_and_texts_are_read_where_nothing_is_loaded() -> None:
    def f(x: fdl.Array) -> fdl.Array:
        return fdl.scipy.special.gammaln(x) + fdl.lax.reduce_window(x, 0.0, fdl.lax.add, (2,), (1,), "SAME")

    program = fdl.make_ir(f)(fnp.ones(3))
    given = pickle.dumps((fdl.nn.Linear(3), fnp.ones(2), program)).hex()
    run(
        "import pickle, fdl\n"
        "layer, x, program = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "assert layer == fdl.nn.Linear(3) and x.tolist() == [1.0, 1.0]\n"
        "assert str(program) == sys.argv[2]",
        given,
        str(program),
    )
    run("import fdl\nfrom fdl.tracer.parse import parse\nassert str(parse(sys.argv[1])) == sys.argv[1]", str(program))


def test_every_primitive_is_found() -> None:
    run(
        "import fdl, importlib, pkgutil\n"
        "from fdl.tracer.primitive import PRIMITIVES, declare_all, is_declared\n"
        "assert 'gammaln' not in PRIMITIVES and is_declared('gammaln') and not is_declared('nonesuch')\n"
        "found = set(PRIMITIVES)\n"
        "for m in pkgutil.walk_packages(fdl.__path__, 'fdl.'):\n"
        "    if not m.name.startswith('fdl.backends.cuda'): importlib.import_module(m.name)\n"
        "assert set(PRIMITIVES) == found, set(PRIMITIVES) - found"
    )


# --- threads, forks, interruptions ----------------------------------------------------------------


def test_threads_that_call_first_at_once() -> None:
    run(
        "import fdl, fdl.numpy as fnp, threading\n"
        "start, got = threading.Barrier(4), []\n"
        "def work(k):\n"
        "    start.wait()\n"
        "    f = fdl.jit(lambda x: fdl.nn.relu(x) + k)\n"
        "    got.append((k, f(1.0).item(), type(f), (fnp.ones((2, 2)) @ fnp.ones((2, 2))).sum().item()))\n"
        "threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]\n"
        "for t in threads: t.start()\n"
        "for t in threads: t.join()\n"
        "assert sorted(g[:2] for g in got) == [(k, 1.0 + k) for k in range(4)], got\n"
        "assert len({g[2] for g in got}) == 1 and {g[3] for g in got} == {8.0}"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_waits_for_what_another_thread_loads() -> None:
    # Without the lock the child inherits the lock of a module that a thread which it lacks is importing, and waits for ever.
    run(
        "import fdl, os, threading, time, importlib.abc\n"
        "begun = threading.Event()\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'fdl.nn.attention': begun.set(); time.sleep(0.5)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "thread = threading.Thread(target=lambda: fdl.nn)\n"
        "thread.start(); begun.wait()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    import signal; signal.alarm(20)\n"
        "    ok = fdl.nn.relu(-1.0) == 0.0 and fdl.jit(lambda x: x + 1)(1) == 2\n"
        "    os._exit(0 if ok else 1)\n"
        "thread.join()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert fdl.jit(lambda x: x + 1)(1) == 2"
    )


def test_an_interrupted_load_is_begun_again() -> None:
    # Ctrl-C in the middle of module after module: at the first call that one makes, then further and further on.
    run(
        "import numpy, ml_dtypes, llvmlite.binding\n"
        "left, stops = 0, 0\n"
        "def interrupting(frame, event, arg):\n"
        "    global left\n"
        "    caller = frame.f_back if event == 'call' else None\n"
        "    if caller and caller.f_code.co_name == '<module>' and caller.f_globals['__name__'].startswith('fdl.'):\n"
        "        left -= 1\n"
        "        if left < 0: raise KeyboardInterrupt\n"
        "def until_done(use):\n"
        "    global left, stops\n"
        "    for allowed in range(3, 3000, 3):\n"
        "        left = allowed\n"
        "        sys.setprofile(interrupting)\n"
        "        try: return use()\n"
        "        except (KeyboardInterrupt, RuntimeError) as e:\n"  # Python 3.11 wraps what is raised while a class names its attributes
        "            if not isinstance(e.__cause__ or e, KeyboardInterrupt): raise\n"
        "            stops += 1\n"
        "        finally: sys.setprofile(None)\n"
        "def first():\n"
        "    import fdl\n"
        "    return fdl\n"
        "fdl = until_done(first)\n"
        "assert stops > 20, stops\n"
        "def add(x): return x + 1\n"
        "assert until_done(lambda: fdl.jit(add)(1)) == 2\n"
        "assert until_done(lambda: fdl.nn.relu(-1.0)) == 0.0\n"
        "assert until_done(lambda: fdl.scipy.special.gammaln(1.0)) == 0.0\n"
        "assert stops > 40, stops\n"
        "import fdl.numpy as fnp\n"
        "assert fdl.grad(lambda x: fnp.sum(x @ x))(fnp.ones((2, 2))).tolist() == [[4.0, 4.0], [4.0, 4.0]]"
    )


def test_no_module_asks_for_a_part_while_it_is_imported() -> None:
    # A thread that loads a part waits for modules that others import: those must not wait for it (see `tracer/lazy.py`). The remedy for
    # the module that is named is `import fdl.x as x` in place of `from fdl import x`.
    run(
        "import importlib, pkgutil, fdl\n"
        "from fdl.tracer import lazy\n"
        "class Watch:\n"
        "    def __enter__(self):\n"
        "        frame = sys._getframe(1)\n"
        "        while frame:\n"
        "            name = frame.f_globals.get('__name__', '')\n"
        "            assert not (name.startswith('fdl') and frame.f_code.co_name == '<module>'), name\n"
        "            frame = frame.f_back\n"
        "    def __exit__(self, *error): pass\n"
        "lazy._LOADING = Watch()\n"
        "for m in pkgutil.walk_packages(fdl.__path__, 'fdl.'):\n"
        "    if not m.name.startswith('fdl.backends.cuda'): importlib.import_module(m.name)\n"
        "assert fdl.nn is sys.modules['fdl.nn']"
    )
