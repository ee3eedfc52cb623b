"""Optimisers against ``torch.optim``: as functions, in a training alone and in lanes."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, AdamW, NAdam, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau

from evomal.config import OPTIMIZERS, PRESETS, BaseSettings, learn_settings, train_settings
from evomal.foundation.errors import SettingError
from evomal.losses import SymbolicLoss
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, Split, Task, probe
from evomal.tasks.factories import NOTHING_OWN, UserOptimizer
from evomal.training import fit
from evomal.training.batched_fit import fit_lanes
from evomal.training.clipping import norm_of, shortened
from evomal.training.named_optimizers import NAMED
from evomal.training.optimizers import base_optimizer, fitted_base

# Settings, and the same for PyTorch.
GRID = [
    ({}, SGD, {}),
    ({"momentum": 0.9}, SGD, {"momentum": 0.9}),
    ({"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}, SGD,
     {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ({"optimizer": "adam"}, Adam, {}),
    ({"optimizer": "adam", "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}, Adam,
     {"betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ({"optimizer": "adam", "betas": (0.0, 0.0)}, Adam, {"betas": (0.0, 0.0)}),
    ({"optimizer": "adamw"}, AdamW, {}),
    ({"optimizer": "adamw", "weight_decay": 0.3, "betas": (0.8, 0.99)}, AdamW,
     {"weight_decay": 0.3, "betas": (0.8, 0.99)}),
    ({"optimizer": "rmsprop"}, RMSprop, {}),
    ({"optimizer": "rmsprop", "smoothing": 0.5, "eps": 1e-3, "momentum": 0.7, "weight_decay": 0.1}, RMSprop,
     {"alpha": 0.5, "eps": 1e-3, "momentum": 0.7, "weight_decay": 0.1}),
]  # fmt: skip
STEPS, RATE = 9, 0.05


def _numbers(*shapes, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize(("settings", "theirs", "options"), GRID, ids=str)
def test_a_step_as_a_function_is_that_of_torch(settings, theirs, options, clip):
    shapes = [(3, 2), (4,), ()]
    optimizer = base_optimizer(BaseSettings(**(settings | {"lr": RATE})))
    ours, parameters = _numbers(*shapes), [p.requires_grad_() for p in _numbers(*shapes)]
    reference, state = theirs(parameters, lr=RATE, **options), optimizer.start(ours)
    for step in range(STEPS):
        gradients = _numbers(*shapes, seed=step + 1)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        if clip:
            clip_grad_norm_(parameters, clip)
        reference.step()
        ours, state = optimizer.update(ours, shortened(gradients, clip), state, RATE)
    for mine, other in zip(ours, parameters, strict=True):
        torch.testing.assert_close(mine, other.detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("settings", "theirs", "options"), GRID, ids=str)
def test_stacked_parameters_with_a_rate_each_are_as_good_as_single_ones(settings, theirs, options):
    del theirs, options
    optimizer = base_optimizer(BaseSettings(**settings))
    (stacked,), rates = _numbers((3, 4, 2)), [0.1, 0.01, 1.0]
    alone, many = [[p.clone()] for p in stacked], [stacked]
    states, state = [optimizer.start(p) for p in alone], optimizer.start(many)
    for step in range(4):
        (gradient,) = _numbers((3, 4, 2), seed=step + 1)
        many, state = optimizer.update(
            many, [gradient], state, [torch.tensor(rates, dtype=torch.float64).reshape(3, 1, 1)]
        )
        for lane, rate in enumerate(rates):
            alone[lane], states[lane] = optimizer.update(alone[lane], [gradient[lane]], states[lane], rate)
    torch.testing.assert_close(many[0], torch.stack([p for (p,) in alone]), rtol=1e-12, atol=1e-13)


def test_lanes_are_shortened_each_by_its_own_norm():
    gradients = _numbers((3, 4, 2), (3,), (3, 5))
    gradients = [g * torch.tensor([1.0, 0.01, 10.0]).reshape(-1, *[1] * (g.dim() - 1)) for g in gradients]
    many = shortened(gradients, 1.0, lanes=True)
    for lane in range(3):
        own = shortened([g[lane] for g in gradients], 1.0)
        for ours, theirs in zip(many, own, strict=True):
            torch.testing.assert_close(ours[lane], theirs)
    norms = norm_of(many, lanes=True)
    assert norms[1] < 0.1
    assert norms[[0, 2]].tolist() == pytest.approx([1.0, 1.0], rel=1e-4)


def _case(dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(40, 5, generator=draw).to(dtype), torch.randint(0, 3, (40,), generator=draw))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    return model.to(dtype), split, Batches(40, 16, 0, "task")


def _plain(model, split, batches, optimizer, scheduler=None, clip=None):
    """Training as anybody would write it in PyTorch."""
    for step in range(STEPS):
        x, y = split.take(batches.index(step))
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        if clip:
            clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if scheduler:
            scheduler.step()
    return model.state_dict()


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize(("settings", "theirs", "options"), GRID, ids=str)
def test_a_training_is_that_of_a_plain_loop_to_the_bit(settings, theirs, options, clip):
    model, split, batches = _case()
    other = copy.deepcopy(model)
    base = BaseSettings(**(settings | {"lr": RATE, "clip": clip, "schedule": "cosine"}))
    assert fit(model, cross_entropy, split, batches, STEPS, base, 0).reason is None
    optimizer = theirs(other.parameters(), lr=RATE, **options)
    expected = _plain(other, split, batches, optimizer, CosineAnnealingLR(optimizer, STEPS), clip)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), expected.values(), strict=True))


OWN = {
    "optimizer": UserOptimizer(lambda parameters, lr: NAdam(parameters, lr)),
    "schedule": UserOptimizer(schedule=lambda optimizer, steps: CosineAnnealingLR(optimizer, steps, eta_min=0.01)),
    "both": UserOptimizer(
        lambda parameters, lr: SGD(parameters, lr, momentum=0.9),
        lambda optimizer, steps: OneCycleLR(optimizer, 0.3, total_steps=steps),  # changes momentum too
    ),
}


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_what_a_task_brings_is_what_is_used(own):
    model, split, batches = _case()
    other = copy.deepcopy(model)
    assert fit(model, cross_entropy, split, batches, STEPS, BaseSettings(lr=RATE), 0, own).reason is None
    optimizer = own.make(other.parameters(), RATE) if own.optimizer else SGD(other.parameters(), RATE)
    scheduler = own.schedule(optimizer, STEPS) if own.schedule else None
    expected = _plain(other, split, batches, optimizer, scheduler)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), expected.values(), strict=True))


LANES = [settings for settings, _, _ in GRID[1:]]


@pytest.mark.parametrize("more", [{}, {"clip": 0.05, "schedule": "one-cycle", "warmup": 0.4}], ids=str)
@pytest.mark.parametrize("settings", LANES, ids=str)
def test_lanes_are_trained_as_alone(settings, more):
    _lanes_as_alone(BaseSettings(**(settings | more | {"lr": RATE})))


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_lanes_with_what_a_task_brings(own, clip):
    _lanes_as_alone(BaseSettings(lr=RATE, clip=clip), own)


def _lanes_as_alone(base, own=NOTHING_OWN):
    model, split, batches = _case(torch.float64)  # as adaptive optimisers make much of small differences
    losses = [SymbolicLoss(tree, task_type="classification") for tree in ("square(sub(y, f))", "abs(sub(f, y))")]
    for loss in losses:
        loss.double().requires_grad_(False)
    rates = [RATE, 2 * RATE]
    trained = fit_lanes(model, stack(losses), split, batches, STEPS, base, 0, rates, own=own)
    for lane, (loss, rate) in enumerate(zip(losses, rates, strict=True)):
        alone = copy.deepcopy(model)
        ended = fit(alone, loss, split, batches, STEPS, base.model_copy(update={"lr": rate}), 0, own)
        assert ended == trained.fits[lane]
        for ours, theirs in zip(trained.lanes.parameters, alone.parameters(), strict=True):
            torch.testing.assert_close(ours[lane], theirs, rtol=1e-8, atol=1e-9)


def _task(**own):
    _, split, _ = _case()
    return Task(lambda: nn.Linear(5, 3), (split.x, split.y), **own)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"optimizer": lambda parameters, lr: parameters}, "the task's optimizer gives a list; return a torch"),
        ({"optimizer": lambda parameters: SGD(parameters)}, "the task's optimizer, called as optimizer("),
        ({"optimizer": lambda p, lr: torch.optim.LBFGS(p, lr)}, "a step of the task's LBFGS fails: TypeError: "),
        ({"schedule": lambda optimizer, steps: 0.1}, "the task's schedule gives a float; return a scheduler"),
        ({"schedule": lambda o, steps: ReduceLROnPlateau(o)}, "the task's schedule gives a ReduceLROnPlateau; return"),
        ({"schedule": lambda o: CosineAnnealingLR(o, 9)}, "the task's schedule, called as schedule(optimizer, steps)"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_before_a_search(own, message):
    with pytest.raises(SettingError) as caught:
        probe(_task(**own))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"optimizer": "adam"}, "optimizer is 'adam'; name it in the settings, such as EvoMAL(optimizer='adam')"),
        ({"optimizer": 3}, "optimizer is a int; give a function that makes one, optimizer=lambda parameters, lr: …"),
        (
            {"schedule": "cosine"},
            "schedule is a str; give a function that makes one, schedule=lambda optimizer, steps: …",
        ),
    ],
)
def test_what_is_no_factory_is_refused_at_once(own, message):
    with pytest.raises(SettingError) as caught:
        _task(**own)
    assert str(caught.value) == message


def test_settings_know_every_optimiser_by_name():
    assert [*NAMED, "own"] == list(OPTIMIZERS)


def test_settings_and_a_task_must_agree():
    own = OWN["optimizer"]
    assert fitted_base(BaseSettings(lr=0.1), own) == BaseSettings(lr=0.1, optimizer="own")
    assert fitted_base(BaseSettings(optimizer="own"), own).optimizer == "own"
    assert fitted_base(BaseSettings(optimizer="adam"), OWN["schedule"]).optimizer == "adam"
    for optimizer in ("adam", "sgd"):
        with pytest.raises(SettingError) as caught:
            fitted_base(BaseSettings(optimizer=optimizer), own)
        assert str(caught.value) == (
            f"setting 'optimizer': the task brings an optimizer of its own, so that '{optimizer}' would have no "
            "effect; leave it out"
        )
    with pytest.raises(SettingError, match=r"^setting 'optimizer': the task brings none of its own; give Task\("):
        fitted_base(BaseSettings(optimizer="own"), OWN["schedule"])


@pytest.mark.parametrize("preset", [None, *PRESETS])
@pytest.mark.parametrize("make", [learn_settings, train_settings])
def test_what_a_preset_says_gives_way_to_the_tasks_own(make, preset):
    base = make(preset, clip=2.0).base
    fitted = fitted_base(base, OWN["both"])
    kept = {name: getattr(base, name) for name in ("lr", "batch_size", "schedule", "milestones", "gamma", "clip")}
    assert fitted == BaseSettings(optimizer="own", **kept)
    assert fitted_base(fitted, OWN["both"]) == fitted


GIVEN = [
    ("optimizer", {"momentum": 0.9}),  # the preset's own value
    ("optimizer", {"momentum": 0.0}),
    ("optimizer", {"weight_decay": 0.1}),
    ("optimizer", {"optimizer": "sgd"}),
    ("schedule", {"schedule": "cosine"}),
    ("schedule", {"warmup": 0.0}),
]


@pytest.mark.parametrize(("what", "flat"), GIVEN)
@pytest.mark.parametrize("make", [learn_settings, train_settings])
def test_what_somebody_gave_never_gives_way(make, what, flat):
    ((name, value),) = flat.items()
    base, article = make("practice", **flat).base, "an" if what == "optimizer" else "a"
    with pytest.raises(SettingError) as caught:
        fitted_base(base, OWN["both"])
    assert str(caught.value) == (
        f"setting '{name}': the task brings {article} {what} of its own, so that {value!r} would have no effect; leave "
        "it out"
    )
    assert fitted_base(base, NOTHING_OWN) == base
