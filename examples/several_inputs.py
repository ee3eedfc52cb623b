"""Two inputs by name, a dict of outputs: evomal learn --task examples/several_inputs.py:make_task."""

import torch
from torch import nn

import evomal


class Tagger(nn.Module):
    """Says of each word whether it is in the second half of the alphabet; the mask hides some words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(26, 8), nn.Linear(8, 2)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits [B, T, 2] of words [B, T]."""
        hidden = self.embedding(ids) * mask[:, :, None]
        return {"logits": self.output(hidden), "hidden": hidden}


def make_task() -> evomal.Task:
    """Losses take classes second, [B, 2, T]; hidden words have the label -100, which does not count."""
    draw = torch.Generator().manual_seed(0)
    ids, mask = torch.randint(26, (300, 6), generator=draw), torch.rand(300, 6, generator=draw) > 0.2
    labels = torch.where(mask, (ids >= 13).long(), -100)
    data = {"ids": ids, "mask": mask.float()}, labels
    return evomal.Task(Tagger, data, test=data, outputs=lambda out: out["logits"].transpose(1, 2), name="halves")
