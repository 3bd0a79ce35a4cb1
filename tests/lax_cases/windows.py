"""`gather` and `scatter`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .table import Draw, bools, case, cplx, ints, normal

# --- gather and scatter ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """Dimension numbers and shapes of one gather, and of the scatter that goes with it."""

    name: str
    operand: tuple[int, ...]
    indices: tuple[int, ...]
    offset: tuple[int, ...]
    collapsed: tuple[int, ...]
    index_map: tuple[int, ...]
    sizes: tuple[int, ...]
    own: tuple[int, ...] = ()
    theirs: tuple[int, ...] = ()

    def gather(self, lax: Any) -> Any:
        return lax.GatherDimensionNumbers(self.offset, self.collapsed, self.index_map, self.own, self.theirs)

    def scatter(self, lax: Any) -> Any:
        return lax.ScatterDimensionNumbers(self.offset, self.collapsed, self.index_map, self.own, self.theirs)

    @property
    def updates(self) -> tuple[int, ...]:
        kept = [n for a, n in enumerate(self.sizes) if a not in (*self.collapsed, *self.own)]
        batch = list(self.indices[:-1])
        return tuple(kept.pop(0) if a in self.offset else batch.pop(0) for a in range(len(kept) + len(batch)))


WINDOWS = (
    Windows("rows", (5, 3), (4, 1), (1,), (0,), (0,), (1, 3)),
    Windows("elements", (5, 3), (4, 2), (), (0, 1), (0, 1), (1, 1)),
    Windows("elements crossed", (5, 3), (2, 3, 2), (), (0, 1), (1, 0), (1, 1)),
    Windows("one window", (5, 4), (2,), (0, 1), (), (0, 1), (2, 3)),
    Windows("windows", (6, 4), (3, 2), (1, 2), (), (0, 1), (2, 3)),
    Windows("windows in front", (6, 4), (3, 2), (0, 1), (), (0, 1), (2, 3)),
    Windows("windows between", (6, 4), (2, 3, 2), (1, 3), (), (0, 1), (2, 3)),
    Windows("one axis of windows", (6, 4), (3, 1), (1, 2), (), (1,), (6, 2)),
    Windows("part of the others", (6, 4), (3, 1), (1,), (0,), (0,), (1, 2)),
    Windows("kept size one", (6, 4), (3, 1), (1, 2), (), (0,), (1, 4)),
    Windows("batching", (3, 6, 4), (3, 2, 1), (2,), (1,), (1,), (1, 1, 4), (0,), (0,)),
    Windows("batching and windows", (3, 6, 2), (4, 3, 1), (1, 3), (), (1,), (1, 3, 2), (0,), (1,)),
    Windows("two batching axes", (2, 3, 6), (3, 2, 1), (), (2,), (2,), (1, 1, 1), (0, 1), (1, 0)),
    Windows("empty batch", (5, 3), (0, 1), (1,), (0,), (0,), (1, 3)),
    Windows("empty window", (5, 3), (2, 1), (1, 2), (), (0,), (0, 3)),
    Windows("no coordinates", (5, 3), (2, 0), (1, 2), (), (), (5, 3)),
)


def _inside(w: Windows) -> Draw:
    most = [w.operand[a] - w.sizes[a] + 1 for a in w.index_map]
    return lambda rng: np.asarray(
        np.stack([rng.integers(0, m, w.indices[:-1]) for m in most], -1) if most else np.zeros(w.indices), "int32"
    )


def _apart(w: Windows) -> Draw:
    """A different window for each element of the batch."""
    number = np.arange(int(np.prod(w.indices[:-1])), dtype="int32").reshape(w.indices[:-1])
    columns = [number % (w.operand[a] - w.sizes[a] + 1) for a in w.index_map]
    return lambda rng: np.stack(columns, -1)


def _around(w: Windows) -> Draw:
    return lambda rng: np.asarray(rng.integers(-3, 9, w.indices), "int32")


APART = ("rows", "elements", "one window", "part of the others", "empty batch", "empty window", "kept size one")
"""The windows of which `_apart` finds enough."""

for _w in WINDOWS:
    _smooth = _w.name not in ("empty batch", "empty window")
    case(
        f"gather:{_w.name}",
        lambda lax, x, i, w=_w: lax.gather(x, i, w.gather(lax), w.sizes, mode="clip"),
        normal(*_w.operand),
        _inside(_w),
        grad=_smooth,
        rtol=0,
    )
    for _mode in ("clip", "fill"):
        case(
            f"gather:{_w.name} {_mode}",
            lambda lax, x, i, w=_w, m=_mode: lax.gather(x, i, w.gather(lax), w.sizes, mode=m),
            normal(*_w.operand),
            _around(_w),
            rtol=0,
        )
    case(
        f"gather:{_w.name} fill value",
        lambda lax, x, i, w=_w: lax.gather(x, i, w.gather(lax), w.sizes, mode="fill", fill_value=-1),
        normal(*_w.operand),
        _around(_w),
        rtol=0,
    )
    for _name in ("scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max", "scatter_sub"):
        _mode = "clip" if _name in ("scatter", "scatter_mul", "scatter_max") else "drop"
        if _name == "scatter":  # which of several updates of one element stays is not defined there: each has its own
            if _w.name in APART:
                case(
                    f"scatter:{_w.name}",
                    lambda lax, x, i, u, w=_w: lax.scatter(x, i, u, w.scatter(lax), mode="drop"),
                    normal(*_w.operand),
                    _apart(_w),
                    normal(*_w.updates),
                    rtol=0,
                )
            continue
        case(
            f"{_name}:{_w.name}", lambda lax, x, i, u, w=_w, n=_name, m=_mode: getattr(lax, n)(x, i, u, w.scatter(lax), mode=m),
            normal(*_w.operand), _around(_w), normal(*_w.updates), grad=_smooth and _name in ("scatter_add", "scatter_mul"), rtol=1e-13,
        )  # fmt: skip
case(
    "gather:ints fill",
    lambda lax, x, i: lax.gather(x, i, WINDOWS[0].gather(lax), (1, 3), mode="fill"),
    ints(0, 9, 5, 3),
    ints(-3, 9, 4, 1),
    rtol=0,
)
case(
    "gather:uint fill",
    lambda lax, x, i: lax.gather(x, i, WINDOWS[0].gather(lax), (1, 3), mode="fill"),
    ints(0, 9, 5, 3, dtype="uint8"),
    ints(-3, 9, 4, 1),
    rtol=0,
)
case(
    "gather:bool fill",
    lambda lax, x, i: lax.gather(x, i, WINDOWS[3].gather(lax), (2, 3), mode="fill"),
    bools(5, 4),
    ints(4, 9, 2),
    rtol=0,
)
case(
    "gather:complex fill",
    lambda lax, x, i: lax.gather(x, i, WINDOWS[0].gather(lax), (1, 3), mode="fill", fill_value=0),
    cplx(5, 3),
    ints(-3, 9, 4, 1),
    rtol=0,
)
case(
    "gather:small indices",
    lambda lax, x, i: lax.gather(x, i, WINDOWS[0].gather(lax), (1, 3), mode="clip"),
    normal(300, 3),
    ints(0, 255, 4, 1, dtype="uint8"),
    rtol=0,
)
case(
    "scatter_apply:repeated",
    lambda lax, x, i: lax.scatter_apply(
        x, i, lambda v: v * 3, lax.ScatterDimensionNumbers((), (0,), (0,)), update_shape=(5,), mode="drop"
    ),
    normal(6),
    ints(-1, 4, 5, 1),
)
case(
    "scatter_apply:unique",
    lambda lax, x, i: lax.scatter_apply(
        x, i, lambda v: v * 3, lax.ScatterDimensionNumbers((0,), (), (0,)), update_shape=(2,), unique_indices=True, mode="clip"
    ),
    normal(6),
    ints(0, 4, 1),
    rtol=0,
)
