import pytest
import torch

from evomal.local_search.functional import FunctionalModel, batch_statistics
from evomal.local_search.one_step import linearise
from evomal.local_search.traced import trace_linearisation
from helpers import zoo

# These tuning does another way: without forward mode, or writing into buffers while tracing.
UNTRACED = {"lstm", "attention", "weight_norm", "spectral_norm"}


@pytest.mark.parametrize("name", sorted(zoo.ZOO))
def test_the_program_serves_other_values_than_it_was_traced_with(name):
    model, batches = zoo.make(name, torch.float32)
    other, _ = zoo.make(name, torch.float32, seed=8)
    with batch_statistics(model), batch_statistics(other):
        program = trace_linearisation(FunctionalModel(model), batches[0][0])
        if program is None:
            assert name in UNTRACED
            return
        assert name not in UNTRACED
        functional = FunctionalModel(other)
        torch.manual_seed(4)
        ours = program(functional, batches[1][0])
        torch.manual_seed(4)
        reference = linearise(functional, batches[1][0], keep=True)
        direction = [torch.randn_like(p) for p in functional.parameters]
        cotangent = torch.randn_like(reference.outputs)
        torch.testing.assert_close(ours.outputs, reference.outputs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.jvp(direction), reference.jvp(direction), rtol=1e-4, atol=1e-4)
        for _ in range(2):  # both directions may be taken many times
            for a, b in zip(ours.vjp(cotangent), reference.vjp(cotangent), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.jvp(direction), reference.jvp(direction), rtol=1e-4, atol=1e-4)


def test_a_model_that_branches_on_values_is_not_traced():
    class Branching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(6, 5)

        def forward(self, x):
            z = self.layer(x)
            return z if z.sum() > 0 else 2 * z

    assert trace_linearisation(FunctionalModel(Branching()), torch.randn(3, 6)) is None


def test_tracing_leaves_the_generators_as_they_were():
    model, batches = zoo.make("dropout", torch.float32)
    before = torch.get_rng_state()
    trace_linearisation(FunctionalModel(model), batches[0][0])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_random_tensor_that_is_no_buffer_is_noticed():
    class Projected(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.projection = torch.randn(6, 6)
            self.layer = torch.nn.Linear(6, 5)

        def forward(self, x):
            return self.layer(x @ self.projection)

    model, other = FunctionalModel(Projected()), FunctionalModel(Projected())
    assert trace_linearisation(model, torch.randn(3, 6), other) is None
    assert trace_linearisation(model, torch.randn(3, 6)) is not None
