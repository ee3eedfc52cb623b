import torch
from torch import nn
from torch.nn.functional import cross_entropy

from evomal.config import BaseSettings
from evomal.local_search.base_step import BaseStep
from evomal.local_search.functional import FunctionalModel
from evomal.local_search.warm_up import diagonal_scaling
from evomal.tasks.factories import UserOptimizer


class Skips(nn.Module):
    """A second layer that some batches do not use."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x):
        return self.a(x) + self.b(x) if float(x[0, 0]) > 0 else self.a(x)


def _batches():
    draw = torch.Generator().manual_seed(0)
    for number in range(5):
        x = torch.randn(8, 4, generator=draw)
        x[0, 0] = 1.0 if number == 0 else -1.0
        yield x, torch.randint(2, (8,), generator=draw)


def test_a_layer_that_a_batch_does_not_use_is_not_stepped_again():
    """SGD multiplies every gradient by its rate, whatever uses a layer."""
    step = BaseStep(
        BaseSettings(optimizer="own", lr=0.01), UserOptimizer(lambda parameters, lr: torch.optim.SGD(parameters, lr))
    )
    for factor in diagonal_scaling(FunctionalModel(Skips()), _batches(), cross_entropy, step):
        torch.testing.assert_close(factor, torch.full_like(factor, 0.01), rtol=1e-3, atol=1e-5)


def test_adam_in_local_search_is_adam_in_a_training():
    torch.manual_seed(0)
    model, step = Skips(), BaseStep(BaseSettings(optimizer="adam", lr=0.01))
    found = diagonal_scaling(FunctionalModel(model), _batches(), cross_entropy, step)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for x, y in _batches():
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    for factor, parameter in zip(found, model.parameters(), strict=True):
        state = optimizer.state[parameter]
        squares = state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))
        torch.testing.assert_close(factor, 1 / (squares.sqrt() + 1e-8), rtol=1e-4, atol=0)
