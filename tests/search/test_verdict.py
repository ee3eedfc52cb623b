"""The verdict on finals: which sentence follows from which numbers."""

import json
import random

from evomal.evaluation.finals import Entrant, FinalsOutcome, FinalsPlan, StandingsRow
from evomal.search.verdict import Verdict, judged

PLAN = FinalsPlan(1000, (0.025, 0.1, 0.4), 5, 1, 3, 150_000, 0.25)


def row(name, kind, mean, lr=0.1, noise=0.004, splits=15, lrs=(0.025, 0.1, 0.4)):
    """An entrant of the re-test whose values scatter around a mean, some splits being harder for all."""
    rng = random.Random(name)
    values = tuple(mean + 0.02 * (split % 3) + rng.gauss(0, noise) for split in range(splits))
    fitness = mean if kind == "learned" else None
    return StandingsRow(Entrant(name, kind, fitness), lr, 5, mean, values, lrs)


def outcome(*rows, chance=0.9):
    ranked = sorted(rows, key=lambda one: one.mean)
    splits = len(ranked[0].retest)
    return FinalsOutcome(tuple(ranked), (chance,) * splits, PLAN, 140_000)


HABIT, OTHER = row("cross_entropy", "task", 0.30, lr=0.4), row("focal", "handcrafted", 0.27)


def test_a_learned_loss_that_is_better_than_the_best_handcrafted_one():
    verdict = judged(outcome(HABIT, OTHER, row("candidate 3.7", "learned", 0.2)), "error_rate")
    assert (verdict.kind, verdict.name, verdict.loss_kind, verdict.lr) == ("learned", "candidate 3.7", "learned", 0.1)
    assert verdict.message.startswith("use the learned loss at rate 0.1: error_rate 0.2")
    assert "with focal at 0.1" in verdict.message
    assert "with cross_entropy at 0.4" in verdict.message
    for other in verdict.against:
        assert other.low > 0
        assert other.p < 0.05
        assert not other.tied


def test_a_verdict_shows_itself_as_its_message():
    verdict = judged(outcome(HABIT, OTHER, row("candidate 3.7", "learned", 0.2)), "error_rate")
    assert str(verdict) == verdict.message
    assert repr(verdict) == f"Verdict({verdict.message!r})"


def test_a_tie_is_called_a_tie_and_the_best_is_handed_out_all_the_same():
    verdict = judged(outcome(HABIT, OTHER, row("candidate 0.1", "learned", 0.2675)), "error_rate")
    assert verdict.kind == "tie"
    assert verdict.name == "candidate 0.1"
    assert verdict.message.startswith(
        "a tie of the learned loss at rate 0.1 and focal at 0.1, any of them will do: error_rate"
    )
    assert verdict.best("handcrafted").low < 0 < verdict.best("handcrafted").high


def test_a_handcrafted_loss_that_is_better():
    verdict = judged(outcome(HABIT, row("focal", "handcrafted", 0.2), row("candidate 0.1", "learned", 0.27)), "mae")
    assert (verdict.kind, verdict.name) == ("handcrafted", "focal")
    assert verdict.message.startswith("use focal at rate 0.1: mae 0.2")
    assert "with the learned loss at 0.1" in verdict.message


def test_the_habit_if_nothing_is_better():
    verdict = judged(outcome(row("cross_entropy", "task", 0.2), OTHER, row("candidate 0.1", "learned", 0.3)), "m")
    assert (verdict.kind, verdict.name) == ("handcrafted", "cross_entropy")
    assert verdict.message.startswith("use cross_entropy at rate 0.1: m 0.2")
    tied = judged(outcome(row("cross_entropy", "task", 0.2), OTHER, row("candidate 0.1", "learned", 0.2005)), "m")
    assert tied.kind == "tie"
    assert "cross_entropy" in tied.message
    assert "the learned loss" in tied.message


def test_a_specialist_that_only_ties_with_the_habit_is_no_discovery():
    found = row("candidate 0.1", "learned", 0.4)
    verdict = judged(outcome(row("cross_entropy", "task", 0.2005), row("focal", "handcrafted", 0.2), found), "m")
    assert verdict.kind == "tie"
    assert "cross_entropy at 0.1" in verdict.message


def test_where_nothing_gets_anywhere():
    rows = [row(name, kind, 0.9) for name, kind in (("cross_entropy", "task"), ("candidate 0.1", "learned"))]
    verdict = judged(outcome(*rows, chance=0.85), "error_rate")
    assert (verdict.kind, verdict.name) == ("nothing learns", "cross_entropy")
    assert verdict.message.startswith("nothing learns here: after 1000 steps no loss at any rate is better than")
    assert "error_rate 0.85" in verdict.message
    failed = tuple(StandingsRow(one.entrant, None, 0, None, (), one.lrs) for one in rows)
    assert judged(FinalsOutcome(failed, (), PLAN, 10), "m").kind == "nothing learns"


def test_without_a_retest_nothing_is_claimed():
    rows = tuple(StandingsRow(one.entrant, None, 0, None, (), ()) for one in (OTHER, HABIT))
    verdict = judged(FinalsOutcome(rows, (), PLAN, 0), "error_rate")
    assert (verdict.kind, verdict.name, verdict.against) == ("not tested", "focal", ())
    assert verdict.message.startswith("not tested: a budget of 150000 base steps is too small for finals with 1000")


def test_a_failed_training_in_the_retest_is_told():
    bad = StandingsRow(Entrant("candidate 0.1", "learned", 0.1), 0.1, 5, 0.1, (0.1, float("inf"), 0.1), (0.1,))
    good = [StandingsRow(one.entrant, 0.1, 5, 0.2, one.retest[:3], (0.1,)) for one in (HABIT, OTHER)]
    verdict = judged(outcome(*good, bad), "m")
    assert verdict.name == "focal"
    assert verdict.best("learned").value is None
    assert "failed with the learned loss" in verdict.message
    json.dumps(verdict.entries(), allow_nan=False)


def test_intervals_widen_with_the_number_of_comparisons():
    found = row("candidate 0.1", "learned", 0.29, noise=0.01)

    def width(others):
        rows = [row(f"loss {n}", "handcrafted", 0.4 + n / 100) for n in range(others)]
        against = judged(outcome(HABIT, found, *rows), "m").best("task")
        return against.high - against.low

    assert width(5) > 1.2 * width(0)


def test_a_verdict_is_read_as_it_was_written():
    verdict = judged(outcome(HABIT, OTHER, row("candidate 3.7", "learned", 0.2)), "error_rate", {"focal": "focal"})
    again = Verdict.of(json.loads(json.dumps(verdict.entries())))
    assert again == verdict
    assert verdict.places[1].formula == "focal"
    for odd in (None, [], {}, {**verdict.entries(), "kind": "perhaps"}, {"message": "x"}):
        assert Verdict.of(odd) is None


def test_a_rate_at_the_edge_is_noted():
    verdict = judged(outcome(HABIT, OTHER, row("candidate 3.7", "learned", 0.2, lr=0.4)), "m")
    assert any("edge" in note for note in verdict.notes)
