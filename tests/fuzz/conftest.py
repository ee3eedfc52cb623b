import sys
from pathlib import Path

# `fuzz` lies beside the package, like `benchmarks`, and is installed with nothing.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
