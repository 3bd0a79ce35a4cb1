"""fdl.numpy against the array API standard 2024.12: names, signatures, dtypes, the namespace and the array object."""

from __future__ import annotations

import inspect
import itertools
import math
import operator
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from array_api_cases import (
    ALL,
    BINARY,
    BINARY_TAKES,
    COMPLEX,
    FLOATS,
    INTS,
    NUMERIC,
    REAL,
    SHAPES,
    TOLERANCE,
    UNARY,
    operands,
    same,
    sample,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import array_api

import fdl
import fdl.numpy as fnp
from fdl.tracer import dtypes


@pytest.fixture
def reference() -> Iterator[None]:
    with fdl.config.using(backend="reference"):
        yield


# --- names and signatures -------------------------------------------------------------------------

CREATION = """
arange(start, /, stop=None, step=1, *, dtype=None, device=None)
asarray(obj, /, *, dtype=None, device=None, copy=None)
empty(shape, *, dtype=None, device=None)
empty_like(x, /, *, dtype=None, device=None)
eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)
from_dlpack(x, /, *, device=None, copy=None)
full(shape, fill_value, *, dtype=None, device=None)
full_like(x, /, fill_value, *, dtype=None, device=None)
linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True)
meshgrid(*arrays, indexing="xy")
ones(shape, *, dtype=None, device=None)
ones_like(x, /, *, dtype=None, device=None)
tril(x, /, *, k=0)
triu(x, /, *, k=0)
zeros(shape, *, dtype=None, device=None)
zeros_like(x, /, *, dtype=None, device=None)
"""
DTYPE_FUNCTIONS = """
astype(x, dtype, /, *, copy=True, device=None)
can_cast(from_, to, /)
finfo(type, /)
iinfo(type, /)
isdtype(dtype, kind)
result_type(*arrays_and_dtypes)
"""
OTHER = """
clip(x, /, min=None, max=None)
take(x, indices, /, *, axis=None)
take_along_axis(x, indices, /, *, axis=-1)
matmul(x1, x2, /)
matrix_transpose(x, /)
tensordot(x1, x2, /, *, axes=2)
vecdot(x1, x2, /, *, axis=-1)
broadcast_arrays(*arrays)
broadcast_to(x, /, shape)
concat(arrays, /, *, axis=0)
expand_dims(x, /, *, axis=0)
flip(x, /, *, axis=None)
moveaxis(x, source, destination, /)
permute_dims(x, /, axes)
repeat(x, repeats, /, *, axis=None)
reshape(x, /, shape, *, copy=None)
roll(x, /, shift, *, axis=None)
squeeze(x, /, axis)
stack(arrays, /, *, axis=0)
tile(x, repetitions, /)
unstack(x, /, *, axis=0)
argmax(x, /, *, axis=None, keepdims=False)
argmin(x, /, *, axis=None, keepdims=False)
count_nonzero(x, /, *, axis=None, keepdims=False)
nonzero(x, /)
searchsorted(x1, x2, /, *, side="left", sorter=None)
where(condition, x1, x2, /)
unique_all(x, /)
unique_counts(x, /)
unique_inverse(x, /)
unique_values(x, /)
argsort(x, /, *, axis=-1, descending=False, stable=True)
sort(x, /, *, axis=-1, descending=False, stable=True)
cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)
cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)
max(x, /, *, axis=None, keepdims=False)
mean(x, /, *, axis=None, keepdims=False)
min(x, /, *, axis=None, keepdims=False)
prod(x, /, *, axis=None, dtype=None, keepdims=False)
std(x, /, *, axis=None, correction=0.0, keepdims=False)
sum(x, /, *, axis=None, dtype=None, keepdims=False)
var(x, /, *, axis=None, correction=0.0, keepdims=False)
all(x, /, *, axis=None, keepdims=False)
any(x, /, *, axis=None, keepdims=False)
diff(x, /, *, axis=-1, n=1, prepend=None, append=None)
__array_namespace_info__()
"""
SIGNATURES: dict[str, inspect.Signature] = {}
for _line in filter(None, (CREATION + DTYPE_FUNCTIONS + OTHER).splitlines()):
    _scope: dict[str, Any] = {}
    exec(f"def {_line}: ...", _scope)
    _name = _line.partition("(")[0]
    SIGNATURES[_name] = inspect.signature(_scope[_name])
for _name in UNARY:
    SIGNATURES[_name] = inspect.signature(lambda x, /: None)
for _name in BINARY:
    SIGNATURES[_name] = inspect.signature(lambda x1, x2, /: None)

# Defaults that mean the same by another word.
SAME_DEFAULT = {
    ("std", "correction"): (0.0, None),
    ("var", "correction"): (0.0, None),
    ("squeeze", "axis"): (inspect.Parameter.empty, None),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    got = inspect.signature(getattr(fnp, name))
    kind = inspect.Parameter
    parameters = list(got.parameters.values())
    wanted = list(SIGNATURES[name].parameters.values())
    for place, p in enumerate(wanted):
        if p.kind is kind.KEYWORD_ONLY:
            found = got.parameters[p.name]
            assert found.kind in (kind.KEYWORD_ONLY, kind.POSITIONAL_OR_KEYWORD)
        else:
            found = parameters[place]
            # Positional-only parameters may be named as NumPy names them; where names may be used they are the standard's.
            assert found.kind == p.kind or (p.kind is kind.POSITIONAL_ONLY and found.kind is kind.POSITIONAL_OR_KEYWORD), found
            assert p.kind is kind.POSITIONAL_ONLY or found.name == p.name
        if name == "nonzero" or (name, p.name) in SAME_DEFAULT:
            assert found.default in SAME_DEFAULT.get((name, p.name), (kind.empty,))
        elif p.default is not kind.empty:
            assert found.default == p.default
    extra = [p for p in parameters if p.name not in SIGNATURES[name].parameters and p.default is kind.empty]
    assert len(extra) <= len([p for p in wanted if p.default is kind.empty])


def test_every_name() -> None:
    names = [*SIGNATURES, *"e inf nan newaxis pi bool".split(), *ALL[1:], "__array_api_version__"]
    missing = [n for n in names if not hasattr(fnp, n)]
    assert not missing
    assert fnp.__array_api_version__ == "2024.12" and fnp.newaxis is None and math.isnan(fnp.nan) and fnp.pi == math.pi
    x = fnp.ones((2, 2))
    attributes = "dtype device mT ndim shape size T to_device __array_namespace__ __dlpack__ __dlpack_device__".split()
    operators = "abs add and bool complex eq float floordiv ge getitem gt index int invert le lshift lt matmul mod mul ne neg or pos pow"
    operators += " rshift sub truediv xor radd rand rfloordiv rlshift rmatmul rmod rmul ror rpow rrshift rsub rtruediv rxor"
    missing = [n for n in [*attributes, *(f"__{o}__" for o in operators.split())] if not hasattr(x, n)]
    assert not missing


def test_no_helper_leaks_out_of_the_namespace() -> None:
    assert dir(fnp) == sorted(fnp.__all__)
    for name in dir(fnp):
        value = getattr(fnp, name)
        assert not isinstance(value, ModuleType) or name in ("linalg", "fft"), name
        if callable(value) and not isinstance(value, type) and not name.endswith("printoptions"):  # NumPy's own: they set its state
            assert getattr(value, "__module__", "fdl.numpy").startswith("fdl."), (name, value.__module__)
    for name in (
        "math",
        "Any",
        "np",
        "s",
        "e_",
        "annotations",
        "builtins",
        "dtypes",
        "as_operand",
        "type_of",
        "Callable",
        "define",
    ):
        assert name not in dir(fnp) and (name in vars(fnp)) is False, name
    assert isinstance(fnp.e, float) and isinstance(fnp.pi, float)


def test_public_functions_are_documented() -> None:
    for name in fnp.__all__:
        value = getattr(fnp, name)
        if callable(value):
            assert (value.__doc__ or "").strip(), name


# --- dtypes ---------------------------------------------------------------------------------------

# The documented lattice (fdl.tracer.dtypes), as a table: row and column operand, then a Python int, float and complex number.
LATTICE = """
     bool u8   u16  u32  u64  i8   i16  i32  i64  bf16 f16  f32  f64  c64  c128 i*   f*   c*
bool bool u8   u16  u32  u64  i8   i16  i32  i64  bf16 f16  f32  f64  c64  c128 i32  f32  c64
u8   u8   u8   u16  u32  u64  i16  i16  i32  i64  bf16 f16  f32  f64  c64  c128 u8   f32  c64
u16  u16  u16  u16  u32  u64  i32  i32  i32  i64  bf16 f16  f32  f64  c64  c128 u16  f32  c64
u32  u32  u32  u32  u32  u64  i64  i64  i64  i64  bf16 f16  f32  f64  c64  c128 u32  f32  c64
u64  u64  u64  u64  u64  u64  f32  f32  f32  f32  bf16 f16  f32  f64  c64  c128 u64  f32  c64
i8   i8   i16  i32  i64  f32  i8   i16  i32  i64  bf16 f16  f32  f64  c64  c128 i8   f32  c64
i16  i16  i16  i32  i64  f32  i16  i16  i32  i64  bf16 f16  f32  f64  c64  c128 i16  f32  c64
i32  i32  i32  i32  i64  f32  i32  i32  i32  i64  bf16 f16  f32  f64  c64  c128 i32  f32  c64
i64  i64  i64  i64  i64  f32  i64  i64  i64  i64  bf16 f16  f32  f64  c64  c128 i64  f32  c64
bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 f32  f32  f64  c64  c128 bf16 bf16 c64
f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f32  f16  f32  f64  c64  c128 f16  f16  c64
f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f64  c64  c128 f32  f32  c64
f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  c128 c128 f64  f64  c128
c64  c64  c64  c64  c64  c64  c64  c64  c64  c64  c64  c64  c64  c128 c64  c128 c64  c64  c64
c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128 c128
"""
SCALAR = {"i*": 1, "f*": 1.0, "c*": 1j}


def lattice() -> Iterator[tuple[str, str, str]]:
    head, *rows = LATTICE.strip("\n").splitlines()
    for row in rows:
        name, *cells = row.split()
        yield from ((name, column, cell) for column, cell in zip(head.split(), cells, strict=True))


def test_promotion_table(reference: None) -> None:
    assert len(list(lattice())) == 15 * 18
    for a, b, want in lattice():
        x = fnp.ones(2, a)
        y = SCALAR[b] if b in SCALAR else fnp.ones((2,), b)
        wanted = dtypes.of(want)
        assert fnp.result_type(x, y) == fnp.result_type(y, x) == wanted, (a, b)
        assert fnp.multiply(x, y).dtype == fnp.multiply(y, x).dtype == (x * y).dtype == (y * x).dtype == wanted, (a, b)
        assert fnp.where(x, x, y).dtype == wanted and (x == y).dtype == fnp.bool
        if b not in SCALAR:
            assert fnp.result_type(a, b) == fnp.result_type(x, b) == fnp.promote_types(a, b) == wanted, (a, b)
            assert fnp.concat([x, y]).dtype == fnp.stack([y, x]).dtype == wanted
            assert x[0].dtype == dtypes.of(a) and fnp.add(x[0], y[1]).dtype == wanted


def test_promotion_is_a_lattice() -> None:
    for a, b, c in itertools.product(dtypes.ALL, repeat=3):
        ab, bc = fnp.promote_types(a, b), fnp.promote_types(b, c)
        assert fnp.promote_types(a, b) == fnp.promote_types(b, a) and fnp.promote_types(a, a) == a
        if not (dtypes.uint64 in (a, b, c) and {a, b, c} & set(dtypes.SIGNED)):  # their bound, a weak float, becomes float32
            assert fnp.promote_types(ab, c) == fnp.promote_types(a, bc)
    assert fnp.result_type("u64", "i8", "f16") == fnp.float16
    assert fnp.result_type(1, 2.0) == fnp.float32 and fnp.result_type(fnp.float16, 1, 2.5) == fnp.float16
    with pytest.raises(TypeError, match="at least one array or dtype"):
        fnp.result_type()


def test_dtype_functions(reference: None) -> None:
    for name in FLOATS:
        got, want = fnp.finfo(name), np.finfo(name)
        for field in ("bits", "eps", "max", "min", "smallest_normal", "tiny"):
            value = getattr(got, field)
            assert type(value) is (int if field == "bits" else float) and value == float(getattr(want, field))
        assert got.dtype == np.dtype(name) and fnp.finfo(fnp.ones(2, name)) == got
    assert fnp.finfo("c64") == fnp.finfo("f32") and fnp.finfo("bf16").eps == 2.0**-7
    for name in INTS:
        i = fnp.iinfo(name)
        assert (i.bits, i.max, i.min) == (np.iinfo(name).bits, np.iinfo(name).max, np.iinfo(name).min) and type(i.max) is int
        assert i.dtype == np.dtype(name) and fnp.iinfo(fnp.ones(1, name)) == i
    with pytest.raises(TypeError, match=r"finfo: int8 is not a floating-point dtype. Use iinfo"):
        fnp.finfo("i8")
    with pytest.raises(TypeError, match=r"iinfo: float32 is not an integer dtype. Use finfo"):
        fnp.iinfo("f32")
    kinds = ["bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric"]
    for name, kind in itertools.product(ALL, kinds):
        assert fnp.isdtype(np.dtype(name), kind) is np.isdtype(np.dtype(name), kind)
    assert fnp.isdtype("f32", ("bool", np.dtype("float32"))) and not fnp.isdtype("f32", (fnp.float64, "integral"))
    assert (
        fnp.isdtype("bf16", "real floating") and fnp.issubdtype("bf16", np.floating) and not fnp.issubdtype("f32", np.integer)
    )
    with pytest.raises(TypeError, match="kind 'floating' is not known"):
        fnp.isdtype("f32", "floating")
    for a, b in itertools.product(ALL, ALL):
        for source in (np.dtype(a), fnp.ones((), a)):
            assert fnp.can_cast(source, np.dtype(b)) is bool(np.can_cast(np.dtype(a), np.dtype(b)))
    assert fnp.can_cast("bf16", "f32") and not fnp.can_cast("f32", "bf16") and not fnp.can_cast("bf16", "f16")


def test_astype(reference: None) -> None:
    for a, b in itertools.product(ALL, ALL):
        if np.dtype(a).kind == "c" and np.dtype(b).kind != "c":
            continue
        for shape in ((), (0, 2), (3,)):
            x = sample(shape, a, 1, 0, 2)
            same(fnp.astype(x, np.dtype(b)), x.astype(b))
    assert fnp.astype(fnp.asarray([0j, 1j]), bool).tolist() == [False, True]
    for call in (lambda z: fnp.astype(z, "f32"), lambda z: z.astype(int), lambda z: fnp.asarray(z, "f64")):
        with pytest.raises(TypeError, match=r"cannot become .* Take \.real, \.imag or abs first"):
            call(fnp.asarray([1j]))
    x = fnp.arange(3)
    assert fnp.astype(x, x.dtype, copy=False) is x and fnp.astype(x, x.dtype) is not x
    assert fnp.astype(fnp.asarray([1e9, -1e9, np.nan, np.inf]), "i16").tolist() == [32767, -32768, 0, 32767]


def test_namespace_info() -> None:
    info = fnp.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    assert info.default_device() in info.devices() and fnp.ones(1).device in info.devices()
    for device in [None, *info.devices()]:
        found = info.default_dtypes(device=device)
        assert found == {
            "real floating": fnp.ones(1).dtype, "complex floating": fnp.asarray(1j).dtype, "integral": fnp.asarray(1).dtype,
            "indexing": fnp.argmax(fnp.ones(2)).dtype,
        }  # fmt: skip
        assert info.dtypes(device=device) == {name: np.dtype(name) for name in ALL}
    assert set(info.dtypes(kind="integral")) == set(INTS) and set(info.dtypes(kind=("bool", "complex floating"))) == {
        "bool",
        *COMPLEX,
    }
    assert fnp.ones(1).__array_namespace__() is fnp and fnp.ones(1).__array_namespace__(api_version="2023.12") is fnp
    with pytest.raises(ValueError, match=r"version '2019\.01' is not known"):
        fnp.ones(1).__array_namespace__(api_version="2019.01")
    with pytest.raises(ValueError, match=r"device 'cuda:7' is not known. Expected 'cpu'"):
        fnp.zeros(2, device="cuda:7")
    x = fnp.ones(2)
    assert x.to_device("cpu") is x and fnp.asarray(x, device="cpu", copy=False) is x


# --- the array object -----------------------------------------------------------------------------

OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "floor_divide": operator.floordiv, "remainder": operator.mod, "pow": operator.pow, "equal": operator.eq, "not_equal": operator.ne,
    "less": operator.lt, "less_equal": operator.le, "greater": operator.gt, "greater_equal": operator.ge,
    "bitwise_and": operator.and_, "bitwise_or": operator.or_, "bitwise_xor": operator.xor, "bitwise_left_shift": operator.lshift,
    "bitwise_right_shift": operator.rshift,
}  # fmt: skip
IN_PLACE = {
    "add": operator.iadd, "subtract": operator.isub, "multiply": operator.imul, "divide": operator.itruediv,
    "floor_divide": operator.ifloordiv, "remainder": operator.imod, "pow": operator.ipow, "bitwise_and": operator.iand,
    "bitwise_or": operator.ior, "bitwise_xor": operator.ixor, "bitwise_left_shift": operator.ilshift,
    "bitwise_right_shift": operator.irshift,
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str, reference: None) -> None:
    op = OPERATORS[name]
    for dtype in BINARY_TAKES.get(name, REAL):
        x, y = operands(name, dtype, (2, 3), (3,))
        a, b = fnp.asarray(x), fnp.asarray(y)
        tolerance = 5 * TOLERANCE.get(dtype, 0)
        want = op(x, y)
        for got in (op(a, b), op(a, y), op(x, b)):
            same(got, want, tolerance)
        two: Any = True if dtype == "bool" else 2
        same(op(a, two), op(x, np.asarray(two, dtype)), tolerance)
        if np.all(y != 0) or name not in ("divide", "floor_divide", "remainder"):
            positive = y if dtype == "bool" else np.abs(y).astype(dtype)
            same(op(two, fnp.asarray(positive)), op(np.asarray(two, dtype), positive), tolerance)
        if name in IN_PLACE:
            c = a
            c = IN_PLACE[name](c, b)
            same(c, want, tolerance)  # a name is bound anew, and what else has the array keeps it
            same(a, x)


def test_unary_operators_and_matmul(reference: None) -> None:
    for dtype in NUMERIC:
        x = sample((2, 3), dtype, 1)
        a = fnp.asarray(x)
        same(-a, -x)
        same(+a, x)
        same(abs(a), np.abs(x), TOLERANCE.get(dtype, 0))
        same(a @ a.T, x @ x.T, 5 * TOLERANCE.get(dtype, 0))
        same(x @ a.T, x @ x.T, 5 * TOLERANCE.get(dtype, 0))
    same(~fnp.asarray([True, False]), np.array([False, True]))
    same(~fnp.asarray([1, -2]), np.array([-2, 1], "i4"))
    c = fnp.ones((2, 2))
    c @= fnp.ones((2, 2))
    assert c.tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert [v.tolist() for v in divmod(fnp.asarray([7, -7]), 2)] == [[3, -4], [1, 1]] and divmod(7, fnp.asarray(2))[
        0
    ].item() == 3


def test_scalar_conversions() -> None:
    for dtype in INTS:
        x = fnp.asarray(3, dtype)
        assert int(x) == 3 and float(x) == 3.0 and complex(x) == 3 and operator.index(x) == 3 and [0, 1, 2, 3][x] == 3
    for dtype in FLOATS:
        x = fnp.asarray(2.5, dtype)
        assert int(x) == 2 and float(x) == 2.5 and complex(x) == 2.5 and bool(x) is True
        with pytest.raises(TypeError, match="only a 0-d integer array is an index"):
            operator.index(x)
    assert complex(fnp.asarray(1 + 2j)) == 1 + 2j and bool(fnp.asarray(False)) is False and int(fnp.asarray(True)) == 1
    with pytest.raises(TypeError):
        float(fnp.asarray(1j))
    with pytest.raises(ValueError, match="is ambiguous"):
        bool(fnp.ones(2))
    for convert in (int, float, complex, operator.index):
        with pytest.raises(TypeError):
            convert(fnp.ones(2, "i4"))
    with pytest.raises(ValueError):
        int(fnp.asarray(np.nan))
    with pytest.raises(OverflowError):
        int(fnp.asarray(np.inf))


def test_attributes() -> None:
    for dtype, shape in itertools.product(ALL, SHAPES):
        x = fnp.zeros(shape, dtype)
        d = np.dtype(dtype)
        assert (x.dtype, x.shape, x.ndim, x.size, x.device) == (d, shape, len(shape), math.prod(shape), "cpu")
        assert (x.itemsize, x.nbytes) == (d.itemsize, d.itemsize * x.size) and x.T.shape == shape[::-1]
    with pytest.raises(TypeError, match=r"immutable. Write x = x.at\[index\].set"):
        fnp.ones(2)[0] = 1.0
    with pytest.raises(TypeError, match="unhashable"):
        hash(fnp.ones(2))


def test_dlpack() -> None:
    for dtype, shape in itertools.product(ALL, [(), (0,), (3,), (2, 3)]):
        x = fnp.asarray(sample(shape, dtype, 1))
        same(fnp.from_dlpack(x), np.asarray(x))
        same(fnp.from_dlpack(np.asarray(x).copy(), device="cpu", copy=True), np.asarray(x))
        back = np.from_dlpack(x)
        assert back.dtype == x.dtype and back.shape == shape and not back.flags.writeable
        assert np.array_equal(back, np.asarray(x)) and np.shares_memory(back, np.asarray(x)) == (x.size > 0)
        kind, number = x.__dlpack_device__()
        assert (int(kind), number) == (1, 0)
        for copy, version, device in itertools.product((None, True), (None, (0, 8), (1, 0), (2, 0)), (None, (1, 0))):
            x.__dlpack__(copy=copy, max_version=version, dl_device=device, stream=None)
    x = fnp.arange(3.0)
    assert x.__dlpack__(copy=False, max_version=(1, 0)) is not None
    writable = np.from_dlpack(x, copy=True)
    writable[0] = 9
    assert writable.flags.writeable and x.tolist() == [0, 1, 2]
    with pytest.raises(BufferError, match="no read-only flag"):
        x.__dlpack__(copy=False)
    with pytest.raises(BufferError, match="cannot be put on"):
        x.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="copy=False, but the memory of a ndarray could still change"):
        fnp.from_dlpack(np.arange(3), copy=False)
    assert fnp.from_dlpack(x, copy=False) is x
    same(fnp.asarray(OnlyDLPack(np.arange(3))), np.arange(3))


class OnlyDLPack:
    """An array of another library: nothing but the DLPack protocol."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    def __dlpack__(self, **kw: Any) -> Any:
        return self.data.__dlpack__(**kw)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


# --- arrays that Hypothesis makes ------------------------------------------------------------------

XPS = array_api.make_strategies_namespace(fnp, api_version="2024.12")


def test_hypothesis_takes_the_namespace() -> None:
    """The conformance suite draws its arrays through this: no warning about a dtype or an attribute that is missing."""
    assert XPS.api_version == "2024.12"


@given(st.data())
@settings(max_examples=60)
def test_arrays_drawn_by_hypothesis(data: st.DataObject) -> None:
    dtype = data.draw(XPS.scalar_dtypes())
    x = data.draw(XPS.arrays(dtype, XPS.array_shapes(min_dims=0, max_side=4)))
    plain = np.asarray(x)
    assert isinstance(x, fdl.Array) and x.dtype == dtype and plain.shape == x.shape
    index = data.draw(XPS.indices(x.shape, allow_newaxis=True))
    same(x[index], plain[index])
    mask = data.draw(XPS.arrays(fnp.bool, x.shape))
    same(x[mask], plain[np.asarray(mask)])
    same(fnp.where(mask, x, x[::-1] if x.ndim else x), np.where(np.asarray(mask), plain, plain[::-1] if x.ndim else plain))
    if x.ndim:
        axis = data.draw(XPS.valid_tuple_axes(x.ndim, min_size=1))
        same(fnp.flip(x, axis=axis), np.flip(plain, axis))
        same(fnp.any(x, axis=axis), np.any(plain, axis))
        same(fnp.expand_dims(x, axis=axis[0]), np.expand_dims(plain, axis[0]))
    shapes = data.draw(XPS.mutually_broadcastable_shapes(2, base_shape=x.shape, max_side=4))
    y, z = (fnp.zeros(n, dtype) for n in shapes.input_shapes)
    assert [v.shape for v in fnp.broadcast_arrays(x, y, z)] == [shapes.result_shape] * 3


def test_traced_attributes() -> None:
    def f(x: Any) -> Any:
        assert x.device == "cpu" and x.__array_namespace__() is fnp and x.to_device("cpu") is x and (x.ndim, x.size) == (2, 6)
        return x.mT.astype("f64").copy() @ x.reshape(6)[:2].astype("f64")

    x = sample((2, 3), "float32", 1)
    same(fdl.jit(f)(x), x.T.astype("f8") @ x.ravel()[:2].astype("f8"), 1e-6)
