"""The search over coefficients: CMA-ES by the `cma` package, as an engine that asks and tells."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evomal.config.methods import LEAST_FOR_CMA
from evomal.engines.engine import MOST_GENERATIONS, ODD, Proposal, damaged, fitness, listed
from evomal.engines.genome import GREATEST, Genome
from evomal.foundation.errors import EvomalError, SettingError
from evomal.foundation.seeds import derive
from evomal.foundation.serialization import finite_or_none

Vector = tuple[float, ...]
DRAWS = 1000  # of one member, until it is accepted


class CmaEngine:
    """Covariance matrix adaptation over real coefficients (D12).

    Args:
        start: Where the search begins.
        sigma: Initial standard deviation.
        population: Members of a generation, at least 3.
        seed_parts: What the random numbers are for; see `evomal.foundation.seeds.derive`.
        make: Coefficients → genome.
        accept: Whether coefficients are worth an evaluation; others are drawn anew.

    Raises:
        SettingError: The population is too small.

    Example:
        >>> from evomal.engines.genome import Polynomial
        >>> engine = CmaEngine([0.0] * 8, 1.2, 10, (0, "example"), Polynomial)
        >>> for _ in range(60):
        ...     engine.tell([sum((p - 1) ** 2 for p in sample.genome.parameters) for sample in engine.ask()])
        >>> round(engine.ask()[0].genome.parameters[3], 1)
        1.0

    Source:
        Hansen, "The CMA Evolution Strategy: A Tutorial", 2016; Gonzalez and Miikkulainen, "Optimizing Loss Functions
        Through Multi-Variate Taylor Polynomial Parameterization", 2021.
    """

    def __init__(
        self,
        start: Sequence[float],
        sigma: float,
        population: int,
        seed_parts: tuple[str | int, ...],
        make: Callable[[Vector], Genome],
        accept: Callable[[Vector], bool] = lambda coefficients: True,
    ) -> None:
        require_population(population)
        self._start, self._sigma, self._seed_parts = tuple(start), sigma, seed_parts
        self._population, self._make, self._accept = population, make, accept
        self._draws = np.random.default_rng(derive(*seed_parts, "cma"))
        self._strategy = self._begun()
        self._told: list[list[float | None]] = []
        self._asked: list[np.ndarray] | None = None

    def ask(self) -> list[Proposal]:
        """The next generation; the same one again until it is told."""
        if self._asked is None:
            self._asked = [self._drawn() for _ in range(self._population)]
        return [Proposal(self._make(_vector(x)), "cma") for x in self._asked]

    def tell(self, fitnesses: Sequence[float]) -> None:
        """Hand in the fitnesses of the generation that was asked for.

        Args:
            fitnesses: One number per member, in their order; whatever is not finite counts as the worst.

        Raises:
            EvomalError: No generation is waiting, or the number of fitnesses differs from its size.
        """
        if self._asked is None or len(fitnesses) != len(self._asked):
            waiting = 0 if self._asked is None else len(self._asked)
            raise EvomalError(f"tell() got {len(fitnesses)} fitnesses while {waiting} members wait; give one for each")
        finite = [value for value in fitnesses if math.isfinite(value)]
        # Only the order counts: one value above all others stands for the worst.
        greatest = max(finite, default=0.0)
        worst = max(greatest + 1.0, math.nextafter(greatest, math.inf))
        self._strategy.tell(self._asked, [value if math.isfinite(value) else worst for value in fitnesses])
        self._asked = None
        self._told.append([finite_or_none(float(value)) for value in fitnesses])

    def state_dict(self) -> dict[str, Any]:
        """All fitnesses told, from which the search can be gone through again, and where that must lead."""
        return {"told": [list(row) for row in self._told], "asked": self._asked is not None, **self._standing()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state written by `state_dict`: the search so far is gone through again, without evaluations.

        Args:
            state: The state, as it came back from JSON.

        Raises:
            EvomalError: The state is damaged, or these versions and this machine compute otherwise than those that
                it comes from; the engine is then as it was before.
        """
        again = CmaEngine(self._start, self._sigma, self._population, self._seed_parts, self._make, self._accept)
        try:
            again._go_through(state)
        except ODD as error:
            raise damaged("CMA-ES engine", error) from None
        if any(state.get(name) != value for name, value in again._standing().items()):
            raise EvomalError(
                "the state of the CMA-ES engine is damaged, or comes from another version of cma or numpy or another "
                "kind of CPU; start the search again"
            )
        self._strategy, self._draws = again._strategy, again._draws
        self._told, self._asked = again._told, again._asked

    def _go_through(self, state: Mapping[str, Any]) -> None:
        rows, asked = listed(state["told"]), state["asked"]
        if len(rows) > MOST_GENERATIONS or type(asked) is not bool:
            raise ValueError("its generations cannot be counted")
        told = [[fitness(value) for value in listed(row, self._population)] for row in rows]
        for fitnesses in told:
            self.ask()
            self.tell(fitnesses)
        if asked:
            self.ask()

    def _standing(self) -> dict[str, Any]:
        """Where the search stands, as far as it takes to know it again."""
        return {
            "draws": self._draws.bit_generator.state,
            "mean": [finite_or_none(value) for value in self._strategy.mean.tolist()],
            "sigma": finite_or_none(float(self._strategy.sigma)),
        }

    def _begun(self) -> Any:
        with warnings.catch_warnings():  # it says that it cannot plot
            warnings.simplefilter("ignore", UserWarning)
            from cma import CMAEvolutionStrategy

        draws = self._draws
        options = {
            "popsize": self._population,
            "verbose": -9,
            "seed": math.nan,  # no number of its own: the global generator stays as it is
            "randn": lambda *shape: draws.standard_normal(shape),
            "CMA_mirrors": 0,  # its default for a population below 6, which wants all members drawn at once
        }
        return CMAEvolutionStrategy(list(self._start), self._sigma, options)

    def _drawn(self) -> np.ndarray:
        """One member that is accepted, as pycma itself draws again what has no value; else the last one drawn."""
        for _ in range(DRAWS):
            x: np.ndarray = self._strategy.ask(1)[0]
            if self._accept(_vector(x)):
                break
        return x


def require_population(size: int) -> None:
    """Refuse generations that CMA-ES cannot learn from."""
    if size < LEAST_FOR_CMA:
        raise SettingError(
            f"setting 'population_size': CMA-ES needs {LEAST_FOR_CMA} members or more, not {size}; give more"
        )


def _vector(x: np.ndarray) -> Vector:
    # A search that runs away must not leave float32: its candidates fail, the search goes on.
    return tuple(float(value) for value in np.clip(x, -GREATEST, GREATEST))
