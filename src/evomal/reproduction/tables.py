"""Ours beside the paper's numbers: a table as plain values, Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from evomal.foundation.errors import RunFolderError
from evomal.foundation.files import AGAIN, storing, write_atomically
from evomal.foundation.plain_json import NotPlainError, read_json
from evomal.foundation.serialization import cleaned, finite_or_none
from evomal.reproduction.numbers import METHODS, PAPER, Printed, original

MAX_BYTES = 64_000_000
HOURS = "table4"


@dataclass(frozen=True, slots=True)
class Entry:
    """A number of ours, and the paper's.

    Args:
        row: Data set and network.
        method: Ours for it, or the name of a loss.
        ours: Mean test error at the paper's rate; in Table 4 the hours if few candidates are trained. None where
            nothing was found, or a training diverged.
        sd: Its standard deviation over seeds; in Table 4 None.
        most: In Table 4 the hours if many candidates are trained; else None.
        best: Mean test error at its own best rate; None where one rate was tried.
        best_lr: That rate.
        seeds: How many seeds.
        paper: The paper's number; None where it has none.
        paper_sd: Its standard deviation.
        note: What must be known of it.
    """

    row: str
    method: str
    ours: float | None
    sd: float | None = None
    most: float | None = None
    best: float | None = None
    best_lr: float | None = None
    seeds: int = 0
    paper: float | None = None
    paper_sd: float | None = None
    note: str = ""

    @classmethod
    def beside(cls, table: str, row: str, method: str, ours: float | None, **more: Any) -> Self:
        """An entry with the paper's number.

        Example:
            >>> Entry.beside("table2", "mnist/lenet5", "evomal", 0.012).paper
            0.01
        """
        printed = PAPER.get(table, {}).get(original(row), {}).get(method, Printed(math.nan))
        numbers = {name: finite_or_none(value) for name, value in more.items() if name in ("sd", "most", "best")}
        return cls(
            row,
            method,
            finite_or_none(ours),
            paper=finite_or_none(printed.value),
            paper_sd=printed.sd,
            **(more | numbers),
        )


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the paper with our numbers.

    Args:
        what: Its name, such as ``"table2"``.
        entries: By row, then by method.
        notes: How it differs from the paper, and what is doubtful in the print, one sentence each.
        origin: Command, versions, machine, as plain values.

    Example:
        >>> print(Table("table2", (Entry.beside("table2", "mnist/lenet5", "evomal", 0.0119, sd=0.002, seeds=2),)))
        # table2
        <BLANKLINE>
        | task and model | method | ours | the paper's | note |
        | --- | --- | --- | --- | --- |
        | mnist/lenet5 | EvoMAL | 0.0119 ± 0.0020 (2 seeds) | 0.0100 ± 0.0010 |  |
        <BLANKLINE>
    """

    what: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    def heads(self) -> list[str]:
        """The names of its columns."""
        best = ["ours, each at its best rate"] if any(entry.best is not None for entry in self.entries) else []
        unit = " (hours)" if self.what == HOURS else ""
        name = "loss" if self.what == "table5" else "method"
        return ["task and model", name, f"ours{unit}", *best, f"the paper's{unit}", "note"]

    def rows(self) -> list[list[str]]:
        """Its cells as text."""
        with_best = len(self.heads()) > 5
        return [
            [
                entry.row,
                METHODS.get(entry.method, entry.method),
                self._ours(entry),
                *([_best(entry)] if with_best else []),
                self._number(entry.paper, entry.paper_sd),
                entry.note,
            ]
            for entry in self.entries
        ]

    def __str__(self) -> str:
        """The table in Markdown, with its notes."""
        lines = [self.heads(), ["---"] * len(self.heads()), *self.rows()]
        table = [f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines]
        notes = [f"- {_escaped(note)}" for note in (*self.notes, *self._made())]
        return "\n".join([f"# {self.what}", "", *table, "", *notes])

    def as_csv(self) -> str:
        """Every entry as a line of numbers."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ["table", *Entry.__dataclass_fields__], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"table": self.what, **asdict(entry)} for entry in self.entries)
        return text.getvalue()

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        entries = [asdict(entry) for entry in self.entries]
        return {"table": self.what, "entries": entries, "notes": list(self.notes), **self.origin}

    def write(self, folder: Path) -> list[Path]:
        """Write it as Markdown, CSV and JSON into a folder.

        Raises:
            StorageError: There is no room, or the folder was taken away.
        """
        document = json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n"
        texts = {"md": f"{self}\n", "csv": self.as_csv(), "json": document}
        paths = [folder / f"{self.what}.{ending}" for ending in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            with storing(path, AGAIN):
                write_atomically(path, text)
        return paths

    def _made(self) -> Iterable[str]:
        if self.origin:
            versions = ", ".join(f"{name} {version}" for name, version in self.origin.get("versions", {}).items())
            yield f"made with {versions} on {self.origin.get('machine')}"

    def _ours(self, entry: Entry) -> str:
        if entry.ours is None:
            return "–" if entry.note else "diverged"
        if self.what == HOURS:
            return f"{entry.ours:,.2f} – {entry.most or entry.ours:,.2f}"
        return f"{self._number(entry.ours, entry.sd)} ({entry.seeds} seeds)"

    def _number(self, value: float | None, sd: float | None) -> str:
        if value is None:
            return ""
        digits = 2 if self.what == HOURS else 4
        return f"{value:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def read_entries(path: Path) -> list[Entry]:
    """The entries of a table that was written before; none where there is no file.

    Raises:
        RunFolderError: The file is damaged.
    """
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            document = read_json(file.read(MAX_BYTES))
        return [Entry(**entry) for entry in document["entries"]]
    except (OSError, NotPlainError, KeyError, TypeError) as error:
        raise RunFolderError(f"'{path}' is damaged ({error!r}); remove it, and give the same command again") from None


def merged(before: Sequence[Entry], now: Sequence[Entry], order: Sequence[str]) -> tuple[Entry, ...]:
    """Entries of earlier calls and of this one, which take the place of those of their row.

    Args:
        before: Of earlier calls.
        now: Of this one.
        order: All rows of the table.

    Example:
        >>> old, new = Entry("a", "x", 0.1), Entry("b", "x", 0.2)
        >>> [entry.row for entry in merged([new, old], [new], ["a", "b"])]
        ['a', 'b']
    """
    rows = {entry.row for entry in now}
    every = [*now, *(entry for entry in before if entry.row not in rows)]
    return tuple(sorted(every, key=lambda entry: order.index(entry.row) if entry.row in order else len(order)))


def _best(entry: Entry) -> str:
    return "" if entry.best is None else f"{entry.best:.4f} at {entry.best_lr:g}"


def _escaped(text: str) -> str:
    return cleaned(text).replace("|", "\\|")
