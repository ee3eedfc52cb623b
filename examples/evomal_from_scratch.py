"""EvoMAL from scratch, to be read from top to bottom: python examples/evomal_from_scratch.py.

A loss function is a formula: a tree over y, the target, and f, the prediction, with a weight φ on every edge. Genetic
programming finds the tree; gradients that go through a step of training find φ; a short training tells what a loss is
worth. The library does the same faster and for any model; `tests/test_from_scratch.py` holds one to the other.

Source: Raymond et al., "Learning Symbolic Model-Agnostic Loss Functions via Meta-Learning", 2023.
"""

import math
import random
import re

import torch
from torch.nn.functional import cross_entropy, mse_loss, one_hot

# 1. Formulas (Section 3.1.1, Table 1). A tree is a leaf such as "y", or a tuple such as ("mul", "y", "f").
# Operators are protected: none divides by zero, and no logarithm or root is taken of less than ε.
EPSILON = 1e-7
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (1 + b * b).sqrt(),
    "min": torch.minimum,
    "max": torch.maximum,
}
UNARY = {
    "sign": torch.sign,
    "square": torch.square,
    "abs": torch.abs,
    "log": lambda a: (a.abs() + EPSILON).log(),
    "sqrt": lambda a: (a.abs() + EPSILON).sqrt(),
    "tanh": torch.tanh,
}
OPERATORS = BINARY | UNARY
LEAVES = ("y", "f", "1", "-1")
EXCHANGEABLE = ("add", "mul", "min", "max")  # whose arguments may change places


def parse(text):
    """The tree that a text such as "abs(log(mul(y, f)))" spells."""
    tokens = re.findall(r"[(),]|[^\s(),]+", text)

    def node():
        symbol = tokens.pop(0)
        if symbol in LEAVES:
            return symbol
        arguments = []
        while tokens.pop(0) != ")":  # what is dropped is "(" or ","
            arguments.append(node())
        return (symbol, *arguments)

    return node()


def show(tree):
    """The text that `parse` reads."""
    return tree if isinstance(tree, str) else f"{tree[0]}({', '.join(map(show, tree[1:]))})"


def nodes(tree):
    """All subtrees in pre-order: each before its children."""
    return [tree, *(node for child in tree[1:] for node in nodes(child))] if isinstance(tree, tuple) else [tree]


def height(tree):
    """Edges on the longest path from the root to a leaf."""
    return 1 + max(map(height, tree[1:])) if isinstance(tree, tuple) else 0


def replaced(tree, number, subtree):
    """The tree with another subtree at the node of that number in pre-order."""
    if number == 0:
        return subtree
    children, number = [], number - 1
    for child in tree[1:]:
        size = len(nodes(child))
        children.append(replaced(child, number, subtree) if 0 <= number < size else child)
        number -= size
    return (tree[0], *children)


def canonical(tree):
    """The one spelling of trees that differ only in the order of exchangeable arguments."""
    if isinstance(tree, str):
        return tree
    children = [canonical(child) for child in tree[1:]]
    if tree[0] in EXCHANGEABLE:
        ranks = [*LEAVES, *OPERATORS]
        symbols = [[n if isinstance(n, str) else n[0] for n in nodes(child)] for child in children]
        order = sorted(range(2), key=lambda i: (len(symbols[i]), [ranks.index(s) for s in symbols[i]]))
        children = [children[i] for i in order]
    return (tree[0], *children)


# 2. From a tree to a loss (Section 3.2, Figure 3): every edge multiplies by its φ, in pre-order of the child.
def loss_value(tree, phi, outputs, targets):
    """M_φ: summed over classes or outputs, averaged over the batch."""
    if targets.is_floating_point():
        y, f = targets, outputs
    else:
        f = outputs.softmax(1)
        y = one_hot(targets, outputs.shape[1]).to(f)
    leaves = {"y": y, "f": f, "1": torch.ones_like(f), "-1": -torch.ones_like(f)}
    weights = iter(phi)

    def value(node):
        if isinstance(node, str):
            return leaves[node]
        return OPERATORS[node[0]](*[next(weights) * value(child) for child in node[1:]])

    return value(tree).sum(1).mean()


def task_loss(outputs, targets):
    """L_T, which the loss is learned for: what φ is tuned by."""
    return mse_loss(outputs, targets) if targets.is_floating_point() else cross_entropy(outputs, targets)


def metric(outputs, targets):
    """L_P, which counts in the end: the error rate, or the mean squared error."""
    if targets.is_floating_point():
        return float(mse_loss(outputs, targets))
    return float((outputs.argmax(1) != targets).double().mean())


# 3. Genetic programming (Section 3.1.2).
def grown(rng, least, most):
    """A random tree with all leaves at depths from `least` to `most`."""
    if most == 0:
        return rng.choice(LEAVES)
    symbol = rng.choice((*OPERATORS,) if least > 0 else (*OPERATORS, *LEAVES))
    if symbol in LEAVES:
        return symbol
    return (symbol, *(grown(rng, max(least - 1, 0), most - 1) for _ in range(2 if symbol in BINARY else 1)))


def repaired(tree, rng):
    """A loss needs y and f: where one is missing, a leaf gives way to an operator over both (Section 3.1.3)."""
    leaves = [i for i, node in enumerate(nodes(tree)) if isinstance(node, str)]
    if {"y", "f"} <= {nodes(tree)[i] for i in leaves}:
        return tree
    arguments = rng.sample(("y", "f"), 2)
    both = (rng.choice((*BINARY,)), *arguments)
    return replaced(tree, rng.choice(leaves), both)


def first_generation(rng, size):
    """Ramped half-and-half: depths 2 to 4 in turn, of each a full tree and one of uneven shape."""
    depths = [2 + i // 2 % 3 for i in range(size)]
    trees = [grown(rng, depth if i % 2 == 0 else 2, depth) for i, depth in enumerate(depths)]
    return [canonical(repaired(tree, rng)) for tree in trees]


def next_generation(rng, trees, fitness):
    """Elitism, then children by crossover (70 %), mutation (25 %) or reproduction of winners of tournaments of four."""

    def rank(i):
        return fitness[i], len(nodes(trees[i])), i

    def winner():
        return trees[min((rng.randrange(len(trees)) for _ in range(4)), key=rank)]

    def child():
        draw, parent = rng.random(), winner()
        size = len(nodes(parent))
        if draw < 0.70:
            donor = nodes(winner())
            place = rng.randrange(1, size) if size > 1 else 0
            made = replaced(parent, place, donor[rng.randrange(len(donor))])
        elif draw < 0.70 + 0.25:
            place, depth = rng.randrange(size), rng.randint(0, 2)
            made = replaced(parent, place, grown(rng, depth, depth))
        else:
            return parent
        made = canonical(repaired(made, rng))
        return made if height(made) <= 10 else parent

    elites = sorted(range(len(trees)), key=rank)[: max(1, round(0.05 * len(trees)))]
    return [trees[i] for i in elites] + [child() for _ in range(len(trees) - len(elites))]


# 4. Local search (Section 3.2, Algorithm 1): φ is trained through a step of the base model.
# A network is a function of its parameters θ, a list of tensors, and of inputs.
def meta_gradient(tree, phi, network, theta, train, valid, lr):
    """dL_T/dφ after one base step, by double backward (Equations 3 to 7)."""
    phi = phi.detach().requires_grad_()
    theta = [tensor.detach().requires_grad_() for tensor in theta]
    inner = loss_value(tree, phi, network(theta, train[0]), train[1])
    slopes = torch.autograd.grad(inner, theta, create_graph=True, materialize_grads=True)
    stepped = [tensor - lr * slope for tensor, slope in zip(theta, slopes, strict=True)]
    outer = task_loss(network(stepped, valid[0]), valid[1])
    return torch.autograd.grad(outer, phi, materialize_grads=True)[0]


def tuned(tree, phi, network, meta_steps, lr, meta_lr=1e-3):
    """φ after steps of Adam; each meta step brings fresh parameters, a training batch and a validation batch."""
    phi = phi.detach().clone()
    adam = torch.optim.Adam([phi], lr=meta_lr)
    for theta, train, valid in meta_steps:
        phi.grad = meta_gradient(tree, phi, network, theta, train, valid, lr)
        if not phi.grad.isfinite().all():
            break
        adam.step()
    return phi


# 5. Filters (Section 3.4): what can be told about a loss from the predictions of an untrained network alone.
def possible_improvement(tree, phi, outputs, targets, steps, lr=0.01):
    """Equations 8 and 9: the share of the possible improvement when predictions themselves are trained by a loss."""
    before = metric(outputs, targets)
    if before == 0:
        return math.inf
    moved = outputs.detach().clone().requires_grad_()
    adam = torch.optim.Adam([moved], lr=lr * max(1.0, float(outputs.std())))
    for _ in range(steps):
        adam.zero_grad()
        loss_value(tree, phi, moved, targets).backward()
        adam.step()
    return (before - metric(moved.detach(), targets)) / before


def signature(tree, phi, outputs, targets):
    """Equation 10: norms of each instance's gradient to two digits; equal ones mean that losses train alike."""
    outputs = outputs.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(loss_value(tree, phi, outputs, targets), outputs)
    return " ".join(f"{norm:.1e}" for norm in (len(slopes) * slopes.norm(dim=1)).tolist())


# 6. Training with a finished loss: of a candidate in part, which is its fitness, of the result in full.
def trained(tree, phi, network, theta, batches, lr):
    """θ after stochastic gradient descent (Equation 1)."""
    for x, y in batches:
        theta = [tensor.detach().requires_grad_() for tensor in theta]
        slopes = torch.autograd.grad(loss_value(tree, phi, network(theta, x), y), theta)
        theta = [tensor - lr * slope for tensor, slope in zip(theta, slopes, strict=True)]
    return [tensor.detach() for tensor in theta]


# 7. The search (Figure 1, Algorithm 2), on a toy task: points in the plane, three classes, one label in five wrong.
LR, THRESHOLD = 0.5, 0.6


def spirals(count, wrong, seed):
    """Three arms of a spiral."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    radius = torch.rand(count, generator=draw)
    angle = 2 * math.pi * y / 3 + 3 * radius + 0.15 * torch.randn(count, generator=draw)
    x = 2 * torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    other = (y + torch.randint(1, 3, (count,), generator=draw)) % 3
    return x, torch.where(torch.rand(count, generator=draw) < wrong, other, y)


def perceptron(theta, x):
    """Two inputs, one hidden layer, three classes."""
    return torch.tanh(x @ theta[0] + theta[1]) @ theta[2] + theta[3]


def fresh(seed, hidden=24):
    """Its parameters; the same for every loss (common random numbers)."""
    draw = torch.Generator().manual_seed(seed)
    shapes = (2, hidden), (1, hidden), (hidden, 3), (1, 3)
    return [torch.randn(shape, generator=draw) / math.sqrt(shape[0]) for shape in shapes]


def batches(data, count, seed, size=64):
    """So many random batches of some data."""
    draw = torch.Generator().manual_seed(seed)
    rows = [torch.randint(len(data[0]), (size,), generator=draw) for _ in range(count)]
    return [(data[0][row], data[1][row]) for row in rows]


def search(train, valid, size=8, generations=4, meta_steps=10, steps=100, seed=0):
    """The best (fitness, tree, φ) that was found."""
    rng, archive, seen = random.Random(seed), {}, {}
    outputs, targets = perceptron(fresh(99), train[0][:100]), train[1][:100]
    wider = 4 * torch.randn(outputs.shape, generator=torch.Generator().manual_seed(98))
    tuning = [
        (fresh(i), a, b)
        for i, (a, b) in enumerate(zip(batches(train, meta_steps, 1), batches(valid, meta_steps, 2), strict=True))
    ]

    def evaluated(tree):
        phi = 1 + 1e-3 * torch.randn(len(nodes(tree)) - 1, generator=torch.Generator().manual_seed(97))
        phi = tuned(tree, phi, perceptron, tuning, LR)
        if not possible_improvement(tree, phi, outputs, targets, steps=200) >= THRESHOLD:
            return math.inf, tree, phi  # rejected: it would train nothing
        key = signature(tree, phi, outputs, targets) + signature(tree, phi, wider, targets)
        if key not in seen:
            theta = trained(tree, phi, perceptron, fresh(0), batches(train, steps, 3), LR)
            value = metric(perceptron(theta, valid[0]), valid[1])
            seen[key] = value if all(tensor.isfinite().all() for tensor in theta) else math.inf
        return seen[key], tree, phi

    trees = first_generation(rng, size)
    for generation in range(generations):
        for tree in trees:
            if tree not in archive:
                archive[tree] = evaluated(tree)
        best = min(archive.values(), key=lambda known: (known[0], len(nodes(known[1]))))
        print(f"generation {generation}: {len(archive)} losses, the best has error {best[0]:.3f}: {show(best[1])}")
        trees = next_generation(rng, trees, [archive[tree][0] for tree in trees])
    return best


def main():
    """Learn a loss; then train fresh networks with it and with cross-entropy, each at its own best learning rate."""
    train, valid, test = spirals(400, 0.2, 0), spirals(400, 0.2, 1), spirals(2000, 0.0, 2)
    _, tree, phi = search(train, valid)
    usual = parse("mul(y, log(f))"), torch.tensor([-1.0, 1.0, 1.0])  # cross-entropy, -y·log(f), as a formula
    for name, loss in (("learned", (tree, phi)), ("cross-entropy", usual)):
        tried = []
        for lr in (0.2, 0.5, 1.0, 2.0):
            thetas = [trained(*loss, perceptron, fresh(s), batches(train, 300, s), lr) for s in range(1000, 1003)]
            chosen_by, tells = (sum(metric(perceptron(t, x), y) for t in thetas) / 3 for x, y in (valid, test))
            tried.append((chosen_by, lr, tells))
        print("{}: test error {:.3f} at learning rate {}".format(name, *reversed(min(tried)[1:])))


if __name__ == "__main__":
    main()
