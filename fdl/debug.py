"""Looking into programs that run: `debug.print` and `debug.callback`, which work in compiled code, loops and vmaps included.

They have effects, not results: no pass removes, repeats or merges them.  Under `vmap` they run once for each lane (once in all where
nothing that they are given is mapped), under derivatives once, on the primal values, and in a branch only where it is taken.
"""

from __future__ import annotations

import builtins
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fdl.host import call_host, name_of
from fdl.tracer.errors import at, user_source


def callback(callback: Callable[..., Any], *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Calls `callback(*args, **kwargs)` with ndarrays where the program comes by; what it returns is dropped.

    Args:
        args, kwargs: pytrees; leaves that are no arrays are handed on as they are.
        ordered: whether calls keep their order among all ordered ones.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> seen = []
        >>> f = fdl.jit(lambda x: (fdl.debug.callback(lambda v: seen.append(v.sum().item()), x), x * 2)[1])
        >>> f(fnp.ones(3)).tolist(), seen
        ([2.0, 2.0, 2.0], [3.0])
    """
    effect = "ordered_io" if ordered else "unordered_io"
    name = f"debug.callback({name_of(callback)})"
    call_host(callback, None, args, kwargs, name=name, effect=effect, keep_static=True)


def print(fmt: str, *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Prints `fmt.format(*args, **kwargs)` with the values that traced arrays have when the program runs.

    Args:
        fmt: a format string. It is checked at once against what it is given.
        ordered: whether prints keep their order among all ordered ones.

    Raises: TypeError or ValueError for a format that does not fit.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> @fdl.jit
        ... def f(x):
        ...     fdl.debug.print("x = {}, sum {total:.2f}", x, total=x.sum())
        ...     return x * 2
        >>> _ = f(fnp.arange(3.0))
        x = [0. 1. 2.], sum 3.00
    """
    if not isinstance(fmt, str):
        raise TypeError(
            f"debug.print: the first argument must be a format string, got {fmt!r} of type {type(fmt).__name__}. "
            f'Write debug.print("{{}}", x).{at(user_source())}'
        )
    _Checker().check(fmt, args, kwargs)
    effect = "ordered_io" if ordered else "unordered_io"
    call_host(_Printer(fmt), None, args, kwargs, name="debug.print", effect=effect, keep_static=True)


class _Printer:
    """Prints by a format; equal for equal formats, so that a program traced again is the same program."""

    __slots__ = ("fmt",)

    def __init__(self, fmt: str) -> None:
        self.fmt = fmt

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        builtins.print(self.fmt.format(*args, **kwargs))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Printer) and self.fmt == other.fmt

    def __hash__(self) -> int:
        return hash(self.fmt)

    @property
    def __name__(self) -> str:
        return "print"


class _Checker(string.Formatter):
    """Whether a format takes the arguments that it is given, each of them."""

    def check(self, fmt: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        try:
            self.vformat(fmt, args, kwargs)
        except (IndexError, KeyError, ValueError) as error:
            given = ", ".join([f"{len(args)} positional", *map(repr, kwargs)])
            missing = "it names an argument that is not given" if isinstance(error, (IndexError, KeyError)) else str(error)
            raise ValueError(
                f"debug.print: the format {fmt!r} does not fit its arguments ({given}): {missing}.{at(user_source())}"
            ) from None

    def check_unused_args(self, used_args: set[int | str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        unused = [f"argument {i}" for i in range(len(args)) if i not in used_args]
        unused += [repr(k) for k in kwargs if k not in used_args]
        if unused:
            raise ValueError(f"it has no place for {', '.join(unused)}")

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        first = field_name.replace("[", ".").split(".", 1)[0]
        key: int | str = int(first) if first.isdigit() else first
        self.get_value(key, args, kwargs)
        return None, key

    def format_field(self, value: Any, format_spec: str) -> str:
        return ""


__all__ = ["callback", "print"]
