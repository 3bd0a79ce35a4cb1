"""The CUDA backend: the loop IR as Python kernels that Numba compiles. Importing it needs no CUDA package."""

from .emit import Module as Module
from .emit import emit as emit
from .launch import Failure as Failure
from .launch import compile_ptx as compile_ptx
from .launch import run as run
