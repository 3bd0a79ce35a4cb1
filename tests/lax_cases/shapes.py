"""Shapes, slices and dynamic slices."""

from __future__ import annotations

import numpy as np

from .table import case, ints, normal

# --- shapes ---------------------------------------------------------------------------------------

case("broadcast:new axes", lambda lax, x: lax.broadcast(x, (2, 3)), normal(4), grad=True, rtol=0)
case("broadcast_in_dim:grow", lambda lax, x: lax.broadcast_in_dim(x, (2, 3, 4), (0, 2)), normal(2, 1), grad=True, rtol=0)
case("broadcast_in_dim:scalar", lambda lax, x: lax.broadcast_in_dim(x, (2, 0), ()), normal(), rtol=0)
case("broadcast_to_rank:3", lambda lax, x: lax.broadcast_to_rank(x, 3), normal(4), rtol=0)
case("broadcast_like:matrix", lambda lax, x, y: lax.broadcast_like(x, y), normal(4), normal(3, 4), rtol=0)
case("broadcasted_iota:axis 1", lambda lax: lax.broadcasted_iota("int32", (2, 3), 1), rtol=0)
case("iota:floats", lambda lax: lax.iota("float32", 4), rtol=0)
case("tile:matrix", lambda lax, x: lax.tile(x, (2, 3)), normal(2, 2), grad=True, rtol=0)
case("reshape:plain", lambda lax, x: lax.reshape(x, (6,)), normal(2, 3), grad=True, rtol=0)
case("reshape:dimensions", lambda lax, x: lax.reshape(x, (3, 4), dimensions=(2, 0, 1)), normal(2, 3, 2), grad=True, rtol=0)
case("expand_dims:both ends", lambda lax, x: lax.expand_dims(x, (0, -1)), normal(3), rtol=0)
case("squeeze:two", lambda lax, x: lax.squeeze(x, (0, -1)), normal(1, 3, 1), rtol=0)
case("collapse:middle", lambda lax, x: lax.collapse(x, 1, 3), normal(2, 3, 4, 5), rtol=0)
case("collapse:negative", lambda lax, x: lax.collapse(x, 0, -1), normal(2, 3, 4), rtol=0)
case("transpose:three", lambda lax, x: lax.transpose(x, (2, 0, 1)), normal(2, 3, 4), grad=True, rtol=0)
case("rev:two axes", lambda lax, x: lax.rev(x, (0, 2)), normal(2, 3, 4), grad=True, rtol=0)
case(
    "concatenate:three",
    lambda lax, x, y, z: lax.concatenate([x, y, z], 1),
    normal(2, 1),
    normal(2, 3),
    normal(2, 0),
    grad=True,
    rtol=0,
)
case("stack:last", lambda lax, x, y: lax.stack([x, y], -1), normal(3), normal(3), rtol=0)
case("unstack:axis 1", lambda lax, x: lax.unstack(x, 1), normal(2, 3), rtol=0)
case("split:sizes", lambda lax, x: lax.split(x, (1, 0, 3), axis=1), normal(2, 4), rtol=0)
case("pad:all kinds", lambda lax, x, v: lax.pad(x, v, [(1, 2, 1), (-1, 3, 0)]), normal(3, 4), normal(), grad=True, rtol=0)
case("pad:negative interior", lambda lax, x: lax.pad(x, np.float64(7), [(-1, -2, 2)]), normal(4), rtol=0)
case("pad:empty", lambda lax, x: lax.pad(x, np.float64(7), [(1, 1, 3)]), normal(0), rtol=0)
case("slice:strides", lambda lax, x: lax.slice(x, (1, 0), (6, 3), (2, 1)), normal(7, 4), grad=True, rtol=0)
case("slice_in_dim:negative", lambda lax, x: lax.slice_in_dim(x, -5, -1, 2, axis=1), normal(2, 7), rtol=0)
case("index_in_dim:last", lambda lax, x: lax.index_in_dim(x, -1, 1, keepdims=False), normal(2, 7), rtol=0)
case(
    "dynamic_slice:moved",
    lambda lax, x, i: lax.dynamic_slice(x, (i, np.int32(1)), (3, 2)),
    normal(6, 4),
    ints(5, 6),
    grad=True,
    rtol=0,
)
case(
    "dynamic_slice:negative",
    lambda lax, x, i: lax.dynamic_slice(x, (i, np.int32(0)), (2, 2)),
    normal(6, 4),
    ints(-3, -2),
    rtol=0,
)
case("dynamic_slice:vector", lambda lax, x, i: lax.dynamic_slice(x, i, (2, 2)), normal(6, 4), ints(0, 3, 2), rtol=0)
case(
    "dynamic_slice:not negative",
    lambda lax, x, i: lax.dynamic_slice(x, (i,), (2,), allow_negative_indices=False),
    normal(6),
    ints(2, 3),
    rtol=0,
)
case(
    "dynamic_slice_in_dim:axis 1",
    lambda lax, x, i: lax.dynamic_slice_in_dim(x, i, 2, axis=1),
    normal(3, 6),
    ints(0, 6),
    grad=True,
    rtol=0,
)
case(
    "dynamic_index_in_dim:dropped",
    lambda lax, x, i: lax.dynamic_index_in_dim(x, i, 1, keepdims=False),
    normal(3, 6),
    ints(0, 6),
    grad=True,
    rtol=0,
)
case(
    "dynamic_update_slice:inside",
    lambda lax, x, u, i: lax.dynamic_update_slice(x, u, (i, i)),
    normal(5, 4),
    normal(2, 2),
    ints(0, 3),
    grad=True,
    rtol=0,
)
case(
    "dynamic_update_slice:moved",
    lambda lax, x, u, i: lax.dynamic_update_slice(x, u, (i,)),
    normal(5),
    normal(3),
    ints(4, 5),
    rtol=0,
)
case(
    "dynamic_update_slice_in_dim:axis 1",
    lambda lax, x, u, i: lax.dynamic_update_slice_in_dim(x, u, i, 1),
    normal(2, 6),
    normal(2, 3),
    ints(-2, -1),
    rtol=0,
)
case(
    "dynamic_update_index_in_dim:with axis",
    lambda lax, x, u, i: lax.dynamic_update_index_in_dim(x, u, i, 1),
    normal(2, 6),
    normal(2, 1),
    ints(0, 6),
    rtol=0,
)
case(
    "dynamic_update_index_in_dim:without",
    lambda lax, x, u, i: lax.dynamic_update_index_in_dim(x, u, i, 1),
    normal(2, 6),
    normal(2),
    ints(0, 6),
    grad=True,
    rtol=0,
)
case("shape_as_value:three", lambda lax: lax.shape_as_value((2, 3, 4)))
case(
    "index_take:two axes",
    lambda lax, x, i, j: lax.index_take(x, (i, j), (0, 2)),
    normal(3, 2, 4),
    ints(0, 3, 5),
    ints(0, 4, 5),
    rtol=0,
)
