"""`fdl.tracer.records.dataclass` against the standard `dataclasses.dataclass`, of which it is to be a cheaper spelling."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
import typing
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from pathlib import Path
from typing import Any

import pytest

import fdl
from fdl.tracer import records
from fdl.tracer.errors import is_own

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = [
    {"init": True, "frozen": f, "slots": s, "eq": e} for f in (True, False) for s in (True, False) for e in (True, False)
]
MAKERS: tuple[Callable[..., Any], Callable[..., Any]] = (dataclasses.dataclass, vars(records)["dataclass"])


def _bodies(make: Callable[..., Any]) -> dict[str, Any]:
    class Empty:
        """Nothing."""

    class One:
        a: int

    class Several:
        """Some fields."""

        a: int
        b: str = "b"
        c: list[int] = field(default_factory=list)
        d: int = field(default=3, compare=False)
        e: int = field(default=4, repr=False)

        def double(self) -> int:
            return 2 * self.a

    class Own:
        a: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self))

        def __hash__(self) -> int:
            return 7

        def __post_init__(self) -> None:
            assert self.a < 10, "too much"

    class OwnEquality:
        a: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self))

    return {c.__name__: make(c) for c in (Empty, One, Several, Own, OwnEquality)}


VALUES: dict[str, list[tuple[Any, ...]]] = {
    "Empty": [()],
    "One": [(1,), (2,)],
    "Several": [(1,), (1, "b"), (2, "b"), (1, "c", [1]), (1, "b", [], 5), (1, "b", [], 3, 5)],
    "Own": [(1,), (2,)],
    "OwnEquality": [(1,), (2,)],
}


def _outcome(f: Callable[[], Any]) -> Any:
    try:
        return repr(f())
    except Exception as e:  # what is raised is what is compared
        return type(e), str(e).replace("_bodies.<locals>.", "")


def _facts(cls: Any, values: list[tuple[Any, ...]]) -> list[Any]:
    """What can be seen of a class and of its instances."""
    made = [cls(*v) for v in values]
    facts: list[Any] = [str(inspect.signature(cls)), cls.__match_args__, str(cls.__dataclass_params__)]
    facts += [(f.name, f.type, f.compare, f.repr) for f in dataclasses.fields(cls)]
    facts += [hasattr(made[0], "__dict__"), getattr(cls, "__slots__", None), cls.__hash__ is None, cls.__name__, cls.__module__]
    for x in made:
        facts += [repr(x), _outcome(lambda x=x: dataclasses.astuple(x))]
        facts += [
            _outcome(lambda x=x: x == copy.copy(x)),
            _outcome(lambda x=x: len({x, *made})),
        ]
        facts += [x == y for y in made] + [x != y for y in made] + [x == 3]
    if dataclasses.fields(cls):
        x = cls(*values[0])
        facts += [_outcome(lambda: setattr(x, "a", 4)), _outcome(lambda: delattr(x, "a"))]
        facts += [_outcome(lambda: setattr(x, "a", x)), _outcome(lambda: x)]
    facts += [_outcome(lambda: dataclasses.replace(cls(*values[0]), a=9))]
    facts += [
        _outcome(lambda: cls(11)),
        _outcome(lambda: cls(1, 2, 3, 4, 5, 6, 7)),
        _outcome(lambda: cls(nonesuch=1)),
        _outcome(cls),
    ]
    if cls.__name__ == "Several":
        facts += [made[0].double(), made[0].c is not made[1].c]
    return facts


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_the_standard_dataclass(options: dict[str, bool]) -> None:
    standard, ours = (_bodies(lambda c, m=m: m(**options)(c)) for m in MAKERS)
    for name, values in VALUES.items():
        assert _facts(ours[name], values) == _facts(standard[name], values), name


def test_hash_is_the_tuples_and_a_derived_class_may_have_attributes() -> None:
    for make in MAKERS:
        one, several = (_bodies(make(frozen=True))[n] for n in ("One", "Several"))
        assert hash(one(5)) == hash((5,))

        class Derived(one):
            extra: int

        x = Derived(1)
        x.extra = 3
        assert x.extra == 3 and x != one(1)
        with pytest.raises(FrozenInstanceError, match=r"^cannot assign to field 'a'$"):
            x.a = 2
        del x.extra
        with pytest.raises(TypeError, match="unhashable"):
            hash(several(1))


@pytest.mark.parametrize("base", MAKERS)
@pytest.mark.parametrize("derived", MAKERS)
def test_a_dataclass_derives_from_a_frozen_one_if_it_is_frozen(base: Callable[..., Any], derived: Callable[..., Any]) -> None:
    @base(frozen=True)
    class Base:
        """One field."""

        a: int

    def make(frozen: bool) -> Any:
        class Derived(Base):
            """Another one."""

            b: int = 2

        return derived(frozen=frozen)(Derived)

    x = make(True)(1)
    assert (x.a, x.b) == (1, 2) and dataclasses.replace(x, a=3) == type(x)(3) and x != Base(1)  # type: ignore[call-arg]
    with pytest.raises(FrozenInstanceError):
        x.b = 3
    with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):
        make(False)


def test_pickles_copies_and_patterns() -> None:
    plan = fdl.tracer.ir.Type((2, 3), fdl.tracer.dtypes.float32)
    assert pickle.loads(pickle.dumps(plan)) == plan == copy.deepcopy(plan)
    match plan:
        case fdl.tracer.ir.Type((2, n), dtype):
            assert n == 3 and dtype == "float32"
        case _:
            raise AssertionError(plan)


def test_a_class_with_an_init_of_its_own_keeps_it() -> None:
    for make in MAKERS:
        for init in (True, False):

            class Named:
                """Its name is made of the argument."""

                name: str

                def __init__(self, count: int) -> None:
                    object.__setattr__(self, "name", "x" * count)

            cls = make(init=init, frozen=True, slots=True)(Named)
            assert cls(3).name == "xxx" and repr(cls(1)).endswith("Named(name='x')") and cls(2) == cls(2)


def test_init_is_written_by_the_first_look_at_it() -> None:
    cls = _bodies(MAKERS[1](frozen=True, slots=True))["Several"]
    assert type(vars(cls)["__init__"]) is records._Init
    first = cls(1)
    written = vars(cls)["__init__"]
    assert inspect.isfunction(written) and first == cls(a=1) and vars(cls)["__init__"] is written
    assert written.__qualname__.endswith("Several.__init__") and written.__module__ == __name__
    assert typing.get_type_hints(written) == {"a": int, "b": str, "c": list[int], "d": int, "e": int, "return": type(None)}


def test_fields_of_any_name() -> None:
    for make in MAKERS:
        for frozen in (True, False):

            class Odd:
                """Names that the text of `__init__` has too."""

                cls: int
                set: int = 1
                missing: list[int] = field(default_factory=list)
                make: int = 2

            x = make(frozen=frozen)(Odd)(7)
            assert (x.cls, x.set, x.missing, x.make) == (7, 1, [], 2)


def test_the_frame_of_init_is_not_the_users_line() -> None:
    seen = []

    class Watched:
        a: int

        def __post_init__(self) -> None:
            seen.append(sys._getframe(1))

    MAKERS[1](Watched)(1)  # type: ignore[call-arg]
    assert seen[0].f_code.co_name == "__init__" and is_own(seen[0])


def test_fdl_has_the_cheap_dataclass_everywhere() -> None:
    importers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("fdl", "tracer", "backends")
        for path in (ROOT / folder).rglob("*.py")
        if any(
            line.startswith("from dataclasses import")
            and "dataclass" in line.removeprefix("from dataclasses").split("import")[1]
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    ]
    assert importers == []


def test_a_nan_equals_itself() -> None:
    """Fields are compared as tuples are, which the standard function does up to Python 3.12."""

    @records.dataclass(frozen=True)
    class Point:
        x: float

    nan = float("nan")
    assert Point(nan) == Point(nan) and hash(Point(nan)) == hash(Point(nan)) and Point(nan) != Point(float("nan"))
