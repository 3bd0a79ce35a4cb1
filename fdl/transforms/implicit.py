"""Derivatives of what is defined by an equation: `custom_linear_solve`, `custom_root`; and `closure_convert`.

By the implicit function theorem the solution's derivative is a linear solve, whatever algorithm found the solution: neither
its steps are differentiated, nor are their values kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, ShapeError, TreeError, at, user_source
from fdl.tracer.ir import Program, Type, type_of
from fdl.tracer.ops import elementwise
from fdl.tracer.primitive import Zero
from fdl.tracer.trace import Tracer, bind, check_array, record
from fdl.tracer.transforms.custom_jvp import CustomJVP, call_custom_jvp
from fdl.tracer.transforms.jvp import JVPTracer, instantiate, jvp_flat, program_function
from fdl.tracer.transforms.linear_solve import linear_solve_p
from fdl.tracer.transforms.transpose import transpose_program

from .checks import arrays, cast, check_callable, flat_function
from .signature import FlatFunction, argument_name, as_value, name_of

# --- closures -------------------------------------------------------------------------------------


def closure_convert(f: Callable[..., Any], *examples: Any) -> tuple[Callable[..., Any], list[Any]]:
    """`f` as a function that takes the traced arrays it closes over as arguments, and these arrays.

    For functions that are given to one with a custom rule: the rule only knows the derivative in arguments.

    Args:
        examples: positional arguments like those `f` will be called with.

    Returns:
        `(g, hoisted)`: `g(*args, *hoisted)` is `f(*args)`.  Hoisted are floating-point arrays that may carry a derivative;
        everything else that `f` closes over stays inside.

    Raises, when called: TreeError when the arguments are not nested like the examples; ShapeError or DTypeError, naming the argument, for
    another shape or dtype than the example's.

    Example:
        >>> import fdl
        >>> def value(w):
        ...     g, hoisted = fdl.closure_convert(lambda x: x * w, 1.0)
        ...     return g(3.0, *hoisted)
        >>> float(fdl.grad(value)(2.0))
        3.0
    """
    check_callable(f, "closure_convert")
    flat, structure = tree.flatten(tuple(examples))
    function = flat_function(f, structure)
    names = [tree.path_str(p, argument_name(f, i)) for i, x in enumerate(examples) for p in tree.paths(tree.structure(x))]
    who = f"closure_convert({name_of(f)})"
    types = [check_array(x, f"{who}: the example {n}") for x, n in zip(flat, names, strict=True)]
    program, captured = record(function, types, who)
    hoist = [_may_move(x) for x in captured]
    out_structure, name = function.out_structure, name_of(f)
    n = sum(hoist)

    def converted(*args: Any) -> Any:
        own, hoisted = (args[: len(args) - n], args[len(args) - n :]) if n else (args, ())
        leaves, given = tree.flatten(tuple(own))
        if given != structure:
            raise TreeError(
                f"closure_convert({name}): the arguments are not nested like the examples: "
                f"{tree.difference(structure, given, 'arguments')}{at(user_source())}"
            )
        leaves = [
            _as_example(x, t, f"{who}: argument {n}")
            for x, t, n in zip(leaves, types, names, strict=True)
        ]
        moved = iter(hoisted)
        consts = [next(moved) if h else x for x, h in zip(captured, hoist, strict=True)]
        return arrays(tree.unflatten(out_structure, program_function(program)(*consts, *leaves)))

    converted.__name__ = name
    return converted, [x for x, h in zip(captured, hoist, strict=True) if h]


def _as_example(x: Any, t: Type, who: str) -> Any:
    """`x` in the type that an example had; raises an error that begins with `who` for another one."""
    check_array(x, who)
    return cast(x, t, who)


def _may_move(x: Any) -> bool:
    """Whether a closed-over value may carry a tangent, of any level."""
    if isinstance(x, JVPTracer) and isinstance(x.tangent, Zero):
        return _may_move(x.primal)
    return isinstance(x, Tracer) and dtypes.is_inexact(type_of(x).dtype)


class _Staged:
    """A user's function as a program: `program(*captured, *leaves)`, and the structure of what it returns."""

    def __init__(self, f: Callable[..., Any], structure: tree.Structure, types: list[Type], label: str) -> None:
        function: FlatFunction = flat_function(f, structure)
        self.program, self.captured = record(function, types, label, name_of(f) if name_of(f).isidentifier() else "f")
        self.structure = function.out_structure

    @property
    def count(self) -> int:
        return len(self.captured)


def _check_like(
    what: str, staged: _Staged, structure: tree.Structure, types: list[Type], name: str, n: int | None = None
) -> None:
    """Raises unless a staged function returns what is like `structure` with these types."""
    given, outs = staged.structure, list(staged.program.out_types[:n])
    if n is not None:
        given = given.children[0]
    if given != structure:
        raise TreeError(
            f"{what} must return a pytree like {name}: {tree.difference(structure, given, 'result')}.{at(user_source())}"
        )
    for path, t, g in zip(tree.paths(structure), types, outs, strict=True):
        if t.shape != g.shape or t.dtype != g.dtype:
            raise ShapeError(
                f"{what} must return a pytree like {name}: result{tree.path_str(path)} has type {g.strong()}, expected "
                f"{t.strong()}.{at(user_source())}"
            )


def _leaves_like(x: Any, structure: tree.Structure, types: list[Type], what: str) -> list[Any]:
    """The leaves of `x`, a pytree of the given structure and types, in which Python scalars adapt."""
    leaves, given = tree.flatten(x)
    if given != structure:
        raise TreeError(f"{what}: {tree.difference(structure, given, 'x')}.{at(user_source())}")
    return [
        cast(v, t, f"{what}: {tree.path_str(path, 'x')}")
        for path, v, t in zip(tree.paths(structure), leaves, types, strict=True)
    ]


def _check_aux(what: str, staged: _Staged) -> None:
    s = staged.structure
    if s.type is not tuple or len(s.children) != 2:
        raise TypeError(f"{what} must return a pair (solution, aux), since has_aux=True, got {tree.described(s)}.{at(user_source())}")


# --- linear solves --------------------------------------------------------------------------------


def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[..., Any],
    transpose_solve: Callable[..., Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The solution x of matvec(x) = b as `solve(matvec, b)` finds it, differentiated implicitly: by solves with the same
    matrix.

    Args:
        matvec: a linear function of a pytree like `b`, which may close over the matrix; derivatives in what it closes over are
            those of x.
        b: the right side, a pytree of floating-point arrays.
        solve: `solve(matvec, b) -> x`. It is never differentiated.
        transpose_solve: `transpose_solve(vecmat, b) -> x`, the solution with the transposed matrix; reverse mode needs it.
        symmetric: whether matvec is symmetric: `solve` then serves both.
        has_aux: whether the solves return `(x, aux)`; aux has no derivative.

    Returns: x, or `(x, aux)`.

    Raises: TreeError or ShapeError when a function does not return a pytree like `b`; MissingRuleError in reverse mode without
        a transposed solve.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> def solve_diagonal(d, b):
        ...     return fdl.custom_linear_solve(lambda x: d * x, b, lambda matvec, b: b / matvec(fnp.ones(2)), symmetric=True)
        >>> fdl.grad(lambda d: solve_diagonal(d, fnp.ones(2)).sum())(fnp.array([1.0, 2.0])).tolist()
        [-1.0, -0.25]
    """
    flat, structure = tree.flatten(b)
    types = [check_array(x, "custom_linear_solve: b").strong() for x in flat]
    for path, t in zip(tree.paths(structure), types, strict=True):
        if not dtypes.is_inexact(t.dtype):
            raise DTypeError(
                f"custom_linear_solve: {tree.path_str(path, 'b')} has dtype {t.dtype.name}, expected a floating-point one. "
                f"Convert it with .astype(float).{at(user_source())}"
            )
    one = tree.Structure(tuple, None, (structure,), structure.size)
    label = "custom_linear_solve"

    def staged(f: Callable[..., Any], what: str, aux: bool) -> _Staged:
        found = _Staged(f, one, types, f"{label} ({what})")
        if aux:
            _check_aux(f"{label}: {what}", found)
        _check_like(f"{label}: {what}", found, structure, types, "b", len(types) if aux else None)
        return found

    check_callable(matvec, f"{label}: matvec")
    check_callable(solve, f"{label}: solve")
    if transpose_solve is not None:
        check_callable(transpose_solve, f"{label}: transpose_solve")
    forward = staged(matvec, "matvec", False)
    vecmat: Program | None = None
    if symmetric:
        vecmat = forward.program
    elif transpose_solve is not None:
        n = forward.count
        undefined = (*(False,) * n, *(True,) * len(types))
        vecmat = transpose_program(forward.program, undefined, (True,) * len(types), force=True)[0]

    def backward(x: Any) -> Any:
        assert vecmat is not None
        leaves = _leaves_like(x, structure, types, f"{label}: the argument of vecmat")
        return tree.unflatten(structure, program_function(vecmat)(*forward.captured, *leaves))

    solution = staged(lambda y: solve(matvec, y), "solve", has_aux)
    transposed: _Staged | None = None
    if transpose_solve is not None:
        other = transpose_solve
        transposed = staged(lambda y: other(backward, y), "transpose_solve", has_aux)
    elif symmetric:
        transposed = solution
    consts = [forward, forward if vecmat is not None else None, solution, transposed]
    outs = bind(
        linear_solve_p,
        *(x for s in consts if s is not None for x in s.captured),
        *flat,
        matvec=forward.program,
        vecmat=vecmat,
        solve=solution.program,
        transpose_solve=None if transposed is None else transposed.program,
        counts=tuple(0 if s is None else s.count for s in consts),
    )
    return tree.unflatten(solution.structure, [as_value(x) for x in outs])


# --- roots ----------------------------------------------------------------------------------------


def _adapted_guess(x: Any, t: Type, out: Type) -> Any:
    """`x`, of type `t`, in the type that the function gives for it, where it is a Python number."""
    dtype, weak = dtypes.promote((t.dtype, t.weak), (out.dtype, out.weak))
    return elementwise.convert(x, dtype, weak) if t.weak and dtype != t.dtype else x


def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    tangent_solve: Callable[[Callable[[Any], Any], Any], Any],
    has_aux: bool = False,
) -> Any:
    """A root of `f` as `solve(f, initial_guess)` finds it, differentiated implicitly in what `f` closes over.

    From f(x, θ) = 0 follows ∂f/∂x dx = −∂f/∂θ dθ: one linear solve (the implicit function theorem).

    Args:
        f: maps a pytree like `initial_guess` to one like it.
        initial_guess: where the search starts; the root's derivative in it is zero. A Python number takes the type that `f` gives it.
        solve: `solve(f, x) -> root`. It is never differentiated.
        tangent_solve: `tangent_solve(g, y)` solves g(x) = y for a linear function g: for a scalar `lambda g, y: y / g(1.0)`.
            For reverse mode it must be linear in y in a way that can be transposed; `custom_linear_solve` is.
        has_aux: whether `solve` returns `(root, aux)`; aux has no derivative.

    Returns: the root, or `(root, aux)`.

    Raises: TreeError or ShapeError when `f` or a solve does not return a pytree like `initial_guess`.

    Example:
        >>> import fdl
        >>> def newton(f, x):
        ...     return fdl.fori_loop(0, 20, lambda _, x: x - f(x) / fdl.grad(f)(x), x)
        >>> def root(a):
        ...     return fdl.custom_root(lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
        >>> float(root(4.0)), float(fdl.grad(root)(4.0))
        (2.0, 0.25)
    """
    guess, structure = tree.flatten(initial_guess)
    one = tree.Structure(tuple, None, (structure,), structure.size)
    label = "custom_root"
    for given_as, g in (("f", f), ("solve", solve), ("tangent_solve", tangent_solve)):
        check_callable(g, f"{label}: {given_as}")
    for _ in range(len(guess) + 1):  # a guess that takes another type may change what `f` gives for the others
        types = [check_array(x, f"{label}: initial_guess") for x in guess]
        function = _Staged(f, one, types, f"{label} (f)")
        adapted = [_adapted_guess(x, t, out) for x, t, out in zip(guess, types, function.program.out_types, strict=False)]
        if len(adapted) < len(guess) or all(a is b for a, b in zip(guess, adapted, strict=True)):
            break
        guess = adapted
    strong = [t.strong() for t in types]
    _check_like(f"{label}: f", function, structure, types, "initial_guess")
    n, k = function.count, len(types)

    def given(consts: Any) -> Callable[[Any], Any]:
        """`f` with these closed-over values."""
        return lambda x: tree.unflatten(
            structure,
            program_function(function.program)(*consts, *_leaves_like(x, structure, types, f"{label}: the argument of f")),
        )

    search = _Staged(
        lambda consts, x: solve(given(consts), x),
        tree.Structure(tuple, None, (tree.structure(tuple(function.captured)), structure), n + k),
        [*map(type_of, function.captured), *types],
        f"{label} (solve)",
    )
    if has_aux:
        _check_aux(f"{label}: solve", search)
    _check_like(f"{label}: solve", search, structure, types, "initial_guess", k if has_aux else None)

    def slope_solve(consts: Any, root: Any, right: Any) -> Any:
        leaves = tree.leaves(root)

        def slope(x: Any) -> Any:
            dots = _leaves_like(x, structure, strong, f"{label}: the argument of the linear function")
            _, pushed = jvp_flat(lambda *r: program_function(function.program)(*consts, *r), leaves, dots, label)
            return tree.unflatten(structure, [instantiate(d) for d in pushed])

        return tangent_solve(slope, right)

    triple = (tree.structure(tuple(function.captured)), structure, structure)
    tangent = _Staged(
        slope_solve,
        tree.Structure(tuple, None, triple, n + 2 * k),
        [*map(type_of, function.captured), *types, *strong],
        f"{label} (tangent_solve)",
    )
    _check_like(f"{label}: tangent_solve", tangent, structure, types, "initial_guess")
    m, q = search.count, tangent.count

    def found(*args: Any) -> list[Any]:
        return program_function(search.program)(*args[:m], *args[m + q :])

    def custom_root_jvp(primals: Any, tangents: Any) -> tuple[list[Any], list[Any]]:
        outs = call_custom_jvp(CustomJVP(found, custom_root_jvp, label), primals)
        root, consts, dots = outs[:k], primals[m + q : m + q + n], tangents[m + q : m + q + n]
        # The right side: how f moves at the root when what it closes over moves.
        _, moved = jvp_flat(lambda *c: program_function(function.program)(*c, *root), consts, dots, label)
        right = [elementwise.neg(instantiate(d)) for d in moved]
        x_dot = program_function(tangent.program)(*primals[m : m + q], *consts, *root, *right)
        aux = [Zero(type_of(x).strong()) for x in outs[k:]]
        return outs, [*x_dot, *aux]

    operands = [*search.captured, *tangent.captured, *function.captured, *guess]
    outs = call_custom_jvp(CustomJVP(found, custom_root_jvp, label), operands)
    return tree.unflatten(search.structure, [as_value(x) for x in outs])
