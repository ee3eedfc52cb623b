"""Learn a loss for text: is a review good or bad?, read by a small network with word embeddings.

The method asks nothing of a model but outputs and gradients; recurrent networks and attention do as well, but slower.
Run it: python examples/sequence.py; or: evomal learn --task examples/sequence.py:make_task --preset quick
"""

import random

import torch
from torch import Tensor, nn

import evomal

GOOD = ("good", "great", "lovely", "clever", "moving", "funny")
BAD = ("bad", "dull", "awful", "silly", "boring", "weak")
OTHER = ("the", "film", "is", "a", "story", "and", "with", "very", "actors", "music")
WORDS = ("<none>", "not", *GOOD, *BAD, *OTHER)
LENGTH = 8


def make_reviews(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Short made-up reviews as numbers of words [N, LENGTH], and whether they are good; "not" turns the next word."""
    draw = random.Random(seed)
    x, y = torch.zeros(count, LENGTH, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    for row in range(count):
        good, negated = draw.random() < 0.5, draw.random() < 0.4
        opinion = draw.choice(BAD if good == negated else GOOD)
        words = [draw.choice(OTHER) for _ in range(draw.randint(3, LENGTH - 2))]
        place = draw.randrange(len(words) + 1)
        words[place:place] = ["not", opinion] if negated else [opinion]
        x[row, LENGTH - len(words) :] = torch.tensor([WORDS.index(word) for word in words])
        y[row] = int(good)
    return x, y


class Reader(nn.Module):
    """An embedding, a convolution over neighbouring words, and the strongest response of each of its filters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), 8)
        self.pairs = nn.Conv1d(8, 16, kernel_size=2)
        self.output = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 2] of reviews x [B, LENGTH]."""
        responses = self.pairs(self.embedding(x).transpose(1, 2)).relu()
        return self.output(responses.amax(2))


def make_task() -> evomal.Task:
    """400 reviews to learn from, a tenth of which is for validation, and 200 to test on."""
    return evomal.Task(Reader, make_reviews(400, seed=0), test=make_reviews(200, seed=1), name="reviews")


def main() -> None:
    """Learn a loss, then train a fresh reader with it."""
    task = make_task()
    base = {"lr": 0.1, "momentum": 0.9, "batch_size": 32}
    settings = {"population_size": 4, "generations": 2, "meta_steps": 10, "partial_steps": 50, "rejection_steps": 200}
    settings |= {"steps": 100, "finals_budget": 5_000}  # finals: the best and the known losses, cross-validated
    known = ("cross_entropy",)  # so short a search begins with what is known
    result = evomal.EvoMAL(seed=0, start_from=known, **settings, **base).learn(task)
    print("learned:", result.loss)
    tested = evomal.meta_test(task, result.loss, steps=300, seeds=(0, 1), lrs=(0.03, 0.1), momentum=0.9, batch_size=32)
    print(f"test error {tested.mean:.3f} ± {tested.sd:.3f} at rate {tested.lr}")


if __name__ == "__main__":
    main()
