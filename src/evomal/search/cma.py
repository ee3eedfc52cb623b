"""The search over coefficients: CMA-ES by the `cma` package, as an engine that asks and tells."""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from evomal.config.settings import LEAST_FOR_CMA
from evomal.errors import EvomalError, SettingError
from evomal.search.engine import Proposal
from evomal.search.genome import Genome
from evomal.seeds import derive

Vector = tuple[float, ...]
GREATEST = 1e30  # coefficient
DRAWS = 1000  # of one member, until it is accepted


class CmaEngine:
    """Covariance matrix adaptation over real coefficients (D12).

    Args:
        start: Where the search begins.
        sigma: Initial standard deviation.
        population: Members of a generation, at least 3.
        seed_parts: What the random numbers are for; see `evomal.seeds.derive`.
        make: Coefficients → genome.
        accept: Whether coefficients are worth an evaluation; others are drawn anew.

    Raises:
        SettingError: The population is too small.

    Example:
        >>> from evomal.search.genome import Polynomial
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
        with warnings.catch_warnings():  # it says that it cannot plot
            warnings.simplefilter("ignore", UserWarning)
            from cma import CMAEvolutionStrategy

        draws = np.random.default_rng(derive(*seed_parts, "cma"))
        options = {
            "popsize": population,
            "verbose": -9,
            "seed": math.nan,  # no number of its own: the global generator stays as it is
            "randn": lambda *shape: draws.standard_normal(shape),
            "CMA_mirrors": 0,  # its default for a population below 6, which wants all members drawn at once
        }
        self._strategy = CMAEvolutionStrategy(list(start), sigma, options)
        self._population, self._make, self._accept = population, make, accept
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
