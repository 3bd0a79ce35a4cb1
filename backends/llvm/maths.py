"""The mathematical functions by name.

Their results are within 4 ulp of the true value in float32 and float64 (most within 2), infinities, NaN, the signs of zeros
and subnormals included, on every target; `tests/test_llvm_scalars.py` holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fdl.tracer.errors import MissingRuleError

from . import explog, giles, powers, special, trig
from .lanes import Lanes

_TABLE: dict[str, Callable[..., str]] = {
    "exp": explog.exp, "exp2": explog.exp2, "expm1": explog.expm1, "log": explog.log, "log1p": explog.log1p,
    "logistic": explog.logistic, "sinh": explog.sinh, "cosh": explog.cosh, "tanh": explog.tanh,
    "asinh": explog.asinh, "acosh": explog.acosh, "atanh": explog.atanh,
    "sin": trig.sin, "cos": trig.cos, "tan": trig.tan,
    "asin": trig.asin, "acos": trig.acos, "atan": trig.atan, "atan2": trig.atan2,
    "erf": special.erf, "erfc": special.erfc, "erf_inv": special.erf_inv, "erf_inv_giles": giles.erf_inv_giles,
    "rsqrt": powers.rsqrt, "cbrt": powers.cbrt, "pow": powers.power, "rem": powers.remainder,
}  # fmt: skip


def function(f: Lanes, name: str, args: Sequence[str]) -> str:
    """The value of the function `name` on vectors of floats. Raises: MissingRuleError for one that has no code."""
    if name not in _TABLE:
        raise MissingRuleError(f"the scalar operation {name} has no LLVM code for floats. Enter it in _TABLE of {__file__}.")
    return _TABLE[name](f, *args)
