"""A learned loss in Keras 3 on PyTorch: KERAS_BACKEND=torch python examples/with_keras.py [loss.json]."""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is imported
import keras
import torch

from evomal import load_loss

loss = load_loss(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("learned_loss.json"))


def learned_loss(targets, outputs):  # Keras gives targets first; outputs are logits
    return loss(outputs, targets.long().flatten())


keras.utils.set_random_seed(0)
x = torch.randn(600, 4)
y = x[:, :3].argmax(1)
model = keras.Sequential([keras.layers.Dense(3)])
model.compile(optimizer=keras.optimizers.Adam(0.05), loss=learned_loss)
model.fit(x.numpy(), y.numpy(), batch_size=64, epochs=10, verbose=0)
print(f"error {(model.predict(x.numpy(), verbose=0).argmax(1) != y.numpy()).mean():.3f}")
