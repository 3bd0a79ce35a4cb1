"""Programs that use fdl: `python -m examples.demo` trains three networks on MNIST."""
