import hashlib

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.foundation.seeds import derive, generator, python_random

PARTS = st.lists(st.text(max_size=5) | st.integers(), max_size=4)


def test_a_seed_is_the_start_of_a_digest():
    # By hand: SHA-256 of the JSON list, its first eight bytes, without the last bit.
    digest = hashlib.sha256(b'[3, "digits", "partial", 17]').digest()
    assert derive(3, "digits", "partial", 17) == int.from_bytes(digest[:8], "big") // 2
    # Pinned: seeds must never change between versions or machines.
    assert derive() == 2858069222894195974
    assert derive(0, "digits") == 5325851198537642267


@settings(deadline=None, derandomize=True, max_examples=300)
@given(one=PARTS, other=PARTS)
def test_seeds_are_63_bits_and_differ_where_the_parts_do(one, other):
    assert 0 <= derive(*one) < 2**63
    assert (derive(*one) == derive(*other)) == (one == other)


def test_numbers_are_not_words_and_parts_do_not_run_together():
    assert len({derive(1), derive("1"), derive(1, 2), derive(12), derive("1, 2"), derive("1", 2)}) == 6


def test_generators_depend_on_their_parts_alone():
    before = torch.get_rng_state()
    first = torch.rand(3, generator=generator(0, "a"))
    second = torch.rand(3, generator=generator(0, "b"))
    assert torch.equal(torch.rand(3, generator=generator(0, "a")), first)
    assert not torch.equal(first, second)
    assert generator(0).device.type == "cpu"
    assert python_random(0, "a").random() == python_random(0, "a").random() != python_random(1, "a").random()
    assert torch.equal(torch.get_rng_state(), before)
