"""Whether a GPU computes what the CPU does: values, slopes, tuned φ, trained parameters, fitness."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.gpu.given import BASE, Given, Note, batches
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.local_search import tune
from evomal.local_search.batched_tune import tune_lanes
from evomal.losses import SymbolicLoss
from evomal.losses.batched_families import stack
from evomal.tasks import Task
from evomal.tasks.models import make_factory
from evomal.training import evaluate, fit, one_thread
from evomal.training.batched_fit import fit_lanes
from evomal.training.graphs import graphs
from evomal.training.precision import autocast, precision

FORMULAS = (
    "mul(y, log(f))",
    "square(sub(y, f))",
    "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))",
    "abs(sub(sqrt(f), div(y, f)))",
    "sub(max(f, mul(y, -1)), min(y, log(f)))",
    "mul(tanh(sub(y, f)), sub(y, square(f)))",
)
META_LR = 0.03  # so that φ moves far enough for differences to show
TOLERANCES = {"float64": 1e-6, "float32": 2e-2, "tf32": 5e-2, "bf16": 0.2}
"""Of ‖found − CPU‖ / ‖CPU − start‖ after many steps; one step's values agree much better."""


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Another default dtype within a block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def agreement(given: Given, note: Note) -> None:
    """In float64 and float32, graphs on and off; then TF32 and bfloat16 against float32."""
    count, meta, base = (2, 2, 3) if not given.cuda else (4, 8, 20) if given.quick else (6, 20, 50)
    for dtype in (torch.float64, torch.float32):
        with default_dtype(dtype):
            _agree_in(given, note, str(dtype).removeprefix("torch."), count, meta, base)


def _small(given: Given, dtype: torch.dtype) -> Task:
    whole = given.task().to("cpu")
    x, y = whole.train.take(torch.arange(2000))
    xv, yv = whole.valid.take(torch.arange(500))

    class Shapes:
        input_shape, outputs = (1, 28, 28), 10

    factory = make_factory("lenet5", Shapes())
    return Task(factory, (x.to(dtype), y), (xv.to(dtype), yv), name="small")


def _fresh(count: int, device: torch.device, tuned: bool) -> list[SymbolicLoss]:
    dtype = torch.get_default_dtype()
    losses = [SymbolicLoss(text, task_type="classification", ignore_index=None) for text in FORMULAS[:count]]
    with torch.no_grad():
        losses[0].weights.mul_(-1)
    return [loss.to(device, dtype).requires_grad_(tuned) for loss in losses]


def _agree_in(given: Given, note: Note, name: str, count: int, meta: int, base: int) -> None:
    dtype, cpu = torch.get_default_dtype(), torch.device("cpu")
    here = _small(given, dtype)
    there = here.to(given.place)
    draw = torch.Generator().manual_seed(1)
    outputs, y = 2 * torch.randn(128, 10, generator=draw, dtype=dtype), here.train.y[:128]
    found = {}
    for device in (cpu, given.place):
        stacked = stack(_fresh(count, device, False))
        many = outputs.to(device).expand(count, -1, -1)
        found[device.type if device is cpu else "device"] = stacked.slopes(many, y.to(device), stacked.coefficients())
    for what, one, other in zip(("values", "slopes"), found["device"], found["cpu"], strict=True):
        note(f"{name}: {what}, relative", _relative(one, other))
    with one_thread():
        _tuned(given, note, name, count, meta, here, there)
        _trained(given, note, name, count, base, here, there)


def _tuned(given: Given, note: Note, name: str, count: int, steps: int, here: Task, there: Task) -> None:
    settings = LocalSearchSettings(meta_steps=steps, meta_lr=META_LR)
    start = _phi(_fresh(count, torch.device("cpu"), True))
    reference = _fresh(count, torch.device("cpu"), True)
    tune(reference, here, settings, BASE, 0)
    moved = _phi(reference)
    note(f"{name}: φ moved on the CPU by", float((moved - start).norm()))
    for way in ("alone", "lanes, no graph", "lanes, graph"):
        losses = _fresh(count, given.place, True)
        with graphs(way == "lanes, graph"), precision("float32", given.place):
            if way == "alone":
                tune(losses, there, settings, BASE, 0)
            else:
                tune_lanes(losses, there, settings, BASE, 0)
        note(f"{name}: φ after {steps} meta steps, {way}", _verdict(_phi(losses), moved, start, name))


def _phi(losses: Sequence[SymbolicLoss]) -> Tensor:
    return torch.cat([loss.weights.detach().cpu().double() for loss in losses])


def _verdict(found: Tensor, expected: Tensor, start: Tensor, tolerance: str) -> str:
    """The distance from the CPU's result over how far that has moved, at the median and as a whole."""
    away, moved = (found - expected).norm(), (expected - start).norm()
    share = float(away / moved)
    worst = float((found - expected).abs().max())
    good = share <= TOLERANCES[tolerance]
    return f"{'agrees' if good else 'DIFFERS'}: {share:.2e} of the way, worst {worst:.2e}"


def _trained(given: Given, note: Note, name: str, count: int, steps: int, here: Task, there: Task) -> None:
    base = BaseSettings(lr=0.05)
    start = _flat(here.make_model(0).parameters())
    expected, fitness = [], []
    for loss in _fresh(count, torch.device("cpu"), False):
        model = here.make_model(0)
        fit(model, loss, here.train, batches(here), steps, base, 0)
        expected.append(_flat(model.parameters()))
        fitness.append(evaluate(model, here.valid, here.metric))
    target = torch.stack(expected)
    note(f"{name}: fitness on the CPU", fitness)
    settings = ["float32", *(["tf32", "bf16"] if name == "float32" and given.cuda else [])]
    for setting in settings:
        tolerance = name if setting == "float32" else setting
        with precision(setting, given.place):  # type: ignore[arg-type]
            models = []
            for loss in _fresh(count, given.place, False):
                model = there.make_model(0)
                with autocast(setting, given.place):  # type: ignore[arg-type]
                    fit(model, loss, there.train, batches(there), steps, base, 0)
                models.append(_flat(model.parameters()))
            note(
                f"{name}: {setting}, alone, after {steps} steps",
                _verdict(torch.stack(models), target, start, tolerance),
            )
            for graph in (False, True):
                with graphs(graph):
                    trained = fit_lanes(
                        there.make_model(0), stack(_fresh(count, given.place, False)), there.train, batches(there),
                        steps, base, 0, None, setting,  # type: ignore[arg-type]
                    )  # fmt: skip
                    way = f"{name}: {setting}, lanes, {'graph' if graph else 'no graph'}"
                    lanes = torch.stack([_flat(p[k] for p in trained.lanes.parameters) for k in range(count)])
                    note(f"{way}, after {steps} steps", _verdict(lanes, target, start, tolerance))
                    note(f"{way}, fitness", trained.evaluate(there.valid, there.metric))


def _flat(parameters) -> Tensor:
    return torch.cat([p.detach().cpu().double().reshape(-1) for p in parameters])


def _relative(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm())
