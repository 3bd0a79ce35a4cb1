"""The tracer: array types, the program IR, primitives, tracing, transforms and passes."""

if __name__ != "fdl.tracer":
    raise ImportError(
        "this package is imported as `fdl.tracer`, never as `tracer`: a second copy would have its own registries"
    )
