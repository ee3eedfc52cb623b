"""Whether a difference over seeds is more than chance: the paired t test, and Holm's correction for several of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from evomal.foundation.errors import DataError

CONFIDENCE = 0.95
# Relative to the largest value. Metrics come in float32, so differences that agree to this are the same difference:
# a t statistic of their rounding errors would call any such gain certain.
PRECISION = 1e-6


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A contender against the baseline, seed by seed.

    Args:
        gain: Mean over seeds of baseline - contender; positive is better, as every metric is minimised.
        low: Lower end of the 95 % confidence interval of the gain; None where `p` is.
        high: Its upper end.
        effect: Cohen's d_z, the gain in standard deviations of the differences; None where `p` is.
        p: Of the paired t test, two-sided; None if the gain is the same at every seed and not 0, for then the
            statistic is not defined.
        p_holm: `p` corrected for the number of contenders, those without a test among them; None until that is done,
            and where `p` is None.
        seeds: How many pairs there are.
    """

    gain: float
    low: float | None
    high: float | None
    effect: float | None
    p: float | None
    p_holm: float | None
    seeds: int


def paired_test(baseline: Sequence[float], contender: Sequence[float]) -> PairedTest | None:
    r"""Two-sided paired t test of the hypothesis that baseline and contender are equally good.

    With differences :math:`d_i = b_i - c_i`, mean :math:`\bar d` and standard deviation :math:`s` (n - 1):
    :math:`t = \sqrt n\,\bar d / s` on n - 1 degrees of freedom, and :math:`d_z = \bar d / s`. Where all differences
    are the same, `s` is 0: a gain of 0 gets p = 1, any other gain is reported without p, interval and effect.

    Args:
        baseline: The baseline's metric, one value a seed.
        contender: The contender's, in the same order of seeds.

    Returns:
        The test, without Holm's correction; None for fewer than two pairs, or where a value is not finite.

    Raises:
        DataError: There are more values on one side than on the other.

    Example:
        >>> test = paired_test([0.30, 0.28, 0.33], [0.21, 0.20, 0.22])
        >>> f"{test.gain:.4f} [{test.low:.4f}, {test.high:.4f}], d {test.effect:.2f}, p {test.p:.4f}"
        '0.0933 [0.0554, 0.1313], d 6.11, p 0.0088'

    Source: Student, "The probable error of a mean", Biometrika 6, 1908; d_z as in J. Cohen, "Statistical power
    analysis for the behavioral sciences", 1988.
    """
    count = len(baseline)
    if count != len(contender):
        raise DataError(f"a paired test needs one value a seed on each side; got {count} and {len(contender)}")
    differences = [one - other for one, other in zip(baseline, contender, strict=True)]
    if count < 2 or not all(map(math.isfinite, differences)):
        return None
    gain = math.fsum(differences) / count
    grain = PRECISION * max(map(abs, (*baseline, *contender)))
    if max(differences) - min(differences) <= grain:
        if abs(gain) <= grain:
            return PairedTest(gain, gain, gain, 0.0, 1.0, None, count)
        return PairedTest(gain, None, None, None, None, None, count)

    from scipy.stats import ttest_rel

    result = ttest_rel(baseline, contender)
    interval = result.confidence_interval(CONFIDENCE)
    # t = √n d_z
    effect = float(result.statistic) / math.sqrt(count)
    return PairedTest(gain, float(interval.low), float(interval.high), effect, float(result.pvalue), None, count)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    r"""Holm's step-down correction: each p as it must be read when several hypotheses are tested at once.

    With m hypotheses, their values sorted as :math:`p_{(1)} \le \dots \le p_{(m)}`, the i-th becomes
    :math:`\max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})`. The chance of one or more false finds stays below the level
    at which the corrected values are read, whatever the dependence between the tests.

    Args:
        p_values: Of each test; None stands for a test that could not be made. It counts as p = 1: the family is all
            that was to be tested, whatever failed.

    Returns:
        The corrected values, in the order given; None stays None.

    Example:
        >>> holm([0.04, None, 0.01])
        [0.08, None, 0.03]

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    """
    corrected: list[float | None] = [None] * len(p_values)
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    reached = 0.0
    for rank, (p, place) in enumerate(known):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p))
        corrected[place] = reached
    return corrected


def resampled_test(
    baseline: Sequence[float], contender: Sequence[float], overlap: float, compared: int = 1
) -> PairedTest | None:
    r"""Paired t test over splits of one data set, whose training parts overlap (Nadeau and Bengio).

    Differences :math:`d_i = b_i - c_i` over J splits are not independent: the same instances train many of the
    networks. With :math:`\rho` = instances tested on / instances trained on, the variance of the mean is taken as
    :math:`s^2\,(1/J + \rho)` instead of :math:`s^2 / J`: :math:`t = \bar d / (s\sqrt{1/J + \rho})` on J - 1 degrees of
    freedom. The interval is at 1 - 0.05 / `compared`, so that all of so many hold at once with 95 %.

    Args:
        baseline: The baseline's metric, one value a split.
        contender: The contender's, in the same order of splits.
        overlap: ρ: 1 / (K - 1) for K folds; 0 where the splits are the same and only initialisations differ.
        compared: How many such comparisons are read together.

    Returns:
        The test, as from `paired_test` but for the wider interval; None for fewer than two pairs, or where a value is
        not finite.

    Raises:
        DataError: There are more values on one side than on the other.

    Example:
        >>> values = [0.30, 0.28, 0.33, 0.31, 0.29], [0.21, 0.20, 0.22, 0.24, 0.25]
        >>> [f"{resampled_test(*values, overlap).p:.4f}" for overlap in (0.0, 0.25)]
        ['0.0025', '0.0109']

    Source: C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
    """
    plain = paired_test(baseline, contender)
    if plain is None or plain.effect is None or plain.low == plain.high:  # without a spread nothing is to be corrected
        return plain

    from scipy.stats import t as student

    differences = [one - other for one, other in zip(baseline, contender, strict=True)]
    error = stdev(differences) * math.sqrt(1 / plain.seeds + overlap)
    freedom = plain.seeds - 1
    p = 2 * float(student.sf(abs(plain.gain) / error, freedom))
    reach = error * float(student.isf((1 - CONFIDENCE) / compared / 2, freedom))
    return PairedTest(plain.gain, plain.gain - reach, plain.gain + reach, plain.effect, p, None, plain.seeds)


def behind(rows: Sequence[Sequence[float]], level: float) -> list[int]:
    r"""Who is significantly worse than the leader of a race: the test of a two-way table without interaction.

    Rows are entrants, columns folds; the leader has the lowest mean. With the residual mean square :math:`s^2` of the
    table on :math:`\nu = (E-1)(F-1)` degrees of freedom, an entrant is behind where
    :math:`(\bar x_e - \bar x_{\text{leader}}) / \sqrt{2s^2/F}` exceeds Student's one-sided quantile at `level`
    (Fisher's least significant difference). Folds are blocks: that one is harder than another does not count. All
    entrants share one variance, so that two folds can tell something.

    Args:
        rows: The metric, [E][F], finite; the lower the better.
        level: The level of each single test; nothing is corrected, as who stays by mistake only costs time.

    Returns:
        The numbers of the rows that are behind; none with fewer than two rows or columns.

    Example:
        >>> behind([[0.10, 0.20, 0.15], [0.11, 0.19, 0.16], [0.30, 0.41, 0.33]], 0.05)
        [2]

    Source: R. A. Fisher, "The design of experiments", 1935; the race as in M. López-Ibáñez et al., "The irace package",
    2016.
    """
    entrants, folds = len(rows), len(rows[0]) if rows else 0
    if entrants < 2 or folds < 2:
        return []
    means = [math.fsum(row) / folds for row in rows]
    columns = [math.fsum(row[fold] for row in rows) / entrants for fold in range(folds)]
    grand = math.fsum(means) / entrants
    residuals = (
        (row[fold] - mean - columns[fold] + grand) ** 2
        for row, mean in zip(rows, means, strict=True)
        for fold in range(folds)
    )
    freedom = (entrants - 1) * (folds - 1)
    leader = min(means)
    grain = PRECISION * max(abs(value) for row in rows for value in row)
    error = max(math.sqrt(2 * math.fsum(residuals) / freedom / folds), grain)

    from scipy.stats import t as student

    reach = error * float(student.isf(level, freedom))
    return [number for number, mean in enumerate(means) if mean - leader > reach]


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's ρ, ties at their mean rank; None for fewer than three pairs, or where one side is constant.

    Example:
        >>> f"{rank_correlation([1, 2, 3, 4], [10, 20, 40, 30]):.1f}"
        '0.8'
    """
    if len(one) < 3 or len(set(one)) < 2 or len(set(other)) < 2:
        return None

    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)
