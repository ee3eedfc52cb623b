"""Learn a loss with a training loop of your own: python examples/ask_and_tell.py; stop it, and it goes on."""

import torch

import evomal

draw = torch.Generator().manual_seed(0)
x = torch.randn(600, 6, generator=draw)
y = (x[:, 0] * x[:, 1] > 0).long()


def validation_error(criterion: torch.nn.Module) -> float:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(80):
        rows = torch.arange(100) + step % 4 * 100
        optimizer.zero_grad()
        criterion(model(x[rows]), y[rows]).backward()
        optimizer.step()
    return float((model(x[400:]).argmax(1) != y[400:]).float().mean())


settings = {"population_size": 8, "generations": 3, "start_from": ("cross_entropy",)}
search = evomal.Search("gplfl", "classification", seed=0, out="runs/asked", outputs=2, **settings)
while candidates := search.ask():
    for candidate in candidates:
        search.tell({candidate.id: validation_error(candidate.loss)})
print(f"validation error {search.best.metric:.3f} with {search.best.formula}")
