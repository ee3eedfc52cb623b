"""Learn a loss for a table: who leaves?, with a metric that cross-entropy does not look at.

Rare classes are what error rates hide, so the metric is 1 - F1. Run it: python examples/tabular.py [table.csv [target]]
"""

import csv
import random
import sys
from pathlib import Path

import evomal
from evomal.tasks import file_task


def write_table(path: Path, rows: int = 1000) -> Path:
    """A table of customers, one in four of whom leaves, as a stand-in for yours."""
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["months", "monthly_bill", "complaints", "left"])
        for _ in range(rows):
            months, bill, complaints = draw.randint(1, 72), draw.uniform(20, 120), draw.randint(0, 5)
            leaning = 0.02 * bill - 0.04 * months + 0.6 * complaints - 3.0 + draw.gauss(0, 0.5)
            table.writerow([months, f"{bill:.2f}", complaints, "yes" if leaning > 0 else "no"])
    return path


def main() -> None:
    """Learn a loss, then train fresh networks with it and with cross-entropy."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else write_table(Path("customers.csv"))
    target = sys.argv[2] if len(sys.argv) > 2 else "left"
    task = file_task(path, "mlp", target=target, metric="macro_f1")
    settings = {"population_size": 6, "generations": 2, "meta_steps": 20, "partial_steps": 60, "rejection_steps": 200}
    result = evomal.EvoMAL(preset="quick", seed=1, **settings).learn(task)
    print(task)
    print("learned:", result.loss)
    for name, criterion in (("learned", result.loss), ("cross_entropy", "cross_entropy")):
        tested = evomal.meta_test(task, criterion, steps=200, seeds=(0, 1, 2), lrs=(0.03, 0.1))
        print(f"{name}: 1 - F1 on test data {tested.mean:.3f} ± {tested.sd:.3f} at rate {tested.lr}")


if __name__ == "__main__":
    main()
