"""The transforms as users call them: functions of pytrees in, functions of pytrees out."""

from . import checkpoint_policies as checkpoint_policies
from .autodiff import grad as grad
from .autodiff import jvp as jvp
from .autodiff import linear_transpose as linear_transpose
from .autodiff import linearize as linearize
from .autodiff import stop_gradient as stop_gradient
from .autodiff import value_and_grad as value_and_grad
from .autodiff import vjp as vjp
from .batching import vmap as vmap
from .compiled import jit as jit
from .custom_jvp import custom_jvp as custom_jvp
from .custom_vjp import custom_gradient as custom_gradient
from .custom_vjp import custom_vjp as custom_vjp
from .implicit import closure_convert as closure_convert
from .implicit import custom_linear_solve as custom_linear_solve
from .implicit import custom_root as custom_root
from .jacobians import hessian as hessian
from .jacobians import hvp as hvp
from .jacobians import jacfwd as jacfwd
from .jacobians import jacobian as jacobian
from .jacobians import jacrev as jacrev
from .remat import checkpoint as checkpoint
from .remat import checkpoint_name as checkpoint_name
from .remat import remat as remat
from .staging import eval_shape as eval_shape
from .staging import make_ir as make_ir
