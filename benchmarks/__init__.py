"""Side-by-side benchmarks against NumPy, JAX and PyTorch: `make bench`."""
