"""The transforms as users call them: functions of pytrees in, functions of pytrees out.

Jacobians, rules of one's own, implicit functions and recomputation are in the modules `jacobians`, `custom_jvp`, `custom_vjp`, `implicit`
and `remat`, which are loaded at their first use.
"""

from .autodiff import grad as grad
from .autodiff import jvp as jvp
from .autodiff import linear_transpose as linear_transpose
from .autodiff import linearize as linearize
from .autodiff import stop_gradient as stop_gradient
from .autodiff import value_and_grad as value_and_grad
from .autodiff import vjp as vjp
from .batching import vmap as vmap
from .compiled import jit as jit
from .staging import ShapeDtypeStruct as ShapeDtypeStruct
from .staging import eval_shape as eval_shape
from .staging import make_ir as make_ir
