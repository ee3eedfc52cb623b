"""What an interrupted call has tuned already; the base keeps nothing, the store keeps it in checkpoints."""

from collections.abc import Sequence

from evomal.config.fields import CountOrZero, NotNegative, Settings
from evomal.evaluation.candidate import Candidate
from evomal.local_search import Tuned
from evomal.losses import LearnedLoss


class TunedState(Settings):
    """The local search of one candidate whose evaluation is not finished."""

    index: CountOrZero
    weights: tuple[float, ...]
    scale: float
    steps: CountOrZero
    seconds: NotNegative
    reason: str | None
    note: str | None

    def outcome(self) -> Tuned:
        """How the tuning ended."""
        return Tuned(self.steps, self.reason, self.seconds, self.note)


class TuningMemory:
    """Remembers the local search of candidates whose evaluation is not finished; this one remembers nothing.

    Example:
        >>> TuningMemory().tuned(None) is None
        True
    """

    def tuned(self, candidate: Candidate) -> TunedState | None:
        """What an earlier call found out about a candidate by tuning; None if it did not get so far."""
        return None

    def keep(self, tuned: Sequence[tuple[Candidate, LearnedLoss, Tuned]]) -> None:
        """Members of the generation in progress are tuned."""
