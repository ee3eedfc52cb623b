"""Who proposes: engines that are asked for a generation and told its fitnesses, and the genomes they propose."""

from evomal.engines.engine import Engine, Proposal
from evomal.engines.genome import Formula

__all__ = ["Engine", "Formula", "Proposal"]
