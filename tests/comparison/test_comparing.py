import pytest

import evomal
from evomal.foundation.errors import SettingError
from evomal.tasks import named_task


def test_arguments_that_cannot_be_leave_nothing_behind(tmp_path):
    task, out = named_task("iris", "linear"), tmp_path / "out"
    for given, message in (
        ((task, ["focal"], [0, 1], {"workers": 0}), "setting 'workers': 0 is no number of processes; give 1 or more"),
        (([task], ["focal"], [0, 1], {}), "a comparison is made on one task, and this is a list; give an evomal.Task"),
        ((task, ["focal"], [0], {}), "a paired test over seeds needs at least 2 of them"),
    ):
        *arguments, settings = given
        with pytest.raises(SettingError) as caught:
            evomal.compare(*arguments, out=out, **settings)
        assert str(caught.value).startswith(message)
    assert not out.exists()


def test_it_is_what_the_command_does(tmp_path, capsys):
    from evomal.cli import main

    settings = {"preset": "quick", "steps": 30}
    comparison = evomal.compare(
        named_task("iris", "linear"), ["focal"], [0, 1], out=tmp_path / "a", lr_grid=[0.3], **settings
    )
    command = ["compare", "--dataset", "iris", "--model", "linear", "--methods", "focal", "--seeds", "0", "1"]
    options = ["--lr-grid", "0.3", "--preset", "quick", "--steps", "30", "--quiet"]
    assert main([*command, *options, "--out", str(tmp_path / "b")]) == 0
    capsys.readouterr()
    one, other = ((tmp_path / name / "table.csv").read_text() for name in ("a", "b"))
    assert one == other
    assert [row.contender.name for row in comparison.rows()] == ["cross_entropy", "focal"]


def test_contenders_of_earlier_calls_are_named_and_a_comparison_prints_its_table(tmp_path, capsys):
    from evomal.cli import main

    command = ["compare", "--dataset", "iris", "--model", "linear", "--seeds", "0", "1", "--steps", "20"]
    out = ["--out", str(tmp_path / "a")]
    assert main([*command, *out, "--methods", "focal"]) == 0
    capsys.readouterr()
    assert main([*command, *out, "--methods", "generalised_cross_entropy"]) == 0
    line = "focal: in the folder from an earlier call, not in this table; name them to have them in it"
    assert line in capsys.readouterr().out.splitlines()
    comparison = evomal.compare(
        named_task("iris", "linear"), ["focal", "generalised_cross_entropy"], [0, 1], out=tmp_path / "a", steps=20
    )
    assert str(comparison) == (tmp_path / "a" / "table.md").read_text()
    assert str(comparison).startswith("# Comparison on iris/linear\n")
