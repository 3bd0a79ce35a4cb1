"""Pytrees: nested containers of arrays, taken apart, put together and mapped.

Containers are dicts, lists, tuples, named tuples, None, dataclasses, and what `register` adds; everything else is a leaf.
A dict's leaves come in the order of its sorted keys.

Example:
    >>> import fdl
    >>> fdl.tree.map(lambda x: 2 * x, {"w": 1, "layers": [2, (3,)]})
    {'layers': [4, (6,)], 'w': 2}
    >>> leaves, structure = fdl.tree.flatten({"b": 1, "a": (2, None)})
    >>> leaves, fdl.tree.unflatten(structure, [10 * x for x in leaves])
    ([2, 1], {'a': (20, None), 'b': 10})
"""

from fdl.tracer.tree import Structure as Structure
from fdl.tracer.tree import flatten as flatten
from fdl.tracer.tree import flatten_with_paths as flatten_with_paths
from fdl.tracer.tree import leaves as leaves
from fdl.tracer.tree import map as map
from fdl.tracer.tree import register as register
from fdl.tracer.tree import structure as structure
from fdl.tracer.tree import unflatten as unflatten

__all__ = ["Structure", "flatten", "flatten_with_paths", "leaves", "map", "register", "structure", "unflatten"]
