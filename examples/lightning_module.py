"""Learn a loss with a Lightning module; a loop that calls the same hooks stands for the Trainer here."""

import torch

import evomal


class Module(torch.nn.Module):  # with Lightning: LightningModule
    def __init__(self, criterion):
        super().__init__()
        self.layers, self.criterion = torch.nn.Linear(4, 1), criterion

    def training_step(self, batch, index):
        return self.criterion(self.layers(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.layers.parameters(), lr=0.05)


x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
y = x.sum(1, keepdim=True) + (x[:, :1] > 1.5) * 20 * x[:, 1:2]  # some rows are far off
search = evomal.Search("gplfl", "regression", 0, "runs/module", generations=2, population_size=8, start_from=("mse",))
while candidates := search.ask():
    optimizer = (module := Module(candidates[0].loss)).configure_optimizers()
    for index in range(100):  # with Lightning: Trainer(max_steps=100).fit(module, loader)
        optimizer.zero_grad()
        module.training_step((x[:200], y[:200]), index).backward()
        optimizer.step()
    search.tell({candidates[0].id: (module.layers(x[200:]) - y[200:]).abs().median().nan_to_num(torch.inf)})
print(f"median error {search.best.metric:.3f} with {search.best.formula}")
