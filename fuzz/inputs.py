"""Inputs of a target as a hypothesis strategy: valid ones changed a little, and any bytes."""

import random

from hypothesis import strategies as st

from fuzz.mutation import mutated
from fuzz.targets import Target


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Mostly valid input with up to eight small changes; else any bytes."""
    changed = st.builds(
        lambda sample, seed, rounds: mutated(sample, random.Random(seed), rounds),
        st.sampled_from(target.samples()),
        st.integers(0, 2**32),
        st.integers(0, 8),
    )
    return st.one_of(changed, changed, changed, st.binary(max_size=300))
