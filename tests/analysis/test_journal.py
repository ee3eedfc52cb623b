"""Numbers of journals, on small ones that can be counted by hand."""

from evomal.analysis import best_so_far, lineage, operators_used, outcomes_by_generation, pareto_front, points
from evomal.expressions import parse


def _line(generation, index, outcome="trained", fitness=None, **more):
    return {"generation": generation, "index": index, "outcome": outcome, "fitness": fitness, **more}


LINES = [
    _line(0, 0, fitness=0.5, expression="square(sub(y, f))", origin="initial", parents=[]),
    _line(0, 1, "rejected", expression="mul(y, f)", origin="initial", parents=[]),
    _line(1, 0, "elite", 0.5, expression="square(sub(y, f))", origin="elite", parents=[0]),
    _line(1, 1, fitness=0.3, expression="abs(sub(y, f))", origin="crossover", parents=[0, 1]),
    _line(2, 0, "elite", 0.3, expression="abs(sub(y, f))", origin="elite", parents=[1]),
    _line(2, 1, fitness=0.2, expression="log(abs(sub(y, f)))", origin="mutation", parents=[1]),
    _line(2, 2, "failed", expression="log(mul(y, f))", origin="mutation", parents=[7]),
]


def test_the_best_so_far_counts_what_was_trained():
    assert best_so_far(LINES) == [0.5, 0.3, 0.2]
    assert best_so_far([_line(1, 0, "dropped", 0.1)]) == [None, None]
    assert best_so_far([]) == []


def test_outcomes():
    counts = outcomes_by_generation(LINES)
    assert [dict(count) for count in counts] == [
        {"trained": 1, "rejected": 1},
        {"elite": 1, "trained": 1},
        {"elite": 1, "trained": 1, "failed": 1},
    ]


def test_the_front_holds_what_is_best_for_its_size():
    found = pareto_front(points(LINES))
    assert [(point.size, point.fitness) for point in found] == [(4, 0.3), (5, 0.2)]
    assert [point.place for point in found] == [(1, 1), (2, 1)]


def test_lines_without_a_readable_formula_are_left_out_of_points():
    odd = [_line(0, 0, fitness=0.1, expression="eval(1)"), _line(0, 1, fitness=0.2, weights=[1, 2, 3])]
    assert [(point.size, point.text) for point in points(odd)] == [(3, "")]


def test_the_line_of_the_winner_passes_over_what_was_only_copied():
    line = lineage(LINES, (2, 1))
    assert [(each.place, each.origin, each.text) for each in line] == [
        ((2, 1), "mutation", "log(abs(sub(y, f)))"),
        ((1, 1), "crossover", "abs(sub(y, f))"),
        ((0, 0), "initial", "square(sub(y, f))"),
    ]
    assert (line[1].fitness, line[1].others) == (0.3, ((0, 1),))


def test_a_line_ends_where_the_journal_does():
    assert [each.place for each in lineage(LINES, (2, 2))] == [(2, 2)]
    assert lineage(LINES, (9, 9)) == []


def test_operators():
    counts = operators_used([parse("square(sub(y, f))"), parse("add(sub(y, 1), f)")])
    assert {name: count for name, count in counts.items() if count} == {"add": 1, "sub": 2, "square": 1}


def test_without_generations_parents_are_numbers():
    told = {"outcome": "trained", "fitness": 0.5}
    records = [
        {
            "generation": 0,
            "index": 0,
            "after": 0,
            "parents": [],
            "origin": "initial",
            "expression": "mul(y, f)",
            **told,
        },
        {
            "generation": 0,
            "index": 1,
            "after": 0,
            "parents": [],
            "origin": "initial",
            "expression": "sub(y, f)",
            **told,
        },
        {"generation": 1, "index": 0, "after": 2, "parents": [1], "origin": "mutation", "expression": "y", **told},
        {"generation": 2, "index": 1, "after": 3, "parents": [2, 0], "origin": "crossover", "expression": "f", **told},
    ]
    line = lineage(records, (2, 1))
    assert [each.place for each in line] == [(2, 1), (1, 0), (0, 1)]
