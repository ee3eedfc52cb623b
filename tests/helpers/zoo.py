"""Small models that hold what is hard for derivatives: (factory, inputs) by name, for five classes."""

import torch
from torch import nn
from torch.nn.utils import parametrizations


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(4, 6, batch_first=True)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.layer(x, x, x, need_weights=False)[0].mean(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 6).requires_grad_(False)
        self.head = nn.Linear(6, 5)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


class Scaled(nn.Module):
    """Its logits have a temperature: a parameter without dimensions."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5))
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.scale * self.body(x)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.embedding(x).mean(1))


def _encoder():
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, dropout=0.3, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Flatten(), nn.Linear(24, 5))


def _convolution(*between):
    return nn.Sequential(nn.Conv2d(1, 4, 3), *between, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 5))


IMAGE, ROW, SEQUENCE = (1, 8, 8), (6,), (3, 4)
ZOO = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5)), ROW),
    "relu_in_place": (lambda: nn.Sequential(nn.Linear(6, 7), nn.ReLU(inplace=True), nn.Linear(7, 5)), ROW),
    "convolution": (lambda: _convolution(nn.Tanh()), IMAGE),
    "max_pooling": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
        IMAGE,
    ),
    "batch_norm": (lambda: _convolution(nn.BatchNorm2d(4), nn.ReLU()), IMAGE),
    "group_norm": (lambda: _convolution(nn.GroupNorm(2, 4), nn.Softplus()), IMAGE),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, 5)), ROW),
    "lstm": (lambda: Recurrent(nn.LSTM), SEQUENCE),
    "gru": (lambda: Recurrent(nn.GRU), SEQUENCE),
    "attention": (lambda: Attention(), (3, 8)),
    "transformer": (_encoder, (3, 8)),
    "weight_norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 7)), nn.Tanh(), nn.Linear(7, 5)),
        ROW,
    ),
    "spectral_norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 7)), nn.Tanh(), nn.Linear(7, 5)),
        ROW,
    ),
    "tied": (lambda: Tied(), ROW),
    "frozen": (lambda: Frozen(), ROW),
    "temperature": (lambda: Scaled(), ROW),
    "embedding": (lambda: Words(), None),
}


def make(name, dtype=torch.float64, seed=0, count=9):
    """A fresh model of the zoo and two batches for it."""
    factory, shape = ZOO[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = factory().to(dtype)
    draw = torch.Generator().manual_seed(seed + 1)
    batches = []
    for _ in range(4):
        if shape is None:
            x = torch.randint(0, 11, (count, 3), generator=draw)
        else:
            x = torch.randn(count, *shape, generator=draw, dtype=dtype)
        batches.append((x, torch.randint(0, 5, (count,), generator=draw)))
    return model, batches
