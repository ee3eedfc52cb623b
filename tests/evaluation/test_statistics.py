import math
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evomal.evaluation.statistics import PairedTest, behind, holm, paired_test, rank_correlation, resampled_test
from evomal.foundation.errors import DataError

quick = settings(deadline=None, derandomize=True, max_examples=100)
probabilities = st.floats(0, 1)
families = st.lists(probabilities | st.none(), max_size=6)
# Two decimals, so that equal differences do occur.
values = st.integers(0, 99).map(lambda number: number / 100)
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=8)


def test_the_sleep_data_of_student():
    """Hours gained with two drugs; the numbers are those that R prints for its data set `sleep`, paired."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    test = paired_test(first, second)
    assert test.gain == pytest.approx(-1.58, abs=1e-12)
    assert (test.low, test.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)
    assert test.p == pytest.approx(0.002833, abs=5e-7)
    assert test.effect == pytest.approx(-4.0621 / math.sqrt(10), abs=2e-5)
    assert (test.p_holm, test.seeds) == (None, 10)


def _same_everywhere(sample):
    differences = [one - other for one, other in sample]
    return max(differences) - min(differences) < 1e-9


@quick
@given(pairs.filter(lambda sample: not _same_everywhere(sample)))
def test_it_is_the_one_sample_test_of_the_differences(sample):
    baseline, contender = map(list, zip(*sample, strict=True))
    differences = np.subtract(baseline, contender)
    test = paired_test(baseline, contender)
    oracle = stats.ttest_1samp(differences, 0)
    error = stats.sem(differences)
    low, high = stats.t.interval(0.95, len(sample) - 1, differences.mean(), error)
    assert test.gain == pytest.approx(differences.mean(), abs=1e-12)
    assert test.p == pytest.approx(oracle.pvalue, rel=1e-6)
    assert (test.low, test.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)
    assert test.effect == pytest.approx(differences.mean() / differences.std(ddof=1), rel=1e-6, abs=1e-9)
    if abs(test.p - 0.05) > 1e-6:
        assert (test.low <= 0 <= test.high) == (test.p > 0.05)


@quick
@given(pairs)
def test_changing_places_turns_the_gain_round(sample):
    baseline, contender = zip(*sample, strict=True)
    one, other = paired_test(baseline, contender), paired_test(contender, baseline)
    assert one.gain == pytest.approx(-other.gain, abs=1e-12)
    if one.p is None:
        assert other.p is None
    else:
        assert one.p == pytest.approx(other.p, rel=1e-9)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


def test_no_difference_at_all():
    assert paired_test([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) == PairedTest(0.0, 0.0, 0.0, 0.0, 1.0, None, 3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_same_difference_at_every_seed_is_no_certainty(dtype):
    """Rounding errors alone, 0.3 - 0.2 against 0.4 - 0.3, would make t enormous."""
    baseline = [float(dtype(value)) for value in (0.3, 0.4, 0.7)]
    contender = [float(dtype(value)) for value in (0.2, 0.3, 0.6)]
    differences = np.subtract(baseline, contender)
    assert 0 < differences.std() < 1e-6 * differences.mean()
    test = paired_test(baseline, contender)
    assert test.gain == pytest.approx(0.1, rel=1e-6)
    assert (test.low, test.high, test.effect, test.p, test.seeds) == (None, None, None, None, 3)


def test_one_instance_of_many_is_a_difference():
    test = paired_test([0.5, 0.5, 0.5], [0.5, 0.5, 0.5 - 1 / 60_000])
    assert test.p == pytest.approx(stats.ttest_1samp([0, 0, 1], 0).pvalue, rel=1e-6)


@pytest.mark.parametrize("worst", [math.nan, math.inf, -math.inf])
def test_no_test_where_a_training_diverged(worst):
    assert paired_test([0.1, 0.2, worst], [0.2, 0.2, 0.3]) is None
    assert paired_test([0.1, 0.2, 0.3], [worst, 0.2, 0.3]) is None
    assert paired_test([0.1, worst], [0.1, worst]) is None


def test_no_test_of_fewer_than_two_pairs():
    assert paired_test([], []) is None
    assert paired_test([0.1], [0.2]) is None


def test_pairs_must_be_pairs():
    with pytest.raises(DataError) as caught:
        paired_test([0.1, 0.2, 0.3], [0.1, 0.2])
    assert str(caught.value) == "a paired test needs one value a seed on each side; got 3 and 2"


def test_a_textbook_example_of_holm():
    """Four hypotheses at the level 0.05: the first and the last are rejected; the values are those of R's p.adjust."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)


def test_what_could_not_be_tested_counts_and_stays_none():
    assert holm([]) == []
    assert holm([None, None]) == [None, None]
    assert holm([None, 0.02, None]) == [None, 0.06, None]
    assert holm([0.02, None, 0.03]) == pytest.approx([0.06, None, 0.06])


def _closed_testing(p_values):
    """Holm's is Bonferroni's test of every set of hypotheses that a hypothesis is in: each of them must reject."""
    known = [1.0 if p is None else p for p in p_values]
    sets = [chosen for size in range(1, len(known) + 1) for chosen in combinations(range(len(known)), size)]
    verdicts = {chosen: min(1.0, len(chosen) * min(known[place] for place in chosen)) for chosen in sets}
    return [
        None if p is None else max(verdict for chosen, verdict in verdicts.items() if place in chosen)
        for place, p in enumerate(p_values)
    ]


@quick
@given(families)
def test_holm_is_closed_testing(p_values):
    assert holm(p_values) == _closed_testing(p_values)


@quick
@given(families)
def test_what_holm_keeps(p_values):
    corrected = holm(p_values)
    known = [(p, q) for p, q in zip(p_values, corrected, strict=True) if p is not None]
    assert [q is None for q in corrected] == [p is None for p in p_values]
    assert all(p <= q <= 1 for p, q in known)
    assert all(one[1] <= other[1] for one in known for other in known if one[0] <= other[0])
    if known:
        smallest = min(known)
        assert smallest[1] == min(1.0, len(p_values) * smallest[0])


@quick
@given(families, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(p_values, random):
    order = random.sample(range(len(p_values)), len(p_values))
    assert holm([p_values[place] for place in order]) == [holm(p_values)[place] for place in order]


def test_the_resampled_test_without_overlap_is_scipys():
    rng = random.Random(3)
    one, other = [rng.random() for _ in range(7)], [rng.random() for _ in range(7)]
    test, plain = resampled_test(one, other, 0.0), paired_test(one, other)
    assert (test.p, test.low, test.high) == pytest.approx((plain.p, plain.low, plain.high))


def test_the_resampled_test_is_nadeau_and_bengios():
    """Against their formula written out, with quantiles from SciPy."""
    one, other = [0.3, 0.32, 0.29, 0.35, 0.31, 0.3], [0.28, 0.27, 0.3, 0.29, 0.3, 0.25]
    d = np.array(one) - np.array(other)
    statistic = d.mean() / np.sqrt((1 / 6 + 0.25) * d.var(ddof=1))
    test = resampled_test(one, other, 0.25, compared=3)
    assert test.p == pytest.approx(2 * stats.t.sf(statistic, 5))
    reach = stats.t.isf(0.05 / 3 / 2, 5) * np.sqrt((1 / 6 + 0.25) * d.var(ddof=1))
    assert (test.low, test.high) == pytest.approx((d.mean() - reach, d.mean() + reach))


def test_the_resampled_test_claims_nothing_where_there_is_no_spread_or_no_number():
    assert resampled_test([0.3, 0.3], [0.3, 0.3], 0.25).p == 1.0
    assert resampled_test([0.3, 0.4], [0.2, 0.3], 0.25).p is None
    assert resampled_test([0.3, math.inf], [0.2, 0.3], 0.25) is None


def test_a_mean_of_nothing_with_a_spread_is_corrected_as_any_other():
    one = [0.3, 0.32, 0.29, 0.35]
    other = [0.32, 0.3, 0.35, 0.29]
    test, beside = (resampled_test(one, [each + off for each in other], 0.25, compared=3) for off in (0.0, 1e-9))
    assert paired_test(one, other).effect == 0
    assert (test.low, test.high, test.p) == pytest.approx((beside.low, beside.high, 1.0), abs=1e-6)


def test_under_the_null_overlapping_folds_mislead_the_plain_test_but_not_the_corrected_one():
    """Two learners alike but for chance, whose luck with a training set is shared by folds."""
    rng = np.random.default_rng(0)
    false = {0.0: 0, 0.25: 0}
    for _ in range(400):
        # Folds share most of their training data: a common part that more folds do not average out.
        d = 0.5 * rng.normal() + rng.normal(size=10)
        for overlap in false:
            false[overlap] += resampled_test(list(d), [0.0] * 10, overlap).p < 0.05
    assert false[0.25] < 0.07 * 400 < 0.2 * 400 < false[0.0]


def test_who_is_behind_is_fishers_least_significant_difference():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(6, 4)) * 0.02 + rng.normal(size=4) * 0.3 + np.linspace(0, 0.1, 6)[:, None]
    residual = rows - rows.mean(1, keepdims=True) - rows.mean(0) + rows.mean()
    error = np.sqrt(2 * (residual**2).sum() / 15 / 4)
    expected = [e for e in range(6) if (rows.mean(1)[e] - rows.mean(1).min()) / error > stats.t.isf(0.05, 15)]
    assert behind(rows.tolist(), 0.05) == expected != []
    # Folds are blocks: what they have in common does not count.
    assert behind((rows + rng.normal(size=4) * 9).tolist(), 0.05) == expected


@pytest.mark.parametrize("rows", [[], [[0.1, 0.2]], [[0.1], [0.9]], [[0.2, 0.2], [0.2, 0.2]]])
def test_nobody_is_behind_where_nothing_can_be_told(rows):
    assert behind(rows, 0.05) == []


def test_equal_on_all_folds_but_apart_is_behind():
    assert behind([[0.1, 0.2], [0.2, 0.3], [0.1, 0.2]], 0.05) == [1]


def test_rank_correlation():
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert rank_correlation([1, 2, 3, 3], [4, 3, 2, 1]) == pytest.approx(stats.spearmanr([1, 2, 3, 3], [4, 3, 2, 1])[0])
