"""A report on run folders and comparisons: which sections there are, in which order."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from evomal.analysis import audit
from evomal.analysis.gradients import classes_of
from evomal.analysis.runs import SearchRecord, read_search, search_record
from evomal.comparison import Comparison
from evomal.comparison.comparison import TABLE, read_comparison
from evomal.comparison.folder import SEARCHES
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.foundation.files import write_atomically
from evomal.foundation.serialization import cleaned
from evomal.losses import HANDCRAFTED
from evomal.report.page import comparing, searching
from evomal.report.page.blocks import Block, Drawer, LinesBlock, Section, render
from evomal.report.page.verdict import best_handcrafted, finals_section, verdict_of_comparison, verdict_of_search
from evomal.search import LearnResult

COMPARISON = "comparison.yaml"
PAGES = (".html", ".htm", "")  # how the name of a report may end


def write_report(folders: Sequence[str | PathLike[str]], out: str | PathLike[str], classes: int | None = None) -> Path:
    """Write a report on runs and comparisons as one HTML page that needs nothing else.

    Args:
        folders: Run folders, and folders of comparisons.
        out: The file.
        classes: How many classes figures of losses for classification assume; None: as many as the run's own task has,
            or 10 where that is not known.

    Returns:
        The file.

    Raises:
        RunFolderError: A folder holds neither.
        SettingError: The file cannot be written, or its name ends as that of another kind of file.
    """
    _require_page(out)
    return _written(make_report(folders, classes), out)


def _require_page(out: str | PathLike[str]) -> None:
    """Before minutes of drawing: a page under the name of another kind of file opens nowhere."""
    ending = Path(out).suffix
    if ending.lower() not in PAGES:
        raise SettingError(
            f"'{out}' ends with {ending}, but a report is an HTML page; give a name that ends with .html"
        )


def _written(page: str, out: str | PathLike[str]) -> Path:
    path = Path(out)
    try:
        write_atomically(path, page)
    except OSError as error:
        raise SettingError(f"'{path}' cannot be written ({error.strerror}); give another `out`") from None
    return path


def make_report(folders: Sequence[str | PathLike[str]], classes: int | None = None) -> str:
    """The page of `write_report` as text."""
    drawer = Drawer()
    sections: list[Section] = []
    searches: list[SearchRecord] = []
    titles: list[str] = []
    for folder in folders:
        if is_comparison(Path(folder)):
            comparison_sections, title = _of_comparison(Path(folder), drawer, classes)
            sections += comparison_sections
            titles.append(title)
        else:
            searches.append(read_search(folder))
    if searches:
        sections = [*_of_searches(searches, drawer, classes), *sections]
        titles = [*dict.fromkeys(f"{each.method} on {each.task}" for each in searches), *titles]
    return render("; ".join(titles)[:200], _subtitle(searches), sections)


def report_of_result(result: LearnResult, out: str | PathLike[str], classes: int | None = None) -> Path:
    """What `LearnResult.report` does: the page of one search, whose candidates are at hand."""
    _require_page(out)
    record = search_record(result)
    sections = _of_searches([record], Drawer(), classes)
    return _written(render(f"{record.method} on {record.task}", _subtitle([record]), sections), out)


def _subtitle(searches: Sequence[SearchRecord]) -> str:
    return ", ".join(f"{each.name} (seed {each.seed})" for each in searches[:8])


def is_comparison(path: Path) -> bool:
    """Whether a folder is that of a comparison, finished or not."""
    return (path / COMPARISON).is_file() or (path / TABLE).is_file()


def _of_searches(searches: Sequence[SearchRecord], drawer: Drawer, classes: int | None) -> list[Section]:
    several = len(searches) > 1
    sections = []
    for record in searches:
        blocks: list[Block] = [LinesBlock(verdict_of_search(record), "verdict")]
        if record.problems:
            blocks.append(LinesBlock([cleaned(problem) for problem in record.problems], "problems"))
        sections.append(Section(_headed("Verdict", record, several), blocks))
    if several:
        together: dict[str, list[SearchRecord]] = {}
        for record in searches:
            together.setdefault(f"{record.method} on {record.task}", []).append(record)
        section = comparing.searches_section(together, drawer, "The searches together")
        sections += [section] if section else []
    for record in searches:
        sections += _details(record, drawer, classes, several)
    return sections


def _details(
    record: SearchRecord, drawer: Drawer, classes: int | None, several: bool, more: Sequence[str] = ()
) -> list[Section]:
    sections = []
    finals = finals_section(record, drawer, _headed("Finals", record, several))
    sections += [finals] if finals else []
    if record.loss is not None:
        shown = classes_of(record.loss, given=classes)
        found = audit(record.loss, shown)
        losses = searching.rivals(record.loss, shown, more=[*best_handcrafted(record), *more])
        sections.append(searching.loss_section(record.loss, drawer, found, _headed("The loss", record, several)))
        title = _headed("What it does", record, several)
        sections.append(searching.action_section(losses, found, drawer, shown, title))
    sections.append(searching.search_section(record, drawer, _headed("The search", record, several)))
    sections.append(searching.settings_section(record, _headed("Settings and versions", record, several)))
    return sections


def _headed(title: str, record: SearchRecord, several: bool) -> str:
    return f"{title}: {record.name}" if several else title


def _of_comparison(path: Path, drawer: Drawer, classes: int | None) -> tuple[list[Section], str]:
    searches = comparison_searches(path)
    try:
        comparison = read_comparison(path)
    except RunFolderError as error:
        problem = str(error) if (path / TABLE).exists() else _unfinished(path)
        sections = [
            Section(
                "Verdict",
                [
                    LinesBlock([f"The comparison '{path}' has no table."], "verdict"),
                    LinesBlock([cleaned(problem)], "problems"),
                ],
            )
        ]
        section = comparing.searches_section(searches, drawer)
        return sections + ([section] if section else []), f"comparison {path.resolve().name}"
    sections = [
        Section("Verdict", [LinesBlock(verdict_of_comparison(comparison), "verdict")]),
        comparing.table_section(comparison),
        comparing.rates_section(comparison, drawer),
    ]
    optional = (comparing.searches_section(searches, drawer), comparing.found_section(comparison))
    sections += [section for section in optional if section]
    best = _best_search(comparison, searches)
    if best is not None and best.loss is not None:
        shown = classes_of(best.loss, given=classes)
        found = audit(best.loss, shown)
        losses = searching.rivals(best.loss, shown, best.method, _best_handcrafted(comparison))
        sections.append(searching.loss_section(best.loss, drawer, found, f"The best learned loss: {best.name}"))
        sections.append(searching.action_section(losses, found, drawer, shown, f"What {best.name} does"))
    sections.append(comparing.comparison_settings(comparison))
    return sections, f"comparison on {comparison.task}"


def _unfinished(path: Path) -> str:
    from evomal.comparison.folder import ComparisonFolder

    done = len(ComparisonFolder(path).trainings())
    return f"it is not finished: {done} trainings so far; run the same evomal compare again, and it goes on from there"


def comparison_searches(path: Path) -> dict[str, list[SearchRecord]]:
    """The searches of a comparison by contender; what cannot be read is left out."""
    found: dict[str, list[SearchRecord]] = {}
    folder = path / SEARCHES
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            record = read_search(each)
        except RunFolderError:
            continue
        found.setdefault(each.name.rpartition("-seed")[0], []).append(record)
    return found


def _best_search(comparison: Comparison, searches: dict[str, list[SearchRecord]]) -> SearchRecord | None:
    """Of the learned contender with the lowest mean at its best rate, the search with the best fitness."""
    rows = [row for row in comparison.rows() if searches.get(row.contender.name) and row.best.mean == row.best.mean]
    if not rows:
        return None
    best = min(rows, key=lambda row: row.best.mean).contender.name
    return min(searches[best], key=lambda each: float("inf") if each.fitness is None else each.fitness)


def _best_handcrafted(comparison: Comparison) -> list[str]:
    rows = [row for row in comparison.rows() if row.contender.name in HANDCRAFTED and row.best.mean == row.best.mean]
    return [min(rows, key=lambda row: row.best.mean).contender.name] if rows else []
