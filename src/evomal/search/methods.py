"""The methods: what each proposes, and so what sets it apart from the others (D12 to D14)."""

import inspect
from collections.abc import Sequence

from evomal.config import LearnSettings
from evomal.engines.cma import CmaEngine, Vector
from evomal.engines.engine import Engine, SingleEngine
from evomal.engines.genetic import GeneticEngine
from evomal.engines.genome import Network, Polynomial
from evomal.engines.two_phase import TwoPhaseEngine
from evomal.engines.warm_start import starts
from evomal.evaluation.filters import FilterProbe
from evomal.foundation.errors import SettingError, unknown_name
from evomal.foundation.seeds import python_random
from evomal.losses.taylor import rises_at_uniform
from evomal.search.method import METHODS, Method
from evomal.tasks import TaskSet
from evomal.tasks.user import user_object


class EvoMAL(Method):
    """Genetic programming over formulas, gradients for their coefficients (Figure 1).

    Example:
        >>> EvoMAL(population_size=25, generations=50, seed=0).settings.genetic.generations
        50

    Source:
        Raymond et al., "Learning Symbolic Model-Agnostic Loss Functions via Meta-Learning", 2023.
    """

    name = "evomal"
    summary = "genetic programming over formulas, gradients for their coefficients"

    def engine(self, tasks: TaskSet, probes: Sequence[FilterProbe]) -> Engine:
        """Genetic programming."""
        return _genetic(tasks, self.settings)


class GPLFL(Method):
    """Genetic programming over formulas alone: EvoMAL without local search, φ = 1.

    Example:
        >>> GPLFL(preset="quick").settings.local_search.meta_steps
        0

    Source:
        Raymond et al., 2023, Section 4.1.
    """

    name = "gplfl"
    summary = "genetic programming over formulas, coefficients of 1"

    def engine(self, tasks: TaskSet, probes: Sequence[FilterProbe]) -> Engine:
        """Genetic programming."""
        return _genetic(tasks, self.settings)


class ML3(Method):
    """A neural loss, trained by meta-gradients.

    Example:
        >>> ML3(neural_steps=100).settings.tuning.meta_steps
        100

    Source:
        Bechtle et al., "Meta Learning via Learned Loss", 2021.
    """

    name = "ml3"
    summary = "a neural loss, trained by meta-gradients (ML³)"
    shares = (1.0, 1.0, 1.0)

    def engine(self, tasks: TaskSet, probes: Sequence[FilterProbe]) -> Engine:
        """A single proposal."""
        return SingleEngine(Network(self.settings.neural.hidden))


class TaylorGLO(Method):
    """A third-order Taylor polynomial, its eight parameters found by CMA-ES.

    Parameters with which the true class would not rise from a uniform prediction are drawn anew.

    Example:
        >>> TaylorGLO(preset="quick").settings.cma.sigma
        1.2

    Source:
        Gonzalez and Miikkulainen, "Optimizing Loss Functions Through Multi-Variate Taylor Polynomial
        Parameterization", 2021.
    """

    name = "taylorglo"
    summary = "a third-order Taylor polynomial, its parameters found by CMA-ES"
    shares = (1.0, 0.5, 1.0)

    def engine(self, tasks: TaskSet, probes: Sequence[FilterProbe]) -> Engine:
        """CMA-ES from zero."""
        classes = {probe.classes for probe in probes}

        def hopeful(parameters: Vector) -> bool:
            return tasks.task_type == "regression" or all(rises_at_uniform(parameters, count) for count in classes)

        settings = self.settings
        parts = settings.seed, tasks.key, "taylorglo"
        size = settings.genetic.population_size
        return CmaEngine([0.0] * 8, settings.cma.sigma, size, parts, Polynomial, hopeful)


class GLO(Method):
    """Genetic programming for the formula, then CMA-ES for the coefficients of the best one.

    Its budget: population × (generations + CMA generations) evaluations.

    Example:
        >>> GLO(population_size=20, generations=10, cma_generations=10).settings.evaluations
        400

    Source:
        Gonzalez and Miikkulainen, "Improved Training Speed, Accuracy, and Data Utilization Through Loss Function
        Optimization", 2020.
    """

    name = "glo"
    summary = "genetic programming for the formula, then CMA-ES for its coefficients"
    shares = (0.9, 0.3, 0.9)

    def engine(self, tasks: TaskSet, probes: Sequence[FilterProbe]) -> Engine:
        """Genetic programming, then CMA-ES."""
        settings = self.settings
        parts = settings.seed, tasks.key, "glo"
        return TwoPhaseEngine(_genetic(tasks, settings), settings.genetic.generations, settings.cma.sigma, parts)


def _genetic(tasks: TaskSet, settings: LearnSettings) -> GeneticEngine:
    return GeneticEngine(settings.genetic, python_random(settings.seed, tasks.key, "genetic"), starts(settings))


def make_method(settings: LearnSettings) -> Method:
    """The method that the settings name.

    Example:
        >>> from evomal.config import learn_settings
        >>> type(make_method(learn_settings(method="glo"))).__name__
        'GLO'
    """
    if settings.method not in METHODS:
        raise unknown_name("method", settings.method, METHODS)
    return METHODS[settings.method](settings)


def load_method(spec: str) -> type[Method]:
    """The class that a user names; it is in the registry from then on.

    Args:
        spec: A name in `METHODS`, or ``"my_module.py:Mine"`` or ``"package.module:Mine"``, whose code is run.

    Raises:
        SettingError: There is no such file or class, it cannot be imported, or it is no complete method.

    Example:
        >>> load_method("glo").__name__
        'GLO'
    """
    if spec in METHODS:
        return METHODS[spec]
    with user_object(spec, "method", "Mine", "is a subclass of evomal.Method") as (found, name, _):
        pass
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise SettingError(f"method '{spec}': {name} is no subclass of evomal.Method; derive it from that")
    if not isinstance(getattr(found, "name", None), str):
        raise SettingError(f"method '{spec}': {name} has no `name`; give the class one, such as name = 'mine'")
    if inspect.isabstract(found):
        raise SettingError(f"method '{spec}': {name} has no engine; define `engine(self, tasks, probes)`")
    return found
