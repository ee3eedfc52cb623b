"""The folder of a comparison: what is finished lies in it, so that the same command goes on where it was stopped."""

import json
import shutil
from collections.abc import Collection
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from evomal.atomic import write_atomically
from evomal.comparison.entries import Entry
from evomal.comparison.plan import Plan
from evomal.comparison.results import SearchSummary
from evomal.errors import RunFolderError
from evomal.plain import finite_or_none
from evomal.runs import Journal, read_records
from evomal.training import TrainingRun

CONFIG, TRAININGS, SEARCHES, SUMMARY = "comparison.yaml", "trainings.jsonl", "searches", "search.json"
MARK = "evomal-comparison"


class ComparisonFolder:
    """Searches and trainings that are finished, each written when it is.

    Contenders, seeds, rates and workers may change from call to call; what else results depend on may not.

    Args:
        path: The folder.
        force: Start anew, whatever comparison lies there.

    Raises:
        RunFolderError: It holds something else, or a comparison of another task or with other settings.
    """

    def __init__(self, path: str | PathLike[str], force: bool = False) -> None:
        self.path = Path(path)
        self._known: dict[str, Any] = {}
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"'{path}' is a file; give a folder for --out")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        config = self.path / CONFIG
        if not config.is_file():
            raise RunFolderError(f"'{path}' holds files that are no comparison; give another folder for --out")
        if force:
            return
        try:
            self._known = yaml.safe_load(config.read_text(encoding="utf-8"))
            if self._known["format"] != MARK:
                raise ValueError
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
            raise RunFolderError(f"'{config}' is damaged; start anew with --force, or give another --out") from None

    def begin(self, plan: Plan, task: dict[str, Any]) -> None:
        """Write down what is compared, once it is known that it goes on from what lies here.

        Args:
            plan: The plan.
            task: What is known of the task, its fingerprint included.

        Raises:
            RunFolderError: Settings or data differ from those of what is finished, or nothing can be written.
        """
        config = {"format": MARK, "task": task, **plan.as_dict()}
        if self._known:
            self._require_same(config)
            config["methods"] = self._known["methods"] | config["methods"]
        try:
            if not self._known and self.path.is_dir():
                shutil.rmtree(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        except OSError as error:
            raise RunFolderError(f"'{self.path}' cannot be written ({error.strerror}); give another --out") from None

    def search_folder(self, entry: Entry, seed: int) -> Path:
        """The run folder of one search."""
        return self.path / SEARCHES / f"{entry.folder}-seed{seed}"

    def finished_search(self, entry: Entry, seed: int) -> SearchSummary | None:
        """What a search came to; None if it is not finished."""
        folder = self.search_folder(entry, seed)
        try:
            known = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            return SearchSummary(**known) if (folder / "loss.json").is_file() else None
        except (OSError, ValueError, TypeError):
            return None  # it is done again

    def trainings(self) -> dict[tuple[str, float, int], TrainingRun]:
        """Finished full trainings by contender, rate and seed."""
        path = self.path / TRAININGS
        if not path.exists():
            return {}
        found = {}
        for record in read_records(path):
            try:
                name = record.pop("contender")
                for metric in ("valid", "test"):
                    record[metric] = float("nan") if record[metric] is None else float(record[metric])
                run = TrainingRun(**record)
            except (KeyError, TypeError, ValueError):
                raise RunFolderError(f"'{path}' holds a line that is no training; start anew with --force") from None
            found[name, run.lr, run.seed] = run
        return found

    def journal(self) -> Journal:
        """The journal of trainings, open for appending."""
        return Journal(self.path / TRAININGS)

    def _require_same(self, config: dict[str, Any]) -> None:
        shared = self._known["methods"].keys() & config["methods"].keys()
        before, now = (_flat(_fixed(document, shared)) for document in (self._known, config))
        names = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
        if names:
            told = "; ".join(f"{name} was {before.get(name)!r}, now {now.get(name)!r}" for name in names[:3])
            more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
            raise RunFolderError(
                f"'{self.path}' holds a comparison with other settings ({told}{more}); give them again, another --out, or "
                "--force to start anew"
            )


def search_record(summary: SearchSummary) -> str:
    """A finished search as the text of its file."""
    return json.dumps(asdict(summary), indent=2, allow_nan=False) + "\n"


def training_record(entry: Entry, run: TrainingRun) -> dict[str, Any]:
    """A finished training as a line of the journal; a metric that is not finite is None."""
    metrics = {name: finite_or_none(getattr(run, name)) for name in ("valid", "test")}
    return {"contender": entry.name, **asdict(run), **metrics}


def _fixed(config: dict[str, Any], methods: Collection[str]) -> dict[str, Any]:
    """The part of a comparison that may not change from call to call; of methods, those that both calls name."""
    training = {name: value for name, value in config["training"].items() if name not in ("seeds", "lrs")}
    return {
        "task": config["task"],
        "training": training,
        "methods": {name: config["methods"][name] for name in methods},
    }


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    """Nested plain values by names such as ``training: base: lr``."""
    if not isinstance(values, dict):
        return {name: values}
    return {
        inner: value
        for key, entry in values.items()
        for inner, value in _flat(entry, f"{name}: {key}" if name else str(key)).items()
    }
