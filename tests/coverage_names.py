"""Which names the coverage page looks for, and why fdl lacks those that it lacks.

JAX's names are in data/jax_names.json (made by data/make_jax_names.py), the array API's are listed here.
"""

from __future__ import annotations

import json
from pathlib import Path

JAX = json.loads((Path(__file__).parent / "data" / "jax_names.json").read_text(encoding="utf-8"))
JAX_VERSION: str = JAX["jax"]

STANDARD: dict[str, list[str]] = {
    "array API 2024.12": """
        e inf nan newaxis pi
        bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
        arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros zeros_like
        astype can_cast finfo iinfo isdtype result_type
        abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift
        bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite
        isinf isnan less less_equal log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply
        negative nextafter not_equal positive pow real reciprocal remainder round sign signbit sin sinh sqrt square subtract tan tanh trunc
        take take_along_axis __array_namespace_info__ __array_api_version__ matmul matrix_transpose tensordot vecdot
        broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack
        argmax argmin count_nonzero nonzero searchsorted where unique_all unique_counts unique_inverse unique_values argsort sort
        cumulative_prod cumulative_sum max mean min prod std sum var all any diff
    """.split(),
    "array API 2024.12, linalg": """
        cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose outer pinv qr slogdet
        solve svd svdvals tensordot trace vecdot vector_norm
    """.split(),
    "array API 2024.12, fft": """
        fft fftfreq fftn fftshift hfft ifft ifftn ifftshift ihfft irfft irfftn rfft rfftfreq rfftn
    """.split(),
    "array API 2024.12, array": """
        T device dtype mT ndim shape size to_device
        __abs__ __add__ __and__ __array_namespace__ __bool__ __complex__ __dlpack__ __dlpack_device__ __eq__ __float__ __floordiv__ __ge__
        __getitem__ __gt__ __index__ __int__ __invert__ __le__ __lshift__ __lt__ __matmul__ __mod__ __mul__ __ne__ __neg__ __or__ __pos__
        __pow__ __rshift__ __sub__ __truediv__ __xor__ __setitem__ __radd__ __rand__ __rfloordiv__ __rlshift__ __rmatmul__ __rmod__
        __rmul__ __ror__ __rpow__ __rrshift__ __rsub__ __rtruediv__ __rxor__
    """.split(),
}  # fmt: skip
TRANSFORMATIONS = set(
    """
    checkpoint checkpoint_policies closure_convert custom_gradient custom_jvp custom_vjp disable_jit eval_shape fwd_and_bwd grad hessian
    jacfwd jacobian jacrev jit jvp linear_transpose linearize make_jaxpr named_call pmap pure_callback remat shard_map smap
    value_and_grad vjp vmap
    """.split()
)
"""What of JAX's top level transforms functions; the rest is about devices, flags and arrays."""

HOMES = {
    "array API 2024.12": "fdl.numpy", "array API 2024.12, linalg": "fdl.numpy.linalg", "array API 2024.12, fft": "fdl.numpy.fft",
    "array API 2024.12, array": "fdl.Array", "jax, transformations": "fdl", "jax, the rest of its top level": "fdl",
}  # fmt: skip
"""Where fdl has what is not JAX's: `jax.X` is looked for in `fdl.X`."""

NAMES_OF_MODULES = {"checkpoint_policies"}
"""What is an object with attributes in JAX, and a module here."""

_ONE_DEVICE = "there is one process and one device: nothing to place, to shard or to wait for"
_FLAG = "a flag of JAX's; what fdl lets one set is in `fdl.config`"
_MUTABLE = "mutable references: arrays are immutable, and loops carry their state"
_NARROW = "dtypes of 8 bits or fewer for machine learning: fdl has none"
_SHARDED = "for `shard_map` over several devices"

# For each namespace, reason → names.
REASONS: dict[str, dict[str, str]] = {
    "jax, transformations": {
        "one device: `fdl.vmap` with an `axis_name` has the same collectives": "pmap shard_map smap",
        '`fdl.config.using(backend="reference")` computes everything by its NumPy definition': "disable_jit",
        "`fdl.make_ir`": "make_jaxpr",
        "`fdl.vjp`": "fwd_and_bwd",
        "equations carry the user's source lines instead of scopes": "named_call",
    },
    "jax, the rest of its top level": {
        _ONE_DEVICE: """
            Device NamedSharding P Shard auto_pcast copy_to_host_async default_backend default_device device_count devices
            host_count host_id host_ids local_device_count local_devices make_array_from_callback make_array_from_process_local_data
            make_array_from_single_device_arrays make_mesh memory process_count process_index process_indices
            remove_size_one_mesh_axis_from_type reshard set_mesh transfer_guard transfer_guard_device_to_device
            transfer_guard_device_to_host transfer_guard_host_to_device""",
        _MUTABLE: "Ref ad empty_ref free_ref freeze new_ref",
        _FLAG: """
            allow_f16_reductions array_garbage_collection_guard check_tracer_leaks checking_leaks debug_infs debug_key_reuse debug_nans
            default_matmul_precision default_prng_impl enable_checks enable_custom_prng explain_cache_misses
            jax2tf_associative_scan_reductions legacy_prng_key make_user_context no_execution no_tracing numpy_dtype_promotion
            numpy_rank_promotion softmax_custom_jvp thread_guard threefry_partitionable""",
        "every dtype works when it is named": "enable_x64",
        "`fdl.config.log_compiles`": "log_compiles",
        "an array tells its `shape` and `dtype` itself": "typeof",
        "integers have no tangents: their gradients are errors": "float0",
        "results are there when a call returns, effects included": "effects_barrier",
        "what does not depend on traced values is computed while tracing anyhow": "ensure_compile_time_eval",
        "equations carry the user's source lines instead of scopes": "named_scope",
        "nothing to clear by hand: what is no longer referenced is freed": "clear_caches live_arrays",
        "a helper for reports to JAX": "print_environment_info",
        "for kernels in Pallas": "ds",
    },
    "jax.numpy": {
        _NARROW: """
            float4_e2m1fn float6_e2m3fn float6_e3m2fn float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz
            float8_e5m2 float8_e5m2fnuz float8_e8m0fnu int1 int2 int4 uint1 uint2 uint4""",
        "NumPy's warning about dropped imaginary parts: here that is an error": "ComplexWarning",
    },
    "jax.lax": {
        "there is one implementation of each function: `accuracy=` is accepted and ignored": "AccuracyMode Tolerance",
        "products have one algorithm, in the operands' precision": "DotAlgorithm DotAlgorithmPreset",
        "`ragged_dot` has the one form that mixtures of experts use": "RaggedDotDimensionNumbers ragged_dot_general",
        "their bits depend on the platform; `fdl.random.bits` and `fdl.random.uniform` take keys": "RandomAlgorithm rng_bit_generator rng_uniform",  # noqa: E501
        "effects are ordered by themselves": "after_all create_token",
        "instructions to XLA's compiler": "composite dce_sink stage",
        "block-scaled products of dtypes that fdl has not": "scaled_dot",
        _SHARDED: "pbroadcast pcast precv psend ragged_all_to_all with_sharding_constraint",
    },
    "jax.lax.linalg": {
        "a choice between implementations: fdl has one": "EigImplementation EighImplementation SvdAlgorithm",
        "`fdl.scipy.linalg.polar`": "qdwh",
    },
    "jax.nn": {
        "block-scaled products of dtypes that fdl has not": "get_scaled_dot_general_config scaled_dot_general scaled_matmul",
    },
    "jax.random": {"keys are uint32 arrays of shape (2,)": "key_dtype"},
    "jax.scipy.linalg": {
        "`expm` and `sqrtm` are there; other functions of a matrix by `fdl.numpy.linalg.eigh` or `eig`": "funm",
        "`qr` and a product, or `fdl.lax.linalg.ormqr`": "qr_multiply",
        '`schur(a, output="complex")`': "rsf2csf",
        "`companion` has the same eigenvalues": "fiedler_companion",
    },
    "jax.scipy.spatial.transform": {"geometry of the three-dimensional space is outside fdl": "Rotation Slerp"},
    "jax.scipy.special": {
        "no formulas are known here that are accurate for all arguments": "hyp2f1 sph_harm_y wofz",
    },
    "jax.scipy.stats": {
        "an object with samplers: `fdl.scipy.special.logsumexp` of normal densities is the estimate": "gaussian_kde"
    },
}

# What fdl has under the same name, but not quite the same: # namespace → names → what is different.
NOTES: dict[str, dict[str, str]] = {
    "array API 2024.12, array": {"__setitem__": "raises, since arrays are immutable, and names `x.at[i].set(y)`"},
    "jax.lax": {
        "gather scatter scatter_add scatter_apply scatter_max scatter_min scatter_mul scatter_sub":
            "an index out of bounds raises unless a `mode` is given",
    },
    "jax.nn.initializers": {
        "glorot_normal glorot_uniform he_normal he_uniform kaiming_normal kaiming_uniform lecun_normal lecun_uniform truncated_normal "
        "xavier_normal xavier_uniform": "a function that makes an initialiser, and, called with a key, the initialiser itself",
    },
    "jax.scipy.fft": {"dct dctn idct idctn": "types 2 and 3"},
    "jax.scipy.optimize": {"minimize": "by the method BFGS"},
}  # fmt: skip
