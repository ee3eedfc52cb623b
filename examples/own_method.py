"""A method of your own, as `evomal learn` takes it by --method examples/own_method.py:RandomSearch --own depth=2."""

from evomal import Method, Settings
from evomal.engines import Formula, Proposal
from evomal.expressions import canonical, ramped_half_and_half, repair
from evomal.foundation.seeds import python_random


class RandomSearch(Method):
    name, summary, fixed, generation = "random", "random formulas, coefficients of 1", {"meta_steps": 0}, 0

    class Own(Settings):
        depth: int = 3

    def engine(self, tasks, probes):
        return self  # an engine is anything that can be asked and told

    def ask(self):
        rng = python_random(self.settings.seed, self.generation)
        drawn = ramped_half_and_half(rng, self.settings.population, 1, self.own.depth)
        return [Proposal(Formula(canonical(repair(tree, rng))), "random") for tree in drawn]

    def tell(self, fitnesses):
        self.generation += 1

    def state_dict(self):
        return {"generation": self.generation}

    def load_state_dict(self, state):
        self.generation = state["generation"]
