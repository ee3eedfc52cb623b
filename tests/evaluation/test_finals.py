"""Finals on numbers alone: who is asked to train what, who leaves, and what it costs."""

import math
import random
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evomal.evaluation.finals import Entrant, FinalsPlan, Trial, hold_finals
from evomal.evaluation.finals.ledger import Ledger
from evomal.evaluation.finals.plan import least_budget
from evomal.evaluation.finals.race import planned_sizes
from evomal.evaluation.finals.screening import admitted, screen, screening_steps

INF = float("inf")
quick = settings(deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
GRID = (0.025, 0.1, 0.4)


def plan(budget=150_000, steps=1000, folds=5, repeats=1, retests=3, looks=1):
    return FinalsPlan(steps, GRID, folds, repeats, retests, budget, 0.25, looks)


def field(learned=4, handcrafted=3):
    found = [Entrant(f"found {n}", "learned", 0.1 * n) for n in range(learned)]
    return [Entrant("habit", "task"), *(Entrant(f"other {n}", "handcrafted") for n in range(handcrafted)), *found]


class Bench:
    """Metrics from true values, best rates and noise; keeps what it was asked for."""

    def __init__(self, true, best=None, noise=0.003, slope=0.02, chance=0.9):
        self.true, self.best = true, best or {}
        self.noise, self.slope, self.chance = noise, slope, chance
        self.asked = []

    def __call__(self, trials):
        self.asked.append(list(trials))
        return [self.value(trial) for trial in trials]

    def value(self, trial):
        if trial.steps == 0:
            return self.chance
        rng = random.Random(repr(trial))
        shared = random.Random(trial.split).gauss(0, 0.01)  # some folds are harder, for everybody
        off = abs(math.log2(trial.lr / self.best.get(trial.entrant, 0.1)))
        return (
            self.true[trial.entrant] + self.slope * off + shared + rng.gauss(0, self.noise) + 20 / (trial.steps + 100)
        )

    @property
    def all(self):
        return [trial for batch in self.asked for trial in batch]


def test_the_best_is_found_at_its_own_rate_even_beyond_the_grid():
    true = {0: 0.3, 1: 0.28, 2: 0.29, 3: 0.31, 4: 0.25, 5: 0.2, 6: 0.33, 7: 0.4}
    bench = Bench(true, best={5: 6.4, 1: 0.0015625})
    outcome = hold_finals(field(), plan(), bench)
    first = outcome.rows[0]
    assert (first.entrant.name, first.lr) == ("found 1", pytest.approx(6.4))
    assert not first.at_an_edge or len(first.lrs) == len(GRID) + 3
    by_name = {row.entrant.name: row for row in outcome.rows}
    assert by_name["other 0"].lr == pytest.approx(0.0015625)
    assert all(len(row.retest) >= 10 for row in outcome.retested)
    assert {row.entrant.name for row in outcome.retested} >= {"habit", "other 0", "found 1"}


def test_the_retest_is_on_splits_that_the_race_never_saw():
    bench = Bench({n: 0.3 + 0.01 * n for n in range(8)})
    outcome = hold_finals(field(), plan(), bench)
    race = {trial.split for trial in bench.all if trial.split < 5}
    again = {trial.split for trial in bench.all if trial.split >= 5}
    assert race == set(range(5))
    assert len(again) == len(outcome.rows[0].retest)
    assert len(outcome.chance) == len(again)
    # Everybody who is tested again is on the same splits, at one rate.
    for row in outcome.retested:
        number = field().index(row.entrant)
        mine = {(t.split, t.lr) for t in bench.all if t.split >= 5 and t.entrant == number and t.steps}
        assert mine == {(split, row.lr) for split in again}


def test_only_the_retest_decides():
    """The winner of the race is no winner if fresh splits say otherwise."""

    class Lucky(Bench):
        def value(self, trial):
            luck = -0.2 if trial.entrant == 4 and trial.split < 5 else 0.0
            return super().value(trial) + luck

    true = {n: 0.3 + 0.01 * n for n in range(8)}
    outcome = hold_finals(field(), plan(), Lucky(true))
    lucky = next(row for row in outcome.rows if row.entrant.name == "found 0")
    assert lucky.race == min(row.race for row in outcome.rows if row.folds == 5)
    assert outcome.rows[0].entrant.name == "habit"
    assert [row.mean for row in outcome.retested] == sorted(row.mean for row in outcome.retested)


def test_of_equal_means_the_habit_is_handed_out_whatever_rounding_says():
    """The same numbers in another order have the same mean, though not the same running sum."""
    values = (0.1, 0.2, 0.3, 0.1, 0.1)

    def measure(trials):
        mine = {0: values, 1: (0.5,) * 5, 2: values[::-1]}
        return [mine[t.entrant][t.split % 5] + (0.0 if t.lr == 0.1 else 0.3) if t.steps else 0.9 for t in trials]

    entrants = [Entrant("habit", "task"), Entrant("other", "handcrafted"), Entrant("found", "learned", 0.1)]
    outcome = hold_finals(entrants, plan(retests=1), measure)
    first, second = outcome.rows[:2]
    assert first.mean == second.mean
    assert sum(first.retest) / 5 > sum(second.retest) / 5
    assert first.entrant.name == "habit"


def test_whoever_is_far_behind_leaves_and_costs_nothing_more():
    true = dict.fromkeys(range(8), 0.2) | {2: 0.8, 7: 0.8}
    bench = Bench(true)
    outcome = hold_finals(field(), plan(), bench)
    assert {row.entrant.name for row in outcome.rows[-2:]} == {"other 1", "found 3"}
    assert all(row.folds <= 2 and not row.retest for row in outcome.rows[-2:])
    assert max(t.split for t in bench.all if t.entrant in (2, 7)) <= 1


def test_the_task_loss_and_the_best_of_either_side_stay_however_bad_they_are():
    true = {0: 0.8, 1: 0.7, 2: 0.75, 3: 0.78, 4: 0.2, 5: 0.21, 6: 0.22, 7: 0.23}
    names = {row.entrant.name for row in hold_finals(field(), plan(), Bench(true)).retested}
    assert {"habit", "other 0", "found 0"} <= names


def test_what_fails_leaves_and_what_fails_in_the_retest_comes_last():
    class Failing(Bench):
        def value(self, trial):
            if (
                trial.entrant == 5
                or (trial.entrant == 4 and trial.split == 7)
                or (trial.entrant == 6 and trial.lr > 0.2)
            ):
                return INF
            return super().value(trial)

    outcome = hold_finals(field(), plan(), Failing(dict.fromkeys(range(8), 0.3) | {4: 0.1, 6: 0.25}, noise=0.0005))
    by_name = {row.entrant.name: row for row in outcome.rows}
    assert by_name["found 1"].lr is None
    assert by_name["found 1"].race is None
    assert outcome.rows[-1].entrant.name == "found 1"
    assert outcome.retested[-1].entrant.name == "found 0"
    assert outcome.retested[-1].mean == INF
    assert outcome.rows[0].entrant.name == "found 2"


def test_nobody_trains_twice_for_the_same_thing():
    bench = Bench(dict.fromkeys(range(8), 0.3))
    hold_finals(field(), plan(), bench)
    assert len(bench.all) == len(set(bench.all))


@pytest.mark.parametrize("budget", [3_000, 20_000, 40_000, 90_000, 150_000, 1_000_000])
def test_the_budget_is_kept(budget):
    bench = Bench({n: 0.3 + 0.001 * n for n in range(20)})
    outcome = hold_finals(field(learned=12, handcrafted=7), plan(budget), bench)
    assert outcome.spent == sum(trial.steps for trial in bench.all)
    assert outcome.spent <= budget
    if budget >= least_budget(plan(), 20):
        assert len(outcome.retested) >= 3
        assert len(outcome.retested[0].retest) >= 3


def test_with_too_little_nothing_is_claimed():
    outcome = hold_finals(field(), plan(9_000), Bench(dict.fromkeys(range(8), 0.3)))
    assert outcome.retested == ()
    assert outcome.chance == ()


def test_finals_are_a_function_of_the_metrics():
    """Interrupted anywhere, they go on by what was measured before and ask for the rest."""
    true = {n: 0.3 + 0.002 * n for n in range(8)}
    bench = Bench(true)
    whole = hold_finals(field(), plan(), bench)
    known = {}

    def until(limit):
        def measure(trials):
            for trial in trials:
                if trial not in known:
                    if len(known) >= limit:
                        raise KeyboardInterrupt
                    known[trial] = bench.value(trial)
            return [known[trial] for trial in trials]

        return measure

    for limit in range(0, len(bench.all), 17):
        with pytest.raises(KeyboardInterrupt):
            hold_finals(field(), plan(), until(limit))
    assert hold_finals(field(), plan(), until(10**9)) == whole
    assert len(known) == len(bench.all)


def test_fewer_candidates_enter_where_many_would_eat_the_budget():
    many = field(learned=40, handcrafted=3)
    assert len(admitted(many, plan(10**7))) == 44
    few = admitted(many, plan(20_000))
    assert few == list(range(len(few)))
    assert 8 <= len(few) < 44
    assert len(admitted(many, plan(1))) == 8


@quick
@given(count=st.integers(3, 40), folds=st.integers(2, 10), trainings=st.integers(0, 400))
def test_planned_sizes_cost_no_more_than_they_may(count, folds, trainings):
    sizes = planned_sizes(count, folds, trainings)
    assert sizes == sorted(sizes, reverse=True)
    second = math.ceil(sizes[1] / 2) if sizes else 0  # the better half at two rates
    assert sum(sizes) + sum(sizes[:1]) + second <= trainings
    assert all(3 <= size <= count for size in sizes)
    assert (len(sizes) >= 2) == (trainings >= 11)


@quick
@given(st.integers(1, 100), st.integers(1, 10**6))
def test_a_screening_is_no_longer_than_a_quarter(entrants, budget):
    steps = screening_steps(plan(budget), entrants)
    assert 50 <= steps <= 250


def test_rates_that_lose_are_gone_before_folds_are_spent_on_them():
    bench = Bench(dict.fromkeys(range(8), 0.3), best=dict.fromkeys(range(8), 0.1), slope=0.05)
    hold_finals(field(), plan(), bench)
    for number in range(8):
        full = {
            fold: {t.lr for t in bench.all if t.entrant == number and t.split == fold and t.steps == 1000}
            for fold in range(5)
        }
        assert len(full[0]) <= 2
        assert all(len(rates) <= 1 for fold, rates in full.items() if fold >= 2)
    ledger = Ledger(plan(), Bench({0: 0.3}, best={0: 0.1}))
    (runner,) = screen([0], ledger)
    assert runner.lrs[0] == 0.1


@settings(quick, max_examples=20)
@given(st.integers(0, 10**6))
def test_whatever_the_numbers_the_order_is_that_of_the_retest(seed):
    rng = random.Random(seed)

    def measure(trials):
        return [rng.choice([rng.random(), rng.random(), INF, float("nan")]) if t.steps else 0.5 for t in trials]

    outcome = hold_finals(field(), plan(), measure)
    assert [row.entrant for row in sorted(outcome.rows, key=lambda row: row.entrant.name)] == sorted(
        field(), key=lambda entrant: entrant.name
    )
    assert [row.mean for row in outcome.retested] == sorted(row.mean for row in outcome.retested)


def test_rank_correlation_of_fitness_and_places():
    true = {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.5, 4: 0.2, 5: 0.22, 6: 0.24, 7: 0.26}
    assert hold_finals(field(), plan(), Bench(true, noise=0.0005)).rank_correlation == pytest.approx(1.0)
    backwards = {**true, 4: 0.26, 5: 0.24, 6: 0.22, 7: 0.2}
    assert hold_finals(field(), plan(), Bench(backwards, noise=0.0005)).rank_correlation == pytest.approx(-1.0)


def test_trials_have_an_order_of_their_own():
    assert sorted([Trial(1, 0.1, 0, 5), Trial(0, 0.2, 3, 5)])[0].entrant == 0
    assert fmean([1.0, 3.0]) == 2.0


@pytest.mark.parametrize("budget", [24_000, 60_000, 150_000])
def test_where_instances_are_few_the_screening_looks_at_several_splits(budget):
    many = field(learned=12, handcrafted=7)
    bench = Bench({n: 0.3 + 0.001 * n for n in range(20)}, noise=0.02)
    outcome = hold_finals(many, plan(budget, looks=3), bench)
    assert outcome.spent <= budget
    short = [trial for trial in bench.all if 0 < trial.steps < 1000]
    if outcome.spent:
        assert len(outcome.retested) >= (3 if budget > 50_000 else 2)
        assert {trial.split for trial in short} == {0, 1, 2}
        # On further splits at one rate alone.
        for number in range(20):
            rates = [trial.lr for trial in short if trial.entrant == number and trial.split]
            assert len(rates) in (0, 2)  # with a small budget some stay at home
            assert len(set(rates)) <= 1


def test_a_lucky_split_does_not_end_the_screening_wrongly():
    class Lucky(Bench):
        def value(self, trial):
            luck = -0.05 if trial.entrant == 19 and trial.split == 0 else 0.0
            return super().value(trial) + luck

    true = dict.fromkeys(range(20), 0.3) | {19: 0.33}
    folds = {}
    for looks in (1, 3):
        rows = hold_finals(field(learned=16), plan(60_000, looks=looks), Lucky(true, noise=0.0001)).rows
        folds[looks] = next(row.folds for row in rows if row.entrant.name == "found 15")
    assert folds[1] > folds[3] == 0


class Surely(Bench):
    """Notes what was told to be sure to follow from each metric that it gave."""

    def __init__(self, *arguments, broken=(), **options):
        super().__init__(*arguments, **options)
        self.told, self.broken = [], set(broken)

    def ahead(self, follow):
        self.follow = follow

    def __call__(self, trials):
        values = super().__call__(trials)
        for trial, value in zip(trials, values, strict=True):
            while following := self.follow(trial, value):
                (trial,) = following
                value = self.value(trial)
                self.told.append(trial)
        return values

    def value(self, trial):
        return INF if (trial.entrant, trial.split) in self.broken else super().value(trial)


@quick
@given(
    learned=st.integers(1, 6),
    handcrafted=st.integers(0, 6),
    budget=st.integers(25_000, 250_000),
    seed=st.integers(0, 1000),
    breaks=st.booleans(),
)
def test_what_is_told_to_follow_is_asked_for_and_changes_nothing(learned, handcrafted, budget, seed, breaks):
    rng = random.Random(seed)
    entrants = field(learned, handcrafted)
    true = {number: rng.uniform(0.2, 0.4) for number in range(len(entrants))}
    broken = [(rng.randrange(len(entrants)), rng.randrange(1, 5)) for _ in range(3 * breaks)]
    bench, plain = Surely(true, broken=broken), Surely(true, broken=broken)
    outcome = hold_finals(entrants, plan(budget), bench, bench.ahead)
    plain.ahead(lambda trial, value: ())
    assert outcome == hold_finals(entrants, plan(budget), plain)
    assert bench.asked == plain.asked
    assert set(bench.told) <= set(bench.all)


def test_the_last_folds_of_a_race_need_not_wait_for_one_another():
    bench = Surely({0: 0.3, 1: 0.25, 2: 0.2}, noise=0.0)
    hold_finals(field(1, 1), plan(150_000), bench, bench.ahead)
    race = [trial for trial in bench.all if trial.steps == 1000 and 2 < trial.split < 5]
    assert len(race) == 6
    assert set(race) <= set(bench.told)


def varied(parents=("other 0", "other 1"), each=3):
    """The usual field, and so many variants of some handcrafted losses at its end."""
    variants = [Entrant(f"{name} ({n})", "handcrafted", variant_of=name) for name in parents for n in range(each)]
    return [*field(), *variants]


def held(true, budget=150_000, looks=1, losses=2, entrants=None):
    those = varied() if entrants is None else entrants
    bench = Bench(dict.fromkeys(range(len(those)), 0.3) | true, noise=0.001)
    return those, bench, hold_finals(those, replace(plan(budget, looks=looks), varied=losses), bench)


def test_hyper_parameters_of_a_good_loss_are_chosen_by_the_same_finals():
    those, bench, outcome = held({1: 0.25, 2: 0.35, 9: 0.2})
    assert outcome.rows[0].entrant.name == "other 0 (1)"
    assert outcome.rows[0].lr == pytest.approx(0.1)
    # Of a loss and its variants the best goes on.
    full = {trial.entrant for trial in bench.all if trial.steps == 1000}
    assert full & {number for number, entrant in enumerate(those) if entrant.group == "other 0"} == {9}


def test_a_task_loss_stays_though_a_variant_of_it_is_better():
    variants = [Entrant(f"habit ({n})", "handcrafted", variant_of="habit") for n in range(2)]
    _, _, outcome = held({0: 0.25, 8: 0.2}, entrants=[*field(), *variants])
    assert [row.entrant.name for row in outcome.retested][:2] == ["habit (0)", "habit"]


def test_variants_are_paid_for_apart():
    """What they cost is no loss to the others: with a tenth more these are screened as without, and race no less."""
    short, full = {}, {}
    for losses, budget in ((0, 60_000), (2, 66_000)):
        _, bench, outcome = held({1: 0.25}, budget, losses=losses)
        assert outcome.spent <= budget
        short[losses] = [trial for trial in bench.all if trial.steps < 1000 and trial.entrant < 8]
        full[losses] = sum(trial.steps == 1000 for trial in bench.all)
    assert short[0] == short[2]
    assert full[0] <= full[2]


def test_variants_are_tried_at_the_rates_of_their_loss_and_one_beyond():
    those, bench, _ = held({1: 0.1}, losses=1)
    mine = {trial.entrant for trial in bench.all if those[trial.entrant].variant_of}
    assert mine == {8, 9, 10}
    rates = {trial.lr for trial in bench.all if trial.entrant == 1 and trial.steps < 1000}
    for number in mine:
        own = [trial.lr for trial in bench.all if trial.entrant == number and 0 < trial.steps < 1000]
        assert len(own) <= 3
        assert len(rates & set(own)) >= 2


@quick
@given(losses=st.integers(0, 3), looks=st.sampled_from([1, 3]), budget=st.integers(20_000, 250_000))
def test_variants_of_losses_that_are_not_among_the_best_cost_nothing(losses, looks, budget):
    those, bench, outcome = held({1: 0.2, 2: 0.25}, budget, looks, losses)
    assert outcome.spent <= budget
    tried = {trial.entrant for trial in bench.all if trial.steps}
    assert len({those[number].variant_of for number in tried} - {None}) <= losses
    assert {row.entrant.name for row in outcome.rows} == {those[n].name for n in {*range(8), *tried}}
    if not losses:
        plain = Bench(bench.true, noise=0.001)
        assert hold_finals(field(), plan(budget, looks=looks), plain).spent == outcome.spent
        assert plain.asked == bench.asked


def test_a_loss_whose_trainings_fail_has_no_variants():
    those, bench, outcome = held({1: INF, 2: 0.2})
    assert {those[trial.entrant].variant_of for trial in bench.all} == {None, "other 1"}
    assert [row.entrant.name for row in outcome.rows if row.race is None] == ["other 0"]
    assert outcome.rows[-1].entrant.name == "other 0"


def test_a_lucky_specialist_does_not_leave_the_learned_losses_without_a_rival():
    """It leads after the first fold and falls back; the next best of its kind is still there, and is tested again."""

    class Lucky(Bench):
        def value(self, trial):
            luck = -0.15 if trial.entrant == 1 and trial.split == 0 else 0.0
            return super().value(trial) + luck

    true = dict.fromkeys(range(4, 20), 0.2) | {0: 0.3, 1: 0.35, 2: 0.21, 3: 0.4}
    outcome = hold_finals(field(learned=16), plan(120_000), Lucky(true, noise=0.0005))
    assert {"habit", "other 1"} <= {row.entrant.name for row in outcome.retested}
