"""What fuzzing found, each as a small input of its own; all of these once ended in something that was not promised."""

import json

import pytest
from fuzz.samples import HEAD, journals, symbolic
from fuzz.targets import TARGETS


def _loss(text=""):
    """A valid loss file with something more at its end."""
    return json.dumps(HEAD | symbolic())[:-1].encode() + text.encode() + b"}"


def _journal(**changes):
    """A valid journal whose first line says something else."""
    lines = [json.loads(line) for line in journals()[0].splitlines()]
    lines[0] |= changes
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _summary(**changes):
    """The summary of a finished search that says something else."""
    known = {"seconds": 0.5, "evaluations": 1, "meta_steps": 1, "fitness": 0.5, "baseline": 0.75, "outcomes": {}}
    return json.dumps({"seed": 0, "formula": "y", "loss_file": "loss.json", **known, **changes}).encode()


FINDS = {
    # JSON is read to a depth of nearly 1,000, and looking how deep it was went by recursion: RecursionError.
    "loss_file_nested_as_deep_as_json_is_read": ("loss_file", _loss(', "past": ' + "[" * 900 + "]" * 900)),
    # 1e400 is JSON and becomes infinite: such a loss was read, and could not be saved again.
    "loss_file_with_an_infinite_number_in_its_past": ("loss_file", _loss(', "fitness": 1e400')),
    # The whole family was quoted: a sentence of four million characters.
    "loss_file_with_a_family_of_a_million_letters": (
        "loss_file",
        _loss().replace(b'"symbolic"', b'"' + b"x" * 10**6 + b'"'),
    ),
    # Whole numbers of up to 4,300 digits are read by Python, and none of more than 308 is a float: OverflowError.
    "journal_with_a_fitness_beyond_floats": ("journal", _journal(fitness=10**310)),
    "journal_with_a_score_beyond_floats": ("journal", _journal(score=-(10**400))),
    # The activation stood in the printed formula as it was: a terminal would have obeyed it.
    "journal_with_an_escape_as_activation": ("journal", _journal(output_activation="\x1b[31m")),
    # Python's json reads NaN, Infinity and any whole number; a table of times could not be made of them.
    "search_of_no_time": ("search", _summary(seconds=float("nan"))),
    "search_of_endless_time": ("search", _summary(seconds=float("inf"))),
    "search_with_evaluations_beyond_floats": ("search", _summary(evaluations=10**400)),
    "search_with_a_fitness_beyond_floats": ("search", _summary(fitness=10**400)),
    # An escape beyond Unicode is an OverflowError of PyYAML, no YAMLError.
    "yaml_file_with_an_escape_beyond_unicode": ("yaml_file", b'a: "\\UFFFFFFFF"\n'),
    # PyYAML writes this line break as it is and reads it back as a space.
    "yaml_file_with_a_line_break_of_old": ("yaml_file", b'a: "\\x85"\n'),
}  # fmt: skip


@pytest.mark.parametrize("name", FINDS)
def test_found_once(name):
    target, data = FINDS[name]
    TARGETS[target].check(data)
