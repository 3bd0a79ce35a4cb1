"""Products, convolutions, reductions, order and Fourier transforms."""

from __future__ import annotations

import numpy as np

from .table import INF, NAN, bools, case, cplx, distinct, ints, just, normal

# --- products -------------------------------------------------------------------------------------

case("dot:matrices", lambda lax, x, y: lax.dot(x, y), normal(2, 3), normal(3, 4), grad=True)
case("dot:vectors", lambda lax, x, y: lax.dot(x, y), normal(3), normal(3), grad=True)
case("dot:matrix vector", lambda lax, x, y: lax.dot(x, y), normal(2, 3), normal(3))
case("dot:vector matrix", lambda lax, x, y: lax.dot(x, y), normal(3), normal(3, 2))
case(
    "dot:dimension_numbers",
    lambda lax, x, y: lax.dot(x, y, dimension_numbers=(((0,), (1,)), ((), ()))),
    normal(3, 2),
    normal(4, 3),
)
case(
    "dot_general:batch",
    lambda lax, x, y: lax.dot_general(x, y, (((2,), (1,)), ((0,), (2,)))),
    normal(3, 2, 4),
    normal(5, 4, 3),
    grad=True,
)
case(
    "dot_general:two",
    lambda lax, x, y: lax.dot_general(x, y, (((0, 2), (2, 0)), ((), ()))),
    normal(3, 2, 4),
    normal(4, 5, 3),
    grad=True,
)
case(
    "dot_general:ints",
    lambda lax, x, y: lax.dot_general(x, y, (((1,), (0,)), ((), ())), preferred_element_type="int32"),
    ints(-99, 99, 3, 9, dtype="int8"),
    ints(-99, 99, 9, 2, dtype="int8"),
    rtol=0,
)
case(
    "dot_general:wider",
    lambda lax, x, y: lax.dot_general(x, y, (((1,), (0,)), ((), ())), precision="highest", preferred_element_type="float32"),
    normal(3, 9, dtype="float16"),
    normal(9, 2, dtype="float16"),
    rtol=1e-5,
)
case("dot_general:empty", lambda lax, x, y: lax.dot_general(x, y, (((1,), (0,)), ((), ()))), normal(3, 0), normal(0, 2), rtol=0)
case("batch_matmul:stack", lambda lax, x, y: lax.batch_matmul(x, y), normal(2, 3, 4, 5), normal(2, 3, 5, 2), grad=True)
case(
    "ragged_dot:groups",
    lambda lax, x, y, g: lax.ragged_dot(x, y, g),
    normal(6, 3),
    normal(3, 3, 2),
    just(2, 0, 3, dtype="int32"),
    grad=True,
)

_NHWC = ("NHWC", "HWIO", "NHWC")
case("conv:nchw", lambda lax, x, f: lax.conv(x, f, (1, 2), "SAME"), normal(2, 3, 5, 6), normal(4, 3, 3, 2), grad=True)
case("conv:valid", lambda lax, x, f: lax.conv(x, f, (2,), "VALID"), normal(2, 3, 7), normal(4, 3, 3), grad=True)
case(
    "conv_with_general_padding:dilated",
    lambda lax, x, f: lax.conv_with_general_padding(x, f, (1,), [(2, 1)], (2,), (2,)),
    normal(1, 2, 5),
    normal(3, 2, 3),
    grad=True,
)
for _dn in (_NHWC, ("NCHW", "HWOI", "NHWC"), ("CWNH", "OHIW", "WCHN"), None):
    _x = {"N": 2, "C": 4, "H": 6, "W": 5}
    _f = {"O": 6, "I": 2, "H": 3, "W": 2}
    _d = _dn or ("NCHW", "OIHW", "NCHW")
    case(
        f"conv_general_dilated:{_dn}",
        lambda lax, x, f, d=_dn: lax.conv_general_dilated(
            x, f, (2, 1), [(1, 2), (0, 1)], rhs_dilation=(1, 2), dimension_numbers=d, feature_group_count=2
        ),
        normal(*(_x[c] for c in _d[0])), normal(*(_f[c] for c in _d[1])), grad=True,
    )  # fmt: skip
case(
    "conv_general_dilated:lhs_dilation",
    lambda lax, x, f: lax.conv_general_dilated(x, f, (1, 1), [(1, -1), (2, 1)], (2, 3), (1, 1), _NHWC),
    normal(1, 4, 3, 2),
    normal(3, 2, 2, 2),
    grad=True,
)
case(
    "conv_general_dilated:batch groups",
    lambda lax, x, f: lax.conv_general_dilated(
        x, f, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"), batch_group_count=2
    ),
    normal(6, 5, 3),
    normal(3, 3, 4),
    grad=True,
)
case(
    "conv_general_dilated:same lower",
    lambda lax, x, f: lax.conv_general_dilated(x, f, (2,), "SAME_LOWER"),
    normal(1, 1, 6),
    normal(1, 1, 3),
)
case(
    "conv_general_dilated:numbers",
    lambda lax, x, f: lax.conv_general_dilated(
        x, f, (1,), "VALID", dimension_numbers=lax.ConvDimensionNumbers((0, 2, 1), (2, 1, 0), (1, 0, 2))
    ),
    normal(2, 5, 3),
    normal(2, 3, 4),
)
case(
    "conv_general_dilated:ints",
    lambda lax, x, f: lax.conv_general_dilated(x, f, (1,), "VALID", preferred_element_type="int32"),
    ints(-99, 99, 1, 2, 6, dtype="int8"),
    ints(-99, 99, 1, 2, 3, dtype="int8"),
    rtol=0,
)
case(
    "conv_general_dilated:no spatial", lambda lax, x, f: lax.conv_general_dilated(x, f, (), "VALID"), normal(3, 2), normal(4, 2)
)
for _padding in ("SAME", "VALID", [(1, 2), (0, 3)]):
    for _kernel in (False, True):
        for _steps in ((2, 3), (1, 1), (4, 2)):
            case(
                f"conv_transpose:{_padding} {_kernel} {_steps}",
                lambda lax, x, f, p=_padding, k=_kernel, s=_steps: lax.conv_transpose(
                    x, f, s, p, dimension_numbers=_NHWC, transpose_kernel=k
                ),
                normal(1, 4, 3, 2), normal(3, 2, *((5, 2) if _kernel else (2, 5))), grad=_steps == (2, 3) and _padding == "SAME",
            )  # fmt: skip
case(
    "conv_transpose:defaults",
    lambda lax, x, f: lax.conv_transpose(x, f, (2,), "SAME", rhs_dilation=(2,)),
    normal(2, 5, 3),
    normal(3, 3, 4),
)
case(
    "conv_transpose:consistent",
    lambda lax, x, f: lax.conv_transpose(x, f, (2,), [(1, 0)], use_consistent_padding=True),
    normal(2, 5, 3),
    normal(3, 3, 4),
)
case(
    "conv_general_dilated_patches:nchw",
    lambda lax, x: lax.conv_general_dilated_patches(x, (2, 3), (1, 2), "SAME"),
    normal(2, 3, 5, 6),
    grad=True,
)
case(
    "conv_general_dilated_patches:nhwc",
    lambda lax, x: lax.conv_general_dilated_patches(x, (2, 2), (1, 1), [(1, 0), (2, 1)], (1, 2), (2, 1), _NHWC),
    normal(2, 5, 4, 3),
)
case(
    "conv_general_dilated_local:nhwc",
    lambda lax, x, f: lax.conv_general_dilated_local(x, f, (1, 2), "VALID", (2, 2), dimension_numbers=_NHWC),
    normal(2, 4, 5, 3),
    normal(3, 2, 12, 4),
    grad=True,
)

# --- reductions -----------------------------------------------------------------------------------

for _name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
    case(f"{_name}:floats", lambda lax, x, n=_name: getattr(lax, n)(x, (0, 2)), distinct(2, 3, 4), grad=True)
    case(f"{_name}:empty", lambda lax, x, n=_name: getattr(lax, n)(x, (0,)), normal(0, 3), rtol=0)
    case(f"{_name}:none", lambda lax, x, n=_name: getattr(lax, n)(x, ()), normal(3), rtol=0)
for _name in ("reduce_and", "reduce_or", "reduce_xor"):
    case(f"{_name}:bools", lambda lax, x, n=_name: getattr(lax, n)(x, (1,)), bools(4, 3), rtol=0)
    case(f"{_name}:ints", lambda lax, x, n=_name: getattr(lax, n)(x, (0, 2)), ints(-99, 99, 3, 2, 5), rtol=0)
    case(f"{_name}:empty ints", lambda lax, x, n=_name: getattr(lax, n)(x, (0,)), ints(0, 9, 0, 3), rtol=0)
for _name in ("argmax", "argmin"):
    case(f"{_name}:ties", lambda lax, x, n=_name: getattr(lax, n)(x, 1, "int32"), ints(0, 3, 4, 9), rtol=0)
    case(f"{_name}:nan", lambda lax, x, n=_name: getattr(lax, n)(x, 0, "int64"), just(1, NAN, 3, NAN), rtol=0)
for _name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"):
    case(f"{_name}:axis 1", lambda lax, x, n=_name: getattr(lax, n)(x, 1), distinct(2, 5), grad=True)
    case(f"{_name}:reverse", lambda lax, x, n=_name: getattr(lax, n)(x, reverse=True), distinct(5, 2), grad=True)
    case(f"{_name}:empty", lambda lax, x, n=_name: getattr(lax, n)(x, 0), normal(0, 2), rtol=0)
case("cumlogsumexp:large", lambda lax, x: lax.cumlogsumexp(x), just(-INF, 800, 900, -900, 901))
for _name in ("add", "mul", "max", "min"):
    case(
        f"reduce:{_name}",
        lambda lax, x, n=_name: lax.reduce(x, {"add": 0.0, "mul": 1.0, "max": -INF, "min": INF}[n], getattr(lax, n), (1,)),
        distinct(3, 4),
        grad=True,
    )
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    case(
        f"reduce:{_name}",
        lambda lax, x, n=_name: lax.reduce(x, np.int32(-1 if n == "bitwise_and" else 0), getattr(lax, n), (0,)),
        ints(-99, 99, 5, 2),
        rtol=0,
    )
case("reduce:other start", lambda lax, x: lax.reduce(x, 2.5, lax.add, (0,)), normal(3, 4), grad=True)
case("reduce:by a function", lambda lax, x: lax.reduce(x, 0.5, lambda a, b: a * 2.0 + b, (0, 1)), normal(3, 2, 2), grad=True)
case(
    "reduce:pairs",
    lambda lax, x, y: lax.reduce(
        (x, y), (np.float64(-INF), np.int32(-1)), lambda a, b: (lax.max(a[0], b[0]), lax.select(a[0] >= b[0], a[1], b[1])), (1,)
    ),
    distinct(3, 5),
    ints(0, 99, 3, 5),
)
case("reduce:empty", lambda lax, x: lax.reduce(x, 2.5, lax.add, (0,)), normal(0, 2), rtol=0)
for _name, _init in (("add", 0.0), ("max", -INF), ("min", INF)):
    case(
        f"reduce_window:{_name}",
        lambda lax, x, n=_name, i=_init: lax.reduce_window(x, np.float64(i), getattr(lax, n), (3, 2), (2, 1), "SAME"),
        distinct(7, 5),
        grad=True,
    )
    case(
        f"reduce_window:{_name} dilated",
        lambda lax, x, n=_name, i=_init: lax.reduce_window(
            x, np.float64(i), getattr(lax, n), (3, 2), (1, 2), [(2, 1), (0, 1)], (2, 1), (1, 2)
        ),
        distinct(4, 5), grad=True,
    )  # fmt: skip
case(
    "reduce_window:ints",
    lambda lax, x: lax.reduce_window(x, np.int32(-5), lax.max, (3,), (2,), "SAME_LOWER"),
    ints(-99, 99, 8),
    rtol=0,
)
case("reduce_window:mul", lambda lax, x: lax.reduce_window(x, 1.0, lax.mul, (2, 2), (1, 1), "VALID"), normal(3, 4), grad=True)
case("reduce_window:other start", lambda lax, x: lax.reduce_window(x, 1.5, lax.add, (3,), (2,), "SAME"), normal(6), grad=True)
case(
    "reduce_window:by a function",
    lambda lax, x: lax.reduce_window(x, 0.0, lambda a, b: a + b + a * b, (2, 3), (1, 2), [(1, 0), (0, 2)], (1, 2), (2, 1)),
    normal(4, 5),
    grad=True,
)
case(
    "reduce_window:pairs",
    lambda lax, x, y: lax.reduce_window(
        (x, y), (np.float64(0), np.int32(0)), lambda a, b: (a[0] + b[0], lax.max(a[1], b[1])), (3,)
    ),
    normal(7),
    ints(0, 9, 7),
)

# --- order and Fourier ----------------------------------------------------------------------------

case("sort:floats", lambda lax, x: lax.sort(x, 0), distinct(5, 3), grad=True, rtol=0)
case("sort:nan", lambda lax, x: lax.sort(x), just(3, NAN, -INF, INF, -0.0, 0.0, 1), rtol=0)
case("sort:several", lambda lax, x, y, z: lax.sort((x, y, z), num_keys=2), ints(0, 3, 12), ints(0, 3, 12), distinct(12), rtol=0)
case("sort:stable", lambda lax, x, y: lax.sort((x, y), num_keys=1), ints(0, 3, 20), ints(0, 99, 20), rtol=0)
case("sort:bools", lambda lax, x: lax.sort(x), bools(7), rtol=0)
case("sort:empty", lambda lax, x: lax.sort(x), normal(3, 0), rtol=0)
case("sort_key_val:axis 0", lambda lax, x, y: lax.sort_key_val(x, y, 0), ints(0, 3, 5, 2), distinct(5, 2), rtol=0)
case("top_k:floats", lambda lax, x: lax.top_k(x, 3), distinct(2, 7), rtol=0)
case("top_k:ties", lambda lax, x: lax.top_k(x, 5), ints(0, 3, 9), rtol=0)
case("top_k:nan", lambda lax, x: lax.top_k(x, 3), just(3, NAN, -INF, INF, NAN), rtol=0)
case("top_k:axis 0", lambda lax, x: lax.top_k(x, 2, axis=0), distinct(5, 3), rtol=0)
case("top_k:lowest int", lambda lax, x: lax.top_k(x, 4), just(-(2**31), 0, 2**31 - 1, -(2**31), dtype="int32"), rtol=0)
case(
    "approx_max_k:floats",
    lambda lax, x: lax.approx_max_k(x, 2, reduction_dimension=0),
    lambda rng: distinct(6, 2)(rng).astype("float32"),
    rtol=0,
)
case("approx_min_k:floats", lambda lax, x: lax.approx_min_k(x, 2), lambda rng: distinct(2, 6)(rng).astype("float32"), rtol=0)
for _kind in ("fft", "ifft", "rfft"):
    case(f"fft:{_kind}", lambda lax, x, k=_kind: lax.fft(x, k, (4, 6)), normal(2, 4, 6), rtol=1e-10)
case("fft:irfft", lambda lax, x: lax.fft(x, lax.FftType.IRFFT, (5,)), cplx(2, 3), rtol=1e-10)
