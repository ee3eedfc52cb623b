import csv
import io
import re
from dataclasses import replace
from math import nan, pi, tan

import pytest
from rich.console import Console

from evomal.comparison import Comparison, Contender, SearchSummary
from evomal.comparison.tables import as_csv, as_markdown
from evomal.report.tables import print_table, table_of_comparison
from evomal.training import TrainingRun

SEEDS = (0, 1, 2, 3, 4)


def _contender(name, by_rate, kind="handcrafted", searches=(), ratios=()):
    runs = [
        TrainingRun(lr, seed, test, test, 100, 1.5)
        for lr, tests in by_rate.items()
        for seed, test in zip(SEEDS, tests, strict=False)
    ]
    return Contender(name, kind, searches, tuple(runs), ratios)


def _search(seed, seconds, evaluations, fitness=0.2):
    return SearchSummary(seed, seconds, evaluations, 900, fitness, 0.3, "f", "runs/a/loss.json", {"trained": 9})


CE = _contender(
    "cross_entropy",
    {0.1: (0.30, 0.33, 0.29, 0.31, 0.32), 0.3: (0.20, 0.22, 0.21, 0.20, 0.22), 1.0: (0.5, 0.5, 0.5, 0.5, 0.5)},
)
LEARNED = _contender(
    "evomal",
    {0.1: (0.21, 0.22, 0.20, 0.20, 0.23), 0.3: (0.20, 0.21, 0.22, 0.20, 0.22), 1.0: (nan, 0.4, 0.4, 0.4, 0.4)},
    "learned",
    tuple(_search(seed, 70.0 + 2 * seed, 100 + seed) for seed in SEEDS),
    (3.0, 2.5, None, 3.5, 9.0),
)
FOCAL = _contender(
    "focal", {0.1: (0.305, 0.325, 0.295, 0.300, 0.320), 0.3: (0.25, 0.24, 0.25, 0.26, 0.25), 1.0: (0.9,) * 5}
)


def _comparison(*contenders, lrs=(0.1, 0.3, 1.0), seeds=SEEDS, task="digits/mlp"):
    kept = [replace(each, runs=tuple(run for run in each.runs if run.lr in lrs)) for each in contenders]
    return Comparison(task, "error_rate", contenders[0].name, lrs[0], lrs, seeds, tuple(kept), {})


WHOLE = """# Comparison on digits/mlp

Baseline: cross_entropy. Test error_rate over seeds 0, 1, 2, 3, 4; lower is better. \
The best lr is each loss's own of 0.1, 0.3, 1, chosen on validation data. \
A gain is cross_entropy minus the loss, seed by seed: positive is better than cross_entropy. \
Its 95 % interval, effect size d (Cohen's d_z) and p are those of a paired t test; \
p is corrected by Holm for the number of losses beside the baseline. The best mean of each column is bold.

Verdict: best: cross_entropy at 0.3 (error_rate 0.21); a tie with evomal (p 1); better than focal.

| loss | test error_rate at lr 0.1 (mean ± sd) | gain [95 %] | d | p (Holm) \
| test error_rate at best lr (mean ± sd) | lr | gain left [95 %] | d | p (Holm) \
| search time per seed | partial trainings per seed | meta steps per seed |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| cross_entropy (baseline) | 0.3100 ± 0.0158 |  |  |  \
| **0.2100 ± 0.0100** | 0.3 |  |  |  |  |  |  |
| evomal | **0.2120 ± 0.0130** | +0.0980 [0.0844, 0.1116] | 8.95 | <0.001 \
| **0.2100 ± 0.0100** | 0.3 | +0.0000 [-0.0088, 0.0088] | 0.00 | 1.000 | 1 min 14 s | 102 | 900 |
| focal | 0.3090 ± 0.0129 | +0.0010 [-0.0071, 0.0091] | 0.15 | 0.749 \
| 0.2500 ± 0.0071 | 0.3 | -0.0400 [-0.0596, -0.0204] | -2.53 | 0.010 |  |  |  |

Notes:

- 1 of 15 trainings with evomal diverged (1 of 5 at lr 1)
- the gain of evomal at the fixed rate is step size: none is left when each side has its best rate

## Mean test error_rate at every learning rate

| loss | lr 0.1 | lr 0.3 | lr 1 | gradient ratio |
| --- | ---: | ---: | ---: | ---: |
| cross_entropy | 0.3100 | 0.2100 | 0.5000 |  |
| evomal | 0.2120 | 0.2100 | diverged | 3.25 |
| focal | 0.3090 | 0.2500 | 0.9000 |  |

## Losses found

| method | seed | fitness | task loss | formula |
| --- | ---: | ---: | ---: | --- |
| evomal | 0 | 0.2000 | 0.3000 | f |
| evomal | 1 | 0.2000 | 0.3000 | f |
| evomal | 2 | 0.2000 | 0.3000 | f |
| evomal | 3 | 0.2000 | 0.3000 | f |
| evomal | 4 | 0.2000 | 0.3000 | f |
"""


def _table(text):
    """The first table of a Markdown text: its heads and rows."""
    lines = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert len({len(row) for row in rows}) == 1
    return rows[0], rows[2:]


def _printed(table, width=300):
    console = Console(
        file=io.StringIO(), width=width, markup=False, highlight=False, color_system="truecolor", force_terminal=True
    )
    console.print(table)
    return console.file.getvalue()


def test_the_whole_document():
    comparison = _comparison(CE, LEARNED, FOCAL)
    assert as_markdown(comparison) == WHOLE


def test_the_terminal_shows_the_same_without_the_effect_size():
    out = io.StringIO()
    comparison = _comparison(CE, LEARNED, FOCAL)
    print_table(table_of_comparison(comparison), out)
    heads, rows = _table(as_markdown(comparison))
    shown = [
        cell.replace("**", "")
        for place, head in enumerate(heads)
        for row in rows
        for cell in [row[place]]
        if head != "d"
    ]
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert [head in lines[0] for head in heads] == [True] * len(heads)
    assert " d " not in lines[0]
    assert all(cell in out.getvalue() for cell in shown)
    assert "\x1b" not in out.getvalue()


def test_the_best_of_each_column_is_bold_in_a_terminal():
    lines = _printed(table_of_comparison(_comparison(CE, LEARNED, FOCAL))).splitlines()
    bold = [[text.strip() for text in re.findall(r"\x1b\[1m(.*?)\x1b\[0m", line)] for line in lines[1:]]
    assert bold == [["0.2100 ± 0.0100"], ["0.2120 ± 0.0130", "0.2100 ± 0.0100"], []]


def test_a_narrow_terminal_breaks_cells_and_cuts_nothing():
    printed = _printed(table_of_comparison(_comparison(CE, LEARNED, FOCAL)), width=100)
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", printed).splitlines() if line.startswith("evomal")]
    assert [line.split()[-1] for line in lines] == ["900"]


def test_means_that_read_the_same_are_all_bold():
    one = _contender("a", {0.1: (0.20001, 0.3)})
    two = _contender("b", {0.1: (0.20003, 0.3)})
    three = _contender("c", {0.1: (0.2002, 0.3002)})
    _, rows = _table(as_markdown(_comparison(one, two, three, lrs=(0.1,), seeds=(0, 1))))
    assert [row[1] for row in rows] == ["**0.2500 ± 0.0707**", "**0.2500 ± 0.0707**", "0.2502 ± 0.0707"]


@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e-7])
def test_a_metric_that_is_small_throughout_keeps_its_digits(unit):
    """As a mean squared error of targets in a large unit; the table once showed 0.0000 everywhere, and all as best."""
    means = [0.3 * unit, 0.2 * unit]
    pair = [_contender(name, {0.1: (0.9 * mean, 1.1 * mean)}) for name, mean in zip("ab", means, strict=True)]
    comparison = _comparison(*pair, lrs=(0.1,), seeds=(0, 1))
    _, rows = _table(as_markdown(comparison))
    assert [row[1].startswith("**") for row in rows] == [False, True]
    shown = [[float(number) for number in row[1].strip("*").split(" ± ")] for row in rows]
    assert shown == [pytest.approx([mean, 0.2 * mean / 2**0.5], rel=0.02) for mean in means]
    assert float(rows[1][2].partition(" ")[0]) == pytest.approx(0.1 * unit, rel=0.02)
    every = as_markdown(_comparison(*pair, lrs=(0.1,), seeds=(0, 1)))
    assert every.count("0.0000 ") == 0


def test_with_a_single_rate_there_is_one_block():
    comparison = _comparison(CE, LEARNED, lrs=(0.1,))
    heads, rows = _table(as_markdown(comparison))
    assert heads == [
        *("loss", "test error_rate at lr 0.1 (mean ± sd)", "gain [95 %]", "d", "p (Holm)"),
        *("search time per seed", "partial trainings per seed", "meta steps per seed"),
    ]
    assert rows[1] == [
        "evomal",
        "**0.2120 ± 0.0130**",
        "+0.0980 [0.0844, 0.1116]",
        "8.95",
        "<0.001",
        "1 min 14 s",
        "102",
        "900",
    ]
    assert "best lr" not in as_markdown(comparison)
    assert len(table_of_comparison(comparison).columns) == 7
    assert [row["rates"] for row in csv.DictReader(io.StringIO(as_csv(comparison)))] == ["fixed", "fixed"]


def test_what_diverged_is_neither_best_nor_tested():
    bad = _contender("a", {0.1: (nan, 0.01, 0.01, 0.01, 0.01)})
    comparison = _comparison(CE, bad, lrs=(0.1,))
    _, rows = _table(as_markdown(comparison))
    assert rows[0][1] == "**0.3100 ± 0.0158**"
    assert rows[1] == ["a", "diverged", *[""] * 6]
    assert "- 1 of 5 trainings with a diverged (1 of 5 at lr 0.1)" in as_markdown(comparison)
    record = list(csv.DictReader(io.StringIO(as_csv(comparison))))[1]
    assert (record["mean"], record["sd"], record["gain"], record["diverged"]) == ("", "", "", "1")
    assert (record["test_seed_0"], record["test_seed_1"]) == ("", "0.01")
    alone = _comparison(bad, lrs=(0.1,))
    assert _table(as_markdown(alone))[1] == [["a (baseline)", "diverged", *[""] * 6]]
    assert "diverged" in _printed(table_of_comparison(alone))


def test_the_same_gain_at_every_seed_has_no_interval():
    same = _contender("a", {0.1: tuple(run.test - 0.01 for run in CE.runs[:5])})
    _, rows = _table(as_markdown(_comparison(CE, same, lrs=(0.1,))))
    assert rows[1][2:5] == ["+0.0100", "", ""]


def test_nothing_is_shown_as_less_than_nothing():
    nearly = _contender("a", {0.1: (0.30001, 0.33, 0.29, 0.31, 0.32)})
    _, rows = _table(as_markdown(_comparison(CE, nearly, lrs=(0.1,))))
    assert rows[1][2] == "+0.0000 [0.0000, 0.0000]"


def test_a_single_seed():
    text = as_markdown(_comparison(CE, FOCAL, lrs=(0.1,), seeds=(0,)))
    assert _table(text)[1][0][:3] == ["cross_entropy (baseline)", "**0.3000**", ""]
    assert "Test error_rate over seed 0; lower is better." in text


def test_without_remarks_there_are_no_notes():
    text = as_markdown(_comparison(CE, FOCAL, lrs=(0.1,)))
    assert "Notes" not in text
    assert text.endswith("|\n")
    assert not text.endswith("\n\n")


def test_every_number_is_in_the_csv():
    comparison = _comparison(CE, LEARNED, FOCAL)
    records = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert list(records[0]) == [
        *("loss", "kind", "rates", "lr", "mean", "sd", "diverged", "gain", "gain_low", "gain_high", "d_z", "p"),
        *("p_holm", "search_seconds", "evaluations", "meta_steps", "gradient_ratio"),
        *(f"test_seed_{seed}" for seed in SEEDS),
    ]
    cells = [cell for row in comparison.rows() for cell in (row.fixed, row.best)]
    assert [record["rates"] for record in records] == ["fixed", "best"] * 3
    assert [record["loss"] for record in records[::2]] == ["cross_entropy", "evomal", "focal"]
    assert [record["kind"] for record in records[::2]] == ["handcrafted", "learned", "handcrafted"]
    for record, cell in zip(records, cells, strict=True):
        assert [float(record[name]) for name in ("lr", "mean", "sd")] == [cell.lr, cell.mean, cell.sd]
        assert [float(record[f"test_seed_{seed}"]) for seed in SEEDS] == list(cell.values)
        tested = [record[name] for name in ("gain", "gain_low", "gain_high", "d_z", "p", "p_holm")]
        if cell.test is None:
            assert set(tested) == {""}
        else:
            test = cell.test
            assert [float(text) for text in tested] == [
                *(test.gain, test.low, test.high, test.effect, test.p, test.p_holm)
            ]
    names = ("search_seconds", "evaluations", "meta_steps", "gradient_ratio")
    prices = [[record[name] for name in names] for record in records]
    assert prices == [[""] * 4] * 2 + [["74.0", "102.0", "900.0", "3.25"]] * 2 + [[""] * 4] * 2


def test_names_from_files_stay_text():
    name = "a|b\x1b[31m\n*c* <img src=x> [d](e) `f` \\"
    comparison = _comparison(CE, replace(FOCAL, name=name), lrs=(0.1, 0.3), task="my|task\x07")
    text = as_markdown(comparison)
    safe = r"a\|b?\[31m?\*c\* \<img src=x> \[d](e) \`f\` \\"
    _, rows = _table(text)
    assert rows[1][0] == safe
    assert text.startswith("# Comparison on my\\|task?\n")
    assert f"- the best lr 0.3 of {safe} is at the edge of those tried; try greater ones too\n" in text
    plain = "a|b?[31m?*c* <img src=x> [d](e) `f` \\"
    assert list(csv.DictReader(io.StringIO(as_csv(comparison))))[3]["loss"] == plain
    out = io.StringIO()
    print_table(table_of_comparison(comparison), out)
    assert out.getvalue().splitlines()[2].startswith(plain)
    assert not {"\x1b", "\x07"} & set(out.getvalue() + text + as_csv(comparison))


def test_a_name_that_looks_like_markup_of_the_terminal():
    table = table_of_comparison(_comparison(CE, replace(FOCAL, name="[bold]focal[/bold]"), lrs=(0.1,)))
    assert "[bold]focal[/bold]" in _printed(table)


@pytest.mark.parametrize(("p", "shown"), [(0.0123, "0.012"), (0.00099, "<0.001"), (0.0011, "0.001"), (1.0, "1.000")])
def test_how_p_is_shown(p, shown):
    """The t test of two pairs has p = 1 - 2 atan(|t|) / π: differences that give any p are known."""
    t = tan(pi * (1 - p) / 2)
    other = _contender("a", {0.1: (0.5 - 0.01 * (t + 1), 0.5 - 0.01 * (t - 1))})
    one = _contender("b", {0.1: (0.5, 0.5)})
    heads, rows = _table(as_markdown(_comparison(one, other, lrs=(0.1,), seeds=(0, 1))))
    assert rows[1][heads.index("p (Holm)")] == shown


def test_searches_that_found_nothing_are_marked_in_their_row():
    searches = tuple(_search(seed, 70.0, 100, None if seed == 2 else 0.2) for seed in SEEDS)
    _, rows = _table(as_markdown(_comparison(CE, replace(LEARNED, searches=searches))))
    assert [row[0] for row in rows] == ["cross_entropy (baseline)", "evomal (1 of 5 searches found nothing)"]
