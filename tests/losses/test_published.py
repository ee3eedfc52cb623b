"""Published losses against their formulas, worked out anew with Python's own mathematics, and in use."""

import math

import pytest
import torch

from evomal.foundation.errors import SettingError, UnknownNameError
from evomal.losses import SymbolicLoss
from evomal.losses.exports import export
from evomal.losses.published import PUBLISHED, PublishedLoss, published_loss

POINTS = [(1.0, 0.7), (1.0, 0.2), (1.0, 0.95)]


def _fourth(x):
    return abs(x) ** 0.25


FORMULAS = {
    "evomal_a": lambda y, f: abs(math.log((y * f) ** 2)) ** 0.25,
    "evomal_b": lambda y, f: math.sqrt(abs(math.log(y * f) ** 2 + math.log(y * f))),
    "evomal_c": lambda y, f: math.sqrt(math.log(y * f) ** 2),
    "evomal_d": lambda y, f: math.sqrt((y - f) ** 8 / ((f**2 + 1) ** 4 * (math.copysign(1, f) ** 2 + 1) ** 2)),
    "evomal_e": lambda y, f: ((y + f) ** 2 + max(y * f, ((y + f) ** 2) ** 0.25)) ** 2,
    "evomal_f": lambda y, f: (y + f) ** 2 * ((f - ((y + f) ** 4) ** 0.25) ** 4) ** 0.25,
    "evomal_g": lambda y, f: _fourth(
        math.log(_fourth((y * f) ** 2) / math.sqrt((max(y, y + f) ** 2) * max(f - 1, min(-1, f)) ** 2 + 1))
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(("y", "f"), POINTS)
def test_table_5(name, y, f):
    loss = published_loss(name)
    value = loss.per_class(torch.tensor([[y]], dtype=torch.float64), torch.tensor([[f]], dtype=torch.float64))
    # ε is inside of every root and logarithm.
    assert value.item() == pytest.approx(FORMULAS[name](y, f), rel=2e-3, abs=4e-4)


def test_ngl():
    logits = torch.tensor([[0.3, -1.2, 0.9]], dtype=torch.float64)
    f = [value.item() for value in torch.softmax(logits, 1)[0]]
    y = [0, 1, 0]
    terms = [math.exp(2.4092 - p * (1 + t)) - math.cos(math.cos(math.sin(p))) for p, t in zip(f, y, strict=True)]
    assert published_loss("ngl")(logits, torch.tensor([1])).item() == pytest.approx(sum(terms) / 3)


def test_sparse_label_smoothing_is_label_smoothing_where_the_other_classes_share_equally():
    rest = (1 - 0.6) / 3
    logits = torch.tensor([[0.6, rest, rest, rest]], dtype=torch.float64).log()
    smoothed = torch.nn.functional.cross_entropy(logits, torch.tensor([0]), label_smoothing=0.1)
    assert published_loss("sparse_label_smoothing")(logits, torch.tensor([0])).item() == pytest.approx(
        smoothed.item(), abs=1e-6
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_is_finished_finite_and_has_a_source(name):
    loss = published_loss(name)
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    outputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    value = loss(outputs, torch.tensor([0, 1, 2, 3, -100, 0]))
    value.backward()
    assert value.isfinite()
    assert outputs.grad.isfinite().all()
    assert outputs.grad.abs().sum() > 0
    assert "20" in PUBLISHED[name].source
    assert loss.info["published"] == PUBLISHED[name].source


def test_what_doubts_there_are_is_told():
    doubtful = [name for name, entry in PUBLISHED.items() if entry.doubt]
    assert {"evomal_e", "evomal_f", "evomal_g", "sparse_label_smoothing"} <= set(doubtful)
    assert "ngl" not in doubtful


def test_names_files_and_exports():
    with pytest.raises(UnknownNameError, match=r"^unknown published loss 'evomal_h'; did you mean 'evomal_"):
        published_loss("evomal_h")
    with pytest.raises(UnknownNameError, match=r"^unknown published loss 'evomal_a'"):
        PublishedLoss("evomal_a")
    with pytest.raises(SettingError, match=r"^'ngl' is known by its name and fits no loss file"):
        published_loss("ngl").save("x.json")
    with pytest.raises(SettingError, match=r"^a loss of the family 'published' cannot be exported"):
        export(published_loss("ngl"), "python")
    assert isinstance(published_loss("evomal_a"), SymbolicLoss)
