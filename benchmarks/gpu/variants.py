"""Other ways to compute a step of many lanes, side by side with the present one."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.gpu.given import BASE, Given, Note
from evomal.training.graphs import GraphedStep


def variants(given: Given, note: Note) -> None:
    """Base steps of LeNet-5 in lanes with cross-entropy: vmap, columns and products, grouped convolutions; compiled."""
    task, count = given.task(), given.many
    x, y = task.train.take(torch.arange(BASE.batch_size))
    model = task.make_model(0)
    ways = {"vmap": _vmapped(model), "columns": _columns, "grouped": _grouped}
    for name, forward in ways.items():
        parameters = [p.detach().expand(count, *p.shape).clone().requires_grad_() for p in model.parameters()]
        step = _step(forward, parameters, x, y)
        note(f"{name}, {count} lanes, no graph, ms", 1e3 * given.per_step(lambda n, step=step: step()))
        if given.cuda:
            graphed = GraphedStep(step, parameters)
            note(f"{name}, {count} lanes, graph, ms", 1e3 * given.per_step(lambda n, graphed=graphed: graphed()))
            if not graphed.captured:
                note(f"{name}: NO GRAPH", graphed.failure)
    if not given.cuda:
        return
    for name in ("columns", "grouped"):
        parameters = [p.detach().expand(count, *p.shape).clone().requires_grad_() for p in model.parameters()]
        forward = torch.compile(ways[name])
        step = _step(forward, parameters, x, y)
        note(f"{name}, compiled, first step, seconds", given.seconds(step))
        graphed = GraphedStep(step, parameters)
        note(f"{name}, compiled, graph, ms", 1e3 * given.per_step(lambda n, graphed=graphed: graphed()))
        if not graphed.captured:
            note(f"{name}, compiled: NO GRAPH", graphed.failure)


def _step(forward, parameters: list[Tensor], x: Tensor, y: Tensor):
    def step() -> Tensor:
        outputs = forward(parameters, x)
        count = outputs.shape[0]
        losses = cross_entropy(outputs.flatten(0, 1), y.repeat(count), reduction="none").reshape(count, -1).mean(1)
        gradients = torch.autograd.grad(losses.sum(), parameters)
        with torch.no_grad():
            torch._foreach_sub_([p.detach() for p in parameters], torch._foreach_mul(gradients, BASE.lr))
        return losses.detach()

    return step


def _vmapped(model: nn.Module):
    names = [name for name, _ in model.named_parameters()]

    def forward(parameters: list[Tensor], x: Tensor) -> Tensor:
        def one(*own: Tensor) -> Tensor:
            return torch.func.functional_call(model, dict(zip(names, own, strict=True)), (x,))

        return torch.vmap(one)(*parameters)

    return forward


def _columns(parameters: list[Tensor], x: Tensor) -> Tensor:
    """Convolutions as batched products over columns (im2col)."""
    w1, b1, w2, b2, *rest = parameters
    count, batch = len(w1), len(x)
    columns = nn.functional.unfold(x, 5)  # [B, 25, 576]
    hidden = torch.einsum("bks,nck->nbcs", columns, w1.flatten(2)) + b1[:, None, :, None]
    hidden = nn.functional.avg_pool2d(hidden.tanh().reshape(count * batch, 6, 24, 24), 2)
    columns = nn.functional.unfold(hidden, 5).reshape(count, batch, 150, 64)
    hidden = torch.einsum("nbks,nck->nbcs", columns, w2.flatten(2)) + b2[:, None, :, None]
    hidden = nn.functional.avg_pool2d(hidden.tanh().reshape(count * batch, 16, 8, 8), 2)
    return _dense(hidden.reshape(count, batch, 256), rest)


def _grouped(parameters: list[Tensor], x: Tensor) -> Tensor:
    """Grouped convolutions, lanes as groups."""
    w1, b1, w2, b2, *rest = parameters
    count, batch = len(w1), len(x)
    hidden = nn.functional.conv2d(x, w1.flatten(0, 1), b1.flatten())
    hidden = nn.functional.avg_pool2d(hidden.tanh(), 2)
    hidden = nn.functional.conv2d(hidden, w2.flatten(0, 1), b2.flatten(), groups=count)
    hidden = nn.functional.avg_pool2d(hidden.tanh(), 2)
    return _dense(hidden.reshape(batch, count, 256).transpose(0, 1), rest)


def _dense(hidden: Tensor, rest: list[Tensor]) -> Tensor:
    for number in range(0, len(rest), 2):
        weight, bias = rest[number], rest[number + 1]
        hidden = torch.baddbmm(bias.unsqueeze(1), hidden, weight.transpose(1, 2))
        if number + 2 < len(rest):
            hidden = hidden.tanh()
    return hidden
