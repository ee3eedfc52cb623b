"""One call of `evomal.meta_gradient` against PyPI's `higher` and `torchopt`, and its cost within a generation."""

import torch
from torch.nn.functional import cross_entropy

from benchmarks.measuring import alternate, peak_bytes, show
from benchmarks.subjects import Subject, formula, lenet5
from evomal.config import learn_settings
from evomal.local_search import meta_gradient, tune

LR = 0.01


def plain_step(subject: Subject):
    """A plain PyTorch training step on resident tensors, for scale."""
    model = subject.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    x, y = subject.task.train.x, subject.task.train.y

    def call(number: int) -> None:
        index = subject.train.index(number)
        optimizer.zero_grad()
        cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()

    return call


def ours(subject: Subject):
    """By `evomal.meta_gradient`."""
    loss, model = formula(), subject.model()
    return lambda n: meta_gradient(loss, model, [subject.batch(n)], subject.valid_batch(n), lr=LR)


def with_higher(subject: Subject):
    """By the `higher` library."""
    import higher

    loss, model = formula(), subject.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)

    def call(number: int):
        (x, y), (xv, yv) = subject.batch(number), subject.valid_batch(number)
        with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (functional, differentiable):
            differentiable.step(loss(functional(x), y))
            return torch.autograd.grad(cross_entropy(functional(xv), yv), list(loss.parameters()))

    return call


def with_torchopt(subject: Subject):
    """By the `torchopt` library."""
    import torchopt

    loss, model = formula(), subject.model()
    optimizer = torchopt.MetaSGD(model, lr=LR)
    state = torchopt.extract_state_dict(model, by="copy"), torchopt.extract_state_dict(optimizer, by="copy")

    def call(number: int):
        (x, y), (xv, yv) = subject.batch(number), subject.valid_batch(number)
        torchopt.recover_state_dict(model, state[0])
        torchopt.recover_state_dict(optimizer, state[1])
        optimizer.step(loss(model(x), y))
        return torch.autograd.grad(cross_entropy(model(xv), yv), list(loss.parameters()))

    return call


def single_call() -> None:
    """Fresh batches at every call, nothing kept between calls; all sides give the same gradient."""
    subject = lenet5()
    sides = {
        "plain training step": plain_step(subject),
        "evomal.meta_gradient": ours(subject),
        "higher": with_higher(subject),
        "torchopt": with_torchopt(subject),
    }
    results = [sides[name](3)[0] for name in list(sides)[1:]]
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=1e-3, atol=1e-6)
    times = alternate(sides)
    memory = {name: peak_bytes(call) for name, call in sides.items()}
    step, held = times["plain training step"], memory["plain training step"]
    mine = times["evomal.meta_gradient"]
    rows = [
        [
            name, f"{1e3 * seconds:.1f}", f"{seconds / step:.2f}", f"{seconds / mine:.2f}",
            f"{memory[name] / 2**20:.1f}", f"{memory[name] / held:.2f}",
        ]
        for name, seconds in times.items()
    ]  # fmt: skip
    columns = ["LeNet-5, batch 128", "ms", "÷ plain step", "÷ evomal", "peak MiB", "÷ plain step"]
    show("One meta-gradient (targets: higher and torchopt ≥ 1.3 ÷ evomal; memory ≤ 1.5)", columns, rows)


def in_a_generation(count: int = 25, steps: int = 50) -> None:
    """The same per candidate when a generation is tuned together, with everything that tuning does."""
    subject = lenet5()
    settings = learn_settings("paper-mnist", meta_steps=steps)
    losses = [formula() for _ in range(count)]
    plain = plain_step(subject)

    def tune_all(number: int) -> None:
        tune(losses, subject.task, settings.local_search, settings.base, seed=number)

    def plain_steps(_: int) -> None:
        for step in range(count * steps // 4):
            plain(step % 97)

    times = alternate({"plain": plain_steps, "tune": tune_all}, rounds=3, warm=1)
    step = times["plain"] / (count * steps // 4)
    each = times["tune"] / (count * steps)
    row = [f"{count} candidates, {steps} meta steps", f"{1e3 * each:.1f}", f"{1e3 * step:.1f}", f"{each / step:.2f}"]
    columns = ["within a generation", "ms per candidate and step", "ms plain step", "÷ plain step"]
    show("Meta-gradient, Adam and tracing included (target: ≤ 2.2)", columns, [row])
