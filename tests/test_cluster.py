"""The cluster in virtual time, against sums and maxima that can be worked out by hand."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

# `benchmarks` lies beside the package, like `fuzz`, and is installed with nothing.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cluster import WAYS, Cluster, Durations, by_generations, by_stages, cluster, drawn_from, played

seconds = st.integers(1, 9).map(float)
members = st.builds(Durations, seconds, seconds, st.integers(0, 9).map(float))


def total(each):
    return each.tune + each.judge + each.train


@given(st.lists(members, min_size=1, max_size=12), st.sampled_from(WAYS))
def test_one_worker_is_never_idle_and_takes_the_sum(found, way):
    after = played(way, found, workers=1, population=4, generations=2, overhead=0.0, seed=1)
    assert after.idle == pytest.approx(0)
    assert after.now == pytest.approx(after.busy)


@given(st.lists(members, min_size=1, max_size=8), st.integers(1, 12))
def test_work_is_the_same_by_every_way_and_no_way_beats_its_bounds(found, workers):
    sides = [played(way, found, workers, 5, 3, 0.0, seed=2) for way in WAYS]
    assert len({round(each.busy, 6) for each in sides}) == 1
    assert all(each.now >= each.busy / workers - 1e-9 and 0 <= each.idle < 1 for each in sides)
    assert sides[2].now <= sides[2].busy / workers + max(map(total, found)) + 1e-9  # Graham's bound of a greedy list


def test_enough_workers_wait_for_the_slowest_of_each_stage():
    some = [Durations(3, 1, 5), Durations(7, 1, 0), Durations(2, 4, 6)]
    after = Cluster(8, 0.0)
    by_stages(after, [some, some])
    assert after.now == 2 * (7 + 4 + 6)


def test_a_training_waits_for_the_verdicts_of_lower_index_alone():
    after = Cluster(8, 0.0)
    by_generations(after, [[Durations(3, 1, 5), Durations(7, 1, 0), Durations(2, 4, 6)]])
    assert after.now == 8 + 6  # the third is judged at 6, the second at 8; the first is trained from 4 to 9
    after = Cluster(8, 0.0)
    by_generations(after, [[Durations(2, 4, 6), Durations(3, 1, 5), Durations(7, 1, 0)]])
    assert after.now == 6 + 6  # of the slow third nobody's training depends


def test_jobs_are_handed_out_one_after_the_other():
    after = Cluster(100, 0.5)
    by_stages(after, [[Durations(1, 0, 0)] * 100])
    assert after.now == pytest.approx(100 * 0.5 + 1)


def test_what_failed_was_not_trained_and_what_was_known_not_evaluated(tmp_path):
    rows = [
        {"outcome": "trained", "seconds": {"tune": 1.0, "filter": 0.5, "train": 2.0}},
        {"outcome": "failed", "seconds": {"tune": 0.25}},
        {"outcome": "archived", "seconds": {}},
    ]
    (tmp_path / "journal.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert drawn_from(tmp_path / "journal.jsonl") == [Durations(1.0, 0.5, 2.0), Durations(0.25, 0.0, 0.0)]


def test_the_table_has_every_way_and_scales_what_knows_the_network(tmp_path, capsys):
    row = {"outcome": "trained", "seconds": {"tune": 10.0, "filter": 1.0, "train": 20.0}}
    (tmp_path / "journal.jsonl").write_text(json.dumps(row) + "\n")
    times = {"lenet5": {"meta": 1.0, "base": 0.5}, "big": {"meta": 3.0, "base": 5.0}}
    (tmp_path / "steps.json").write_text(json.dumps(times))
    rows = cluster(tmp_path / "journal.jsonl", tmp_path / "steps.json", "lenet5 big", "1", 4, 2, overhead=0.0)
    assert [(each["network"], each["way"]) for each in rows] == [(n, w) for n in ("lenet5", "big") for w in WAYS]
    assert [round(3600 * each["hours"]) for each in rows] == [8 * 31] * 3 + [8 * (30 + 1 + 200)] * 3
    assert "A search in virtual time" in capsys.readouterr().out
    assert all(each["gigabytes"] > 60_000 * 784 * 4 / 2**30 for each in rows)
