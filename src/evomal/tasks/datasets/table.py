"""A user's table: a .csv with a line of names, its targets in one column or several, numbers in all others."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evomal.foundation.errors import DataError, SettingError, one_line, unknown_name

QUOTED = 40
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
MISSING = ("na", "n/a", "#n/a", "nan", "null", "none", "?", "-", ".")
"""What programs write for a number that is not known."""


def read_table(path: Path, targets: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features [N, ...] and targets of a table: [N] numbers or text, or of several columns [N, K] numbers.

    Columns are separated by what divides the line of names into most: commas, semicolons or tabulators.

    Args:
        path: The file.
        targets: The names of the targets' columns.

    Raises:
        DataError: It cannot be read, or holds something else.
        SettingError: A column is named twice.
        UnknownNameError: There is no such column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            rows = _rows(csv.reader(file, delimiter=_separator(first)), path)
            header = next(rows, (0, []))[1]
            if not header:
                raise DataError(f"{path} is empty; give a line with the names of the columns, then numbers")
            columns, places = _columns(path, header, targets)
            features: list[list[float]] = []
            texts: dict[str, list[tuple[int, str]]] = {target: [] for target in targets}
            for line, row in rows:
                for target, place in zip(targets, places, strict=True):
                    texts[target].append((line, row[place].strip()))
                    if not texts[target][-1][1]:
                        raise DataError(f"{path}, line {line}: column '{target}' is empty; remove such rows")
                features.append([_feature(path, line, header[column], row[column]) for column in columns])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from None
    if not features:
        raise DataError(f"{path} has no rows below its line of names; give at least 10 instances")
    read = [_targets(path, target, lines) for target, lines in texts.items()]
    if len(read) == 1:
        return np.array(features), read[0]
    for target, values in zip(targets, read, strict=True):
        if values.dtype.kind == "U":
            text = next(text for text in values if not is_number(text))
            raise DataError(
                f"{path}: column '{target}' holds text, such as '{text[:QUOTED]}', and several targets must be "
                "numbers; name it alone, or give numbers"
            )
    return np.array(features), np.stack(read, axis=1)


def named_columns(path: Path) -> str:
    """The columns of a table as a message names them, nothing where they cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
        header = next(csv.reader([first], delimiter=_separator(first)), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return ""
    return f" ({', '.join(name.strip() for name in header)})" if 0 < len(header) < QUOTED else ""


def _separator(first: str) -> str:
    """What stands between the columns of a table, by its first line; names in quotes may hold any of them."""
    return max(",;\t", key=lambda separator: len(next(csv.reader([first], delimiter=separator), [])))


def unreadable(path: Path, error: BaseException) -> DataError:
    """The error for a file of the user that cannot be read."""
    advice = "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else "check the path and the file"
    return DataError(f"{path} cannot be read ({one_line(error)}); {advice}")


def _rows(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not empty, with their numbers; all as long as the first."""
    length = 0
    for row in reader:
        if row:
            length = length or len(row)
            if len(row) != length:
                raise DataError(
                    f"{path}, line {reader.line_num} has {len(row)} columns, but the first line names {length}; mend it"
                )
            yield reader.line_num, row


def _columns(path: Path, header: Sequence[str], targets: Sequence[str]) -> tuple[list[int], list[int]]:
    names = [name.strip() for name in header]
    for target in targets:
        if target not in names:
            raise unknown_name("target column", target, names)
        if targets.count(target) > 1:
            raise SettingError(f"the target column '{target}' is named twice; name each once")
    if "" in names:
        raise DataError(
            f"{path}: column {names.index('') + 1} has no name, as one of row numbers has; leave it out (pandas: "
            "index=False), or name it"
        )
    for target in targets:
        if names.count(target) > 1:
            raise DataError(f"{path} has {names.count(target)} columns named '{target}'; give each a name of its own")
    if len(names) == len(targets):
        named = "', '".join(targets)
        raise DataError(
            f"{path} has no column beside its target{'s' * (len(targets) > 1)} '{named}'; give at least one feature"
        )
    places = [names.index(target) for target in targets]
    return [column for column in range(len(names)) if column not in places], places


def _number(text: str) -> float:
    """A number as tables have it.

    Raises:
        ValueError: It is none; ``1_000`` is one to Python alone.
    """
    if "_" in text:
        raise ValueError(text)
    return float(text)


def is_number(text: str) -> bool:
    """Whether a text is a number, be it finite or not."""
    try:
        _number(text)
    except ValueError:
        return False
    return True


def _feature(path: Path, line: int, column: str, text: str) -> float:
    value = _number(text) if is_number(text) else float("nan")
    if not np.isfinite(value):
        shown = f"'{text.strip()[:QUOTED]}', which is no finite number" if text.strip() else "nothing"
        comma = DECIMAL_COMMA.fullmatch(text.strip())
        what = "a point for the comma" if comma else "numbers (a column for each category), or leave the column out"
        raise DataError(f"{path}, line {line}: column '{column.strip()}' holds {shown}; give {what}")
    return value


def _targets(path: Path, column: str, lines: Sequence[tuple[int, str]]) -> NDArray[Any]:
    """Targets as whole numbers, as decimals, or else as text.

    Raises:
        DataError: They are numbers but for missing ones or decimal commas, which would be classes of their own.
    """
    texts = [text for _, text in lines]
    odd = [(line, text) for line, text in lines if not is_number(text) or not np.isfinite(_number(text))]
    if not odd:
        try:
            return np.array([int(text) for text in texts])
        except ValueError:
            return np.array([float(text) for text in texts])
    line, text = odd[0]
    where = f"{path}, line {line}: column '{column}' holds '{text[:QUOTED]}'"
    if all(DECIMAL_COMMA.fullmatch(text) for _, text in odd):
        raise DataError(f"{where}, which is no finite number; give a point for the comma")
    if len(odd) < len(lines) and all(text.lower() in MISSING or is_number(text) for _, text in odd):
        raise DataError(f"{where}, which is no finite number, as others are; remove such rows")
    return np.array(texts)
