"""A search of a third of a second, and what it must come to whatever happens to it."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import evomal
from evomal.config import fitting, learn_settings
from evomal.search import LearnResult, Watcher, make_method
from evomal.store import comparable, read_journal

SMALL = {
    "population_size": 5, "generations": 3, "min_depth": 1, "max_depth": 2, "meta_steps": 1, "neural_steps": 3,
    "cma_generations": 2, "partial_steps": 6, "rejection_steps": 8, "rejection_lr": 0.08,
    "rejection_threshold": 0.05, "lr": 0.05,
    "batch_size": 16, "finals": False,
}  # fmt: skip

Files = dict[str, bytes]


def clouds(factory=None, count=90, seed=0, name="clouds", **options):
    """Three clouds of points that overlap, for a linear model."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    x = 1.5 * torch.randn(3, 4, generator=draw)[y] + torch.randn(count, 4, generator=draw)
    cut = count * 2 // 3
    options = {"model_name": "linear"} | options
    return evomal.Task(
        factory or (lambda: nn.Linear(4, 3)), (x[:cut], y[:cut]), (x[cut:], y[cut:]), name=name, **options
    )


def settings(method="evomal", seed=59, **flat):
    """Settings of a search of a third of a second; what the method does not use is left out."""
    return learn_settings(**fitting(method, SMALL) | {"seed": seed} | flat)


def learn(out: Path | None, wanted=None, task=None, **options: Any) -> LearnResult:
    """Search with these settings on this task, both with a default."""
    return make_method(wanted or settings()).learn(task or clouds(), out=out, **options)


class Told(NamedTuple):
    """What a search comes to, but for times.

    Args:
        journal: Its records.
        loss: The bytes of its loss file.
        result: Its result as plain values.
    """

    journal: list[dict[str, Any]]
    loss: bytes
    result: dict[str, Any]


def told(result: LearnResult, folder: Path) -> Told:
    """What a search came to."""
    plain = {name: value for name, value in result.as_dict().items() if name != "seconds"}
    return Told(comparable(read_journal(folder)), (folder / "loss.json").read_bytes(), plain)


def files(folder: Path) -> Files:
    """The files of a folder by their names, with what is in them."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def lay(folder: Path, content: Files) -> Path:
    """Make a folder of these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


class Shots(Watcher):
    """Keeps what lies in a run folder whenever it hears of something: what a kill at that moment would leave."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.taken = folder, []

    def shoot(self) -> None:
        """Keep what lies there now, once."""
        if self.folder.exists() and (now := files(self.folder)) not in self.taken[-1:]:
            self.taken.append(now)

    def stage(self, name, count):
        self.shoot()

    def member(self, candidate, best):
        self.shoot()

    def generation(self, number, best):
        self.shoot()


class Whole(NamedTuple):
    """A search that nothing happened to.

    Args:
        told: What it came to.
        shots: Its run folder at many moments, the last of them its end.
    """

    told: Told
    shots: list[Files]

    @property
    def end(self) -> Files:
        """The finished run folder."""
        return self.shots[-1]

    @property
    def lines(self) -> list[bytes]:
        """The lines of its journal."""
        return self.end["journal.jsonl"].splitlines(keepends=True)

    @property
    def checkpoints(self) -> list[Files]:
        """The checkpoints that lay there, each set once."""
        found: list[Files] = []
        for shot in self.shots:
            now = {name: data for name, data in shot.items() if name.startswith("checkpoint/")}
            if now not in found:
                found.append(now)
        return found

    def but(self, journal: bytes | None, checkpoints: Files) -> Files:
        """The finished run folder with another journal, or none, and other checkpoints."""
        kept = {
            name: data
            for name, data in self.end.items()
            if name != "journal.jsonl" and not name.startswith("checkpoint/")
        }
        return kept | ({} if journal is None else {"journal.jsonl": journal}) | checkpoints


def whole(folder: Path, wanted=None, task=None) -> Whole:
    """Run a search to its end, with nothing happening to it."""
    shots = Shots(folder)
    result = learn(folder, wanted, task, watcher=shots)
    shots.shoot()
    return Whole(told(result, folder), shots.taken)
