"""Who proposes: engines that are asked for a generation and told its fitnesses, and the genomes they propose."""

from evomal.engines.engine import Engine

__all__ = ["Engine"]
