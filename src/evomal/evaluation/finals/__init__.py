"""Finals: the best candidates that differ and the handcrafted losses meet again, where it counts.

The arithmetic (screening, race, re-test) knows names, rates and numbers; `splits` and `training` know data and
networks.
"""

from evomal.evaluation.finals.holding import hold_finals
from evomal.evaluation.finals.ledger import Trial
from evomal.evaluation.finals.plan import Entrant, FinalsPlan
from evomal.evaluation.finals.standings import FinalsOutcome, StandingsRow

__all__ = ["Entrant", "FinalsOutcome", "FinalsPlan", "StandingsRow", "Trial", "hold_finals"]
