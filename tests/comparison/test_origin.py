import shutil

import yaml

from evomal.store.provenance import Origin, versions


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
    config = copied / "comparison.yaml"
    config.write_text(config.read_text().replace(f"torch: {versions()['torch']}", "torch: '1.0'"))
    shutil.rmtree(copied / "searches")
    (copied / "trainings.jsonl").unlink()
    assert compare(copied).comparison.origin == Origin(None, versions())
