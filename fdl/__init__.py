"""fdl: a pure-functional autodiff DSL with a tracing JIT."""

import os as _os
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING

if not _os.path.exists(_os.path.join(_os.path.dirname(__file__), "tracer", "__init__.py")):
    raise ImportError(
        "fdl/tracer and fdl/backends are links to ../tracer and ../backends, and this checkout has lost them. "
        "Restore them with: ln -s ../tracer fdl/tracer; ln -s ../backends fdl/backends"
    )

from fdl.backends.collector import paused as _paused

with _paused():  # what an import makes stays: a twentieth of its time would be the collector's
    from fdl import _slots as _slots
    from fdl import numpy as numpy
    from fdl.config import config as config
    from fdl.tracer.array import Array as Array
    from fdl.tracer.lazy import parts as _parts
    from fdl.transforms import ShapeDtypeStruct as ShapeDtypeStruct
    from fdl.transforms import eval_shape as eval_shape
    from fdl.transforms import grad as grad
    from fdl.transforms import jit as jit
    from fdl.transforms import jvp as jvp
    from fdl.transforms import linear_transpose as linear_transpose
    from fdl.transforms import linearize as linearize
    from fdl.transforms import make_ir as make_ir
    from fdl.transforms import stop_gradient as stop_gradient
    from fdl.transforms import value_and_grad as value_and_grad
    from fdl.transforms import vjp as vjp
    from fdl.transforms import vmap as vmap

__version__ = "0.1.0"

# What programs may do without is loaded at its first use: see docs/architecture.md.
_PARTS = {
    "all_gather": "fdl.collectives:all_gather",
    "all_to_all": "fdl.collectives:all_to_all",
    "associative_scan": "fdl.control:associative_scan",
    "axis_index": "fdl.collectives:axis_index",
    "axis_size": "fdl.collectives:axis_size",
    "block_until_ready": "fdl.placement:block_until_ready",
    "checkpoint": "fdl.transforms.remat:checkpoint",
    "checkpoint_name": "fdl.transforms.remat:checkpoint_name",
    "checkpoint_policies": "fdl.transforms.checkpoint_policies",
    "closure_convert": "fdl.transforms.implicit:closure_convert",
    "cond": "fdl.control:cond",
    "custom_gradient": "fdl.transforms.custom_vjp:custom_gradient",
    "custom_jvp": "fdl.transforms.custom_jvp:custom_jvp",
    "custom_linear_solve": "fdl.transforms.implicit:custom_linear_solve",
    "custom_root": "fdl.transforms.implicit:custom_root",
    "custom_vjp": "fdl.transforms.custom_vjp:custom_vjp",
    "data": "fdl.data",
    "debug": "fdl.debug",
    "device_get": "fdl.placement:device_get",
    "device_put": "fdl.placement:device_put",
    "fori_loop": "fdl.control:fori_loop",
    "get_num_threads": "fdl.threads:get_num_threads",
    "hessian": "fdl.transforms.jacobians:hessian",
    "hvp": "fdl.transforms.jacobians:hvp",
    "io_callback": "fdl.host:io_callback",
    "jacfwd": "fdl.transforms.jacobians:jacfwd",
    "jacobian": "fdl.transforms.jacobians:jacobian",
    "jacrev": "fdl.transforms.jacobians:jacrev",
    "lax": "fdl.lax",
    "load": "fdl.saving:load",
    "map": "fdl.control:map",
    "nn": "fdl.nn",
    "optim": "fdl.optim",
    "pmax": "fdl.collectives:pmax",
    "pmean": "fdl.collectives:pmean",
    "pmin": "fdl.collectives:pmin",
    "ppermute": "fdl.collectives:ppermute",
    "pshuffle": "fdl.collectives:pshuffle",
    "psum": "fdl.collectives:psum",
    "psum_scatter": "fdl.collectives:psum_scatter",
    "pure_callback": "fdl.host:pure_callback",
    "random": "fdl.random",
    "remat": "fdl.transforms.remat:remat",
    "save": "fdl.saving:save",
    "scan": "fdl.control:scan",
    "scipy": "fdl.scipy",
    "select": "fdl.control:select",
    "select_n": "fdl.control:select_n",
    "set_num_threads": "fdl.threads:set_num_threads",
    "switch": "fdl.control:switch",
    "testing": "fdl.testing",
    "tree": "fdl.tree",
    "while_loop": "fdl.control:while_loop",
}
if _TYPE_CHECKING:
    from fdl import data as data
    from fdl import debug as debug
    from fdl import lax as lax
    from fdl import nn as nn
    from fdl import optim as optim
    from fdl import random as random
    from fdl import scipy as scipy
    from fdl import testing as testing
    from fdl import tree as tree
    from fdl.collectives import all_gather as all_gather
    from fdl.collectives import all_to_all as all_to_all
    from fdl.collectives import axis_index as axis_index
    from fdl.collectives import axis_size as axis_size
    from fdl.collectives import pmax as pmax
    from fdl.collectives import pmean as pmean
    from fdl.collectives import pmin as pmin
    from fdl.collectives import ppermute as ppermute
    from fdl.collectives import pshuffle as pshuffle
    from fdl.collectives import psum as psum
    from fdl.collectives import psum_scatter as psum_scatter
    from fdl.control import associative_scan as associative_scan
    from fdl.control import cond as cond
    from fdl.control import fori_loop as fori_loop
    from fdl.control import map as map
    from fdl.control import scan as scan
    from fdl.control import select as select
    from fdl.control import select_n as select_n
    from fdl.control import switch as switch
    from fdl.control import while_loop as while_loop
    from fdl.host import io_callback as io_callback
    from fdl.host import pure_callback as pure_callback
    from fdl.placement import block_until_ready as block_until_ready
    from fdl.placement import device_get as device_get
    from fdl.placement import device_put as device_put
    from fdl.saving import load as load
    from fdl.saving import save as save
    from fdl.threads import get_num_threads as get_num_threads
    from fdl.threads import set_num_threads as set_num_threads
    from fdl.transforms import checkpoint_policies as checkpoint_policies
    from fdl.transforms.custom_jvp import custom_jvp as custom_jvp
    from fdl.transforms.custom_vjp import custom_gradient as custom_gradient
    from fdl.transforms.custom_vjp import custom_vjp as custom_vjp
    from fdl.transforms.implicit import closure_convert as closure_convert
    from fdl.transforms.implicit import custom_linear_solve as custom_linear_solve
    from fdl.transforms.implicit import custom_root as custom_root
    from fdl.transforms.jacobians import hessian as hessian
    from fdl.transforms.jacobians import hvp as hvp
    from fdl.transforms.jacobians import jacfwd as jacfwd
    from fdl.transforms.jacobians import jacobian as jacobian
    from fdl.transforms.jacobians import jacrev as jacrev
    from fdl.transforms.remat import checkpoint as checkpoint
    from fdl.transforms.remat import checkpoint_name as checkpoint_name
    from fdl.transforms.remat import remat as remat
else:
    __getattr__, __dir__ = _parts(__name__, _PARTS)

# The packages that this one is made of are left out: what is public of them is named above.
__all__ = [n for n, x in list(globals().items()) if not n.startswith("_") and (n == "numpy" or not isinstance(x, _ModuleType))]
__all__ += _PARTS
