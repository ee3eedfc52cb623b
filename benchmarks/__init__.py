"""Speed and memory against peers, run by hand: python -m benchmarks (never part of the tests)."""
