"""An operator of your own, as in evomal --import examples/own_operator.py learn --operators add mul ratio.

Training labels are uneven here, so formulas may look at `prior`, the share of each class, and divide by it.
"""

import torch
from torch import nn

import evomal


def ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A / b, and 0 where b is 0; unlike `div`, which is a / √(1 + b²)."""
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b))


evomal.register_operator("ratio", 2, ratio, sympy=lambda sp, a, b: a / b)

if __name__ == "__main__":
    draw = torch.Generator().manual_seed(0)
    y = (torch.arange(600) % 10 == 0).long()
    x = torch.randn(600, 6, generator=draw) + 1.5 * y[:, None]
    task = evomal.Task(lambda: nn.Linear(6, 2), (x[:400], y[:400]), (x[400:], y[400:]), metric="balanced_error_rate")
    words = {"operators": ("add", "mul", "log", "ratio"), "terminals": ("y", "f", "-1", "prior")}
    start = ("mul(-1, ratio(mul(y, log(f)), prior))",)  # cross-entropy weighted by 1 / prior
    settings = {"preset": "quick", "generations": 2, "population_size": 5, "meta_steps": 2, "partial_steps": 30}
    result = evomal.EvoMAL(rejection=False, start_from=start, **words, **settings).learn(task)
    print(result.loss.formula(digits=3), "balanced error", round(result.fitness, 3))
