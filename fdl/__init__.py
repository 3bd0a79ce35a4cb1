"""fdl: a pure-functional autodiff DSL with a tracing JIT."""

from pathlib import Path as _Path

if not (_Path(__file__).parent / "tracer" / "__init__.py").exists():
    raise ImportError(
        "fdl/tracer and fdl/backends are links to ../tracer and ../backends, and this checkout has lost them. "
        "Restore them with: ln -s ../tracer fdl/tracer; ln -s ../backends fdl/backends"
    )

from fdl import _slots as _slots
from fdl import data as data
from fdl import nn as nn
from fdl import numpy as numpy
from fdl import optim as optim
from fdl import random as random
from fdl.checkpoint import load as load
from fdl.checkpoint import save as save
from fdl.config import config as config
from fdl.control import cond as cond
from fdl.control import fori_loop as fori_loop
from fdl.control import map as map
from fdl.control import scan as scan
from fdl.control import switch as switch
from fdl.control import while_loop as while_loop
from fdl.host import pure_callback as pure_callback
from fdl.threads import get_num_threads as get_num_threads
from fdl.threads import set_num_threads as set_num_threads
from fdl.tracer.array import Array as Array
from fdl.transforms import eval_shape as eval_shape
from fdl.transforms import grad as grad
from fdl.transforms import jit as jit
from fdl.transforms import jvp as jvp
from fdl.transforms import linearize as linearize
from fdl.transforms import make_ir as make_ir
from fdl.transforms import stop_gradient as stop_gradient
from fdl.transforms import value_and_grad as value_and_grad
from fdl.transforms import vjp as vjp
from fdl.transforms import vmap as vmap
