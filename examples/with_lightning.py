"""A learned loss in PyTorch Lightning: python examples/with_lightning.py [loss.json]; pip install lightning."""

import sys
from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from evomal import load_loss

loss = load_loss(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("learned_loss.json"))


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model, self.loss = torch.nn.Linear(4, 3), loss  # frozen: the optimiser leaves its coefficients alone

    def training_step(self, batch, index):
        return self.loss(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.model.parameters(), lr=0.05)


x = torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
trainer = lightning.Trainer(max_epochs=10, logger=False, enable_checkpointing=False)
trainer.fit(module := Module(), DataLoader(TensorDataset(x, y := x[:, :3].argmax(1)), 64))
print(f"error {(module.model(x).argmax(1) != y).float().mean():.3f}")
