"""Square matrix products in float32."""

from __future__ import annotations

from ..record import Case, Make, everywhere, matmul_work, random


def product(n: int) -> Make:
    """The builder of an n × n product."""
    return lambda kit: kit.function(lambda a, b: a @ b, random(n, n), random(n, n, seed=1))


CASES = [
    Case(f"matmul {n}", 0.9 if n <= 256 else 1.0, everywhere(product(n)), work=matmul_work(n, n, n))
    for n in (64, 128, 256, 512, 1024, 2048)
]
