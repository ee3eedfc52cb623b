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
    # An escape beyond Unicode is an OverflowError of PyYAML, no YAMLError.
    "yaml_file_with_an_escape_beyond_unicode": ("yaml_file", b'a: "\\UFFFFFFFF"\n'),
    # PyYAML writes this line break as it is and reads it back as a space.
    "yaml_file_with_a_line_break_of_old": ("yaml_file", b'a: "\\x85"\n'),
}  # fmt: skip


@pytest.mark.parametrize("name", FINDS)
def test_found_once(name):
    target, data = FINDS[name]
    TARGETS[target].check(data)
