"""The source's layout: imports point down, there is no cycle, and nothing is imported under a bare name."""

from __future__ import annotations

import ast
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each list is the order of reading: a module imports from its own line and the lines above it. A name is the module
# or package directly below the one in the key. A module that stands in no line fails the test: give it one.
LAYERS = {
    "fdl.tracer": [
        {"errors", "dtypes", "records", "tree", "giles", "scalars", "lazy"},
        {"ir", "show"},
        {"primitive", "effects"},
        {"array", "trace", "check", "parse"},
        {"ops"},
        {"transforms"},
        {"passes"},
    ],
    "fdl.backends": [
        {"reference", "lapack", "cache", "collector", "fourier", "modes"},
        {"loops"},
        {"llvm", "cuda"},
        {"stored"},
        {"executable"},
        {"compiler"},
    ],
    "fdl": [
        {"tracer"},
        {"backends", "files"},
        {"config", "safetensors", "threads", "tree", "_slots"},
        {"numpy"},
        {"transforms", "host", "placement"},
        {"control", "debug", "collectives"},
        {"scipy"},
        {"random"},
        {"nn", "optim"},
        {"lax"},
        {"saving", "data", "train", "inspect", "testing"},
    ],
}
# Siblings on one line that still may not know each other.
APART = [("fdl.backends.llvm", "fdl.backends.cuda"), ("fdl.nn", "fdl.optim")]

# What may be imported inside a function: packages that fdl does without, or that only one of its uses needs.
LAZY = {"scipy", "numba", "cuda", "nvmath", "tqdm", "matplotlib"}


# Imports inside a function that are allowed for another reason. They count for the direction, not for the cycles.
INSIDE = {
    ("fdl.data.mnist", "fdl.data.download"): "the modules of the network cost 30 ms, and a file is there but for the first time",
    ("fdl.tracer.ir", "fdl.tracer.show"): "str(program) is a method, and its text is a module of its own above the types",
    ("fdl.transforms.announce", "logging"): "a tenth of what importing fdl costs, for lines that few programs cause",
    ("fdl.backends.llvm.layout", "numpy._core"): "a private module, which a NumPy to come may lack; its caller has another way",
}


@dataclass(frozen=True, slots=True)
class Import:
    """One import: the module that has it, the module or name it asks for, its line, and where it stands."""

    source: str
    target: str
    line: int
    inside: bool
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.source} line {self.line}: imports {self.target}"


def _files() -> dict[str, Path]:
    """Module name → file, for all of fdl, through the links."""
    found = {}
    for folder in ("fdl", "fdl/tracer", "fdl/backends"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


FILES = _files()


def _imports(module: str, path: Path) -> Iterator[Import]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def visit(node: ast.AST, inside: bool, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(module, alias.name, child.lineno, inside, typing_only)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    above = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*above, base] if base else above)
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    yield Import(module, full if full in FILES else base, child.lineno, inside, typing_only)
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                typing = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
                yield from visit(child, inside or function, typing_only or typing)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False, False)


@functools.cache
def all_imports() -> tuple[Import, ...]:
    return tuple(found for module, path in FILES.items() for found in _imports(module, path))


def _layer(package: str, module: str) -> int | None:
    """The line of `module` in `package`'s list; None when it is not inside the package, or is the package itself."""
    if not module.startswith(package + "."):
        return None
    name = module.removeprefix(package + ".").split(".")[0]
    for line, names in enumerate(LAYERS[package]):
        if name in names:
            return line
    raise AssertionError(f"{module}: {name!r} stands in no line of LAYERS[{package!r}] in tests/test_layout.py")


@pytest.mark.parametrize("package", LAYERS)
def test_imports_point_down(package: str) -> None:
    wrong = []
    for found in all_imports():
        source, target = _layer(package, found.source), _layer(package, found.target)
        if source is not None and target is not None and target > source:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_lower_packages_do_not_know_the_upper_ones() -> None:
    def allowed(source: str, target: str) -> bool:
        if target.split(".")[0] != "fdl":
            return True
        if source.startswith("fdl.tracer"):
            return target.startswith("fdl.tracer")
        if source.startswith("fdl.backends"):
            return target.startswith(("fdl.tracer", "fdl.backends"))
        # A module that imports the top itself would import everything.
        return target != "fdl" or source == "fdl"

    wrong = [str(found) for found in all_imports() if not allowed(found.source, found.target)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("one", "other"), APART)
def test_siblings_are_apart(one: str, other: str) -> None:
    def inside(module: str, package: str) -> bool:
        return module == package or module.startswith(package + ".")

    wrong = [
        str(found)
        for found in all_imports()
        for a, b in ((one, other), (other, one))
        if inside(found.source, a) and inside(found.target, b)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {module: set() for module in FILES}
    for found in all_imports():
        if found.target in FILES and found.target != found.source and not found.typing_only and not found.inside:
            graph[found.source].add(found.target)
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, "a cycle of imports: " + " → ".join([*way[way.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                walk(target, (*way, module))
            done.add(module)

    for module in graph:
        walk(module, ())


def test_no_imports_inside_functions() -> None:
    inside = [found for found in all_imports() if found.inside and (found.source, found.target) not in INSIDE]
    wrong = [str(found) for found in inside if found.target.split(".")[0] not in LAZY]
    assert not wrong, "an import inside a function means that the code sits in the wrong layer:\n" + "\n".join(wrong)


def test_optional_packages_are_imported_inside_functions_only() -> None:
    # fdl.backends.cuda.* is imported by those who have CUDA, and by tests; it may import Numba as it likes.
    wrong = [
        str(found)
        for found in all_imports()
        if found.target.split(".")[0] in LAZY
        and not found.inside
        and not found.typing_only
        and not found.source.startswith("fdl.backends.cuda")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_imported_under_a_bare_name() -> None:
    wrong = [str(found) for found in all_imports() if found.target.split(".")[0] in ("tracer", "backends")]
    for path in [p for folder in ("tests", "examples", "benchmarks") for p in sorted((ROOT / folder).rglob("*.py"))]:
        wrong += [str(f) for f in _imports(path.stem, path) if f.target.split(".")[0] in ("tracer", "backends")]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["tracer", "backends"])
def test_bare_import_raises_and_says_why(name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, ROOT / name / "__init__.py")
    assert spec is not None and spec.loader is not None
    with pytest.raises(ImportError, match=rf"imported as `fdl\.{name}`, never as `{name}`"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_links_are_relative() -> None:
    # An sdist has real folders in their place; in a checkout the links must not name a place on one machine.
    for name in ("tracer", "backends"):
        link = ROOT / "fdl" / name
        if link.is_symlink():
            assert link.readlink() == Path("..") / name


def test_importing_fdl_imports_no_optional_package() -> None:
    optional = sorted(LAZY | {"safetensors", "jax", "torch"})
    code = f"import sys, fdl; print([name for name in {optional!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
