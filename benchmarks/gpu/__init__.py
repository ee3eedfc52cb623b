"""Everything about a GPU in one command: python -m benchmarks gpu."""

from benchmarks.gpu.run import gpu

__all__ = ["gpu"]
