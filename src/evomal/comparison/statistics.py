"""Whether a difference over seeds is more than chance: the paired t test, and Holm's correction for several of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
