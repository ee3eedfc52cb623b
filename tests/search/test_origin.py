import importlib.metadata
import platform

import pytest
import torch
import yaml

import evomal
from evomal.search.origin import Origin, origin_now, versions

OLD = {"evomal": "0.0.1", "torch": "2.0"}


def test_versions_are_those_of_what_computes():
    known = versions()
    assert known["evomal"] == evomal.__version__
    assert known["python"] == platform.python_version()
    assert known["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert known["cma"] == importlib.metadata.version("cma")


@pytest.mark.parametrize(
    ("before", "earlier"),
    [
        ({}, ()),
        ({"versions": versions()}, ()),
        ({"versions": OLD}, (OLD,)),
        ({"versions": OLD, "earlier_versions": [OLD]}, (OLD,)),
        ({"versions": versions(), "earlier_versions": [OLD, versions()]}, (OLD,)),
        ({"versions": "odd", "earlier_versions": [3, "odd"]}, ()),
        ({"earlier_versions": 3}, ()),
    ],
)
def test_earlier_versions_are_each_kept_once(before, earlier):
    assert origin_now("evomal compare", before) == Origin("evomal compare", versions(), earlier)


def test_the_same_versions_have_changed_nothing():
    assert Origin(None, versions()).changes() == []
    assert Origin(None, {"torch": "2"}, ({"numpy": "1"},)).changes() == []


def test_going_on_under_other_versions_is_told(compare, copied, finished):
    config = copied / "comparison.yaml"
    known = yaml.safe_load(config.read_text())
    assert known["command"] is None
    assert known["versions"] == versions()
    assert known["earlier_versions"] == []
    config.write_text(yaml.safe_dump(known | {"versions": known["versions"] | {"torch": "1.0"}}, sort_keys=False))
    note = f"finished parts were made with torch 1.0, now torch {versions()['torch']}"
    for _ in range(2):  # it stays true
        again = compare(copied)
        assert again.watcher.left == (0, 0)
        assert again.comparison.notes() == [finished.comparison.notes()[0], note, *finished.comparison.notes()[1:]]
    assert note in (copied / "table.md").read_text()
    assert compare(copied, force=True).comparison.notes() == finished.comparison.notes()


def test_where_nothing_is_finished_nothing_was_made_with_other_versions(compare, copied):
    import shutil

    config = copied / "comparison.yaml"
    config.write_text(config.read_text().replace(f"torch: {versions()['torch']}", "torch: '1.0'"))
    shutil.rmtree(copied / "searches")
    (copied / "trainings.jsonl").unlink()
    assert compare(copied).comparison.origin == Origin(None, versions())
