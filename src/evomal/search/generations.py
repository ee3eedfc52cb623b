"""The outer loop by generations (Figure 1): ask the engine, evaluate, tell it, until the last one."""

from evomal.config import LearnSettings
from evomal.engines.engine import Engine
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.evaluator import Evaluator
from evomal.foundation.errors import SettingError
from evomal.search.result import LearnResult
from evomal.search.search_log import SearchLog
from evomal.store.resuming import PreviousRun


def search_generations(
    engine: Engine, evaluator: Evaluator, settings: LearnSettings, log: SearchLog, past: PreviousRun, first: int
) -> LearnResult:
    """The search, from where an earlier call left it.

    Args:
        engine: Proposes candidates, and is told how they did.
        evaluator: Judges them.
        settings: All settings of the search.
        log: Where the search stands.
        past: What an earlier call finished.
        first: The generation to begin with.

    Raises:
        SettingError: The engine proposes another number of candidates than settings say.
    """

    def search() -> None:
        for generation in range(first, settings.generations):
            members = [
                past.known(Candidate(generation, index, proposed.genome, proposed.origin, proposed.parents))
                for index, proposed in enumerate(engine.ask())
            ]
            if len(members) != settings.population:
                raise SettingError(
                    f"the engine of method '{settings.method}' proposes {len(members)} candidates in generation "
                    f"{generation}, where settings say {settings.population}; let it propose `population_size`"
                )
            log.begin(generation, members, engine)
            evaluator.evaluate(members, log.add)
            engine.tell([member.told for member in members])
            log.generation(generation)

    return log.concluded(search)
