"""Eight tasks on which a learned loss has to prove itself, drawn anew for every seed: python -m benchmarks suite."""

from benchmarks.suite.run import suite

__all__ = ["suite"]
