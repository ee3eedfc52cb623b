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
