"""All parts by name; each is called with what was asked for and a function that notes what is found."""

from benchmarks.gpu.agreement import agreement
from benchmarks.gpu.card import card
from benchmarks.gpu.counting import kernels, synchronisations
from benchmarks.gpu.larger import larger
from benchmarks.gpu.memory import memory
from benchmarks.gpu.searching import search, where, whole_search
from benchmarks.gpu.steps import base_step, filter_steps, meta_step
from benchmarks.gpu.variants import variants

__all__ = [
    "agreement",
    "base_step",
    "card",
    "filter_steps",
    "kernels",
    "larger",
    "memory",
    "meta_step",
    "search",
    "synchronisations",
    "variants",
    "where",
    "whole_search",
]
