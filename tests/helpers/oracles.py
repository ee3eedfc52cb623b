"""Independent ways to the same meta-gradient: plain double backward with torch.optim's own rule, written out."""

import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel


def double_backward(
    loss, model, train_batches, valid_batch, task_loss, lr, momentum=0.0, nesterov=False, weight_decay=0.0
):
    """dL_T/dφ by differentiating through everything, on kernels that allow it."""
    with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
        theta = {n: p for n, p in model.named_parameters() if p.requires_grad}
        buffers = {n: b.clone() for n, b in model.named_buffers()}
        velocity = {}

        def call(parameters, x):
            return functional_call(model, (parameters, {n: b.clone() for n, b in buffers.items()}), (x,))

        for x, y in train_batches:
            value = loss(call(theta, x), y)
            gradients = torch.autograd.grad(value, list(theta.values()), create_graph=True, allow_unused=True)
            following = {}
            for (name, p), g in zip(theta.items(), gradients, strict=True):
                g = torch.zeros_like(p) if g is None else g
                g = g + weight_decay * p
                velocity[name] = momentum * velocity[name] + g if name in velocity else g
                following[name] = p - lr * (g + momentum * velocity[name] if nesterov else velocity[name])
            theta = following
        result = task_loss(call(theta, valid_batch[0]), valid_batch[1])
        gradients = torch.autograd.grad(result, list(loss.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(loss.parameters(), gradients, strict=True)]


def task_loss_after_sgd(loss, model, train_batches, valid_batch, task_loss, **sgd):
    """L_T after training a copy with torch.optim.SGD: what finite differences are taken of."""
    import copy

    trained = copy.deepcopy(model)
    optimizer = torch.optim.SGD(trained.parameters(), **sgd)
    for x, y in train_batches:
        optimizer.zero_grad()
        loss(trained(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float(task_loss(trained(valid_batch[0]), valid_batch[1]))


def finite_differences(loss, *arguments, eps=1e-5, **sgd):
    """dL_T/dφ by central differences, one coordinate of φ after the other."""
    slopes = []
    for i in range(len(loss.weights)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                loss.weights[i] += sign * eps
            values.append(task_loss_after_sgd(loss, *arguments, **sgd))
            with torch.no_grad():
                loss.weights[i] -= sign * eps
        slopes.append((values[0] - values[1]) / (2 * eps))
    return torch.tensor(slopes, dtype=loss.weights.dtype)


def scaling_of(optimizer, model, batches, task_loss, clip=None):
    """What ``torch.optim``'s own steps with the task loss leave of each weight's scale: 1 / (√v̂ + ε)."""
    import copy

    trained = copy.deepcopy(model)
    stepper = optimizer(list(trained.parameters()))
    for x, y in batches:
        stepper.zero_grad()
        task_loss(trained(x), y).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(trained.parameters(), clip)
        stepper.step()
    group, scaling = stepper.param_groups[0], []
    for p in trained.parameters():
        state = stepper.state[p]
        if "exp_avg_sq" in state:
            mean = state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"].item())
        else:
            mean = state["square_avg"] / (1 - group["alpha"] ** state["step"].item())
        scaling.append(torch.where(mean > 0, 1 / (mean.sqrt() + group["eps"]), 0.0))
    return scaling


def double_backward_through(rule, loss, model, train_batches, valid_batch, task_loss, clip=None):
    """dL_T/dφ through steps ``rule(theta, gradients, step number, memory)``, clipped as PyTorch does, by autograd."""
    theta = dict(model.named_parameters())
    memory = {}
    for number, (x, y) in enumerate(train_batches):
        value = loss(functional_call(model, theta, (x,)), y)
        gradients = torch.autograd.grad(value, list(theta.values()), create_graph=True)
        if clip:
            norm = torch.sqrt(sum((g * g).sum() for g in gradients))
            factor = clip / (norm + 1e-6)
            gradients = [g * factor if factor < 1 else g for g in gradients]
        theta = dict(zip(theta, rule(list(theta.values()), gradients, number, memory), strict=True))
    result = task_loss(functional_call(model, theta, (valid_batch[0],)), valid_batch[1])
    return list(torch.autograd.grad(result, list(loss.parameters())))
