"""The formulas of handcrafted losses, first those of classification, at the end those of regression.

Classification: of logits z [B, C, ...] and one-hot or soft labels y of that shape; each gives [B, ...]. A loss that its
paper defines for single labels is, for soft labels, the expectation over them; of LDAM's margins the label's share
counts. A logit of -inf takes a class out of the softmax; that costs nothing where it is no target. Regression: of
predictions f and targets y of one shape, by value.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

LOG_OF_ZERO = 1e-4  # what a label of 0 counts as in reverse cross-entropy (Wang et al., 2019)
SMALLEST = 1e-8  # probability whose logarithm is taken
LOWEST = -1e6  # a logit below has no share in a tempered softmax
ITERATIONS = 20  # of the fixed point of the tempered softmax; each gains about a digit for temperatures up to 2


def log_probabilities(outputs: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities; 0 where a class is out of the question (a logit of -inf) and no target: 0·log 0 is 0."""
    log_p = functional.log_softmax(outputs, dim=1)
    return log_p.masked_fill((targets == 0) & log_p.isneginf(), 0.0)


def _power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent, base ≥ 0; where it vanishes a root has no slope, as infinity times a factor 0 is no number."""
    if 0 < exponent < 1:
        base = base.clamp(min=torch.finfo(base.dtype).tiny)
    return base**exponent


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """-Σ y log p."""
    return -(log_probabilities(outputs, targets) * targets).sum(dim=1)


def label_smoothed(outputs: Tensor, targets: Tensor, *, smoothing: float) -> Tensor:
    """Cross-entropy with labels (1 - ε)·y + ε/C (Szegedy et al., 2016)."""
    return functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=smoothing)


def focal(outputs: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """-Σ y (1 - p)^γ log p (Lin et al., 2017)."""
    log_p = log_probabilities(outputs, targets)
    return (targets * _power(torch.expm1(log_p).neg(), gamma) * -log_p).sum(dim=1)


def poly1(outputs: Tensor, targets: Tensor, *, epsilon: float) -> Tensor:
    """Σ y (-log p + ε(1 - p)) (Leng et al., 2022, Poly-1)."""
    log_p = log_probabilities(outputs, targets)
    return (targets * (epsilon * torch.expm1(log_p).neg() - log_p)).sum(dim=1)


# Labels that are wrong.


def generalised(outputs: Tensor, targets: Tensor, *, q: float) -> Tensor:
    """Σ y (1 - p^q)/q (Zhang and Sabuncu, 2018, Equation 6); p^q by way of log p, so that the slope stays finite."""
    log_p = log_probabilities(outputs, targets)
    return (targets * torch.expm1(q * log_p).neg() / q).sum(dim=1)


def _of_true_class(value: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def of(outputs: Tensor, targets: Tensor) -> Tensor:
        return (targets * value(log_probabilities(outputs, targets).exp())).sum(dim=1)

    return of


def _reverse(outputs: Tensor, targets: Tensor) -> Tensor:
    """-Σ p log y, where log 0 is log 1e-4: that is 4·log 10·(1 - p) for a single label."""
    p = functional.softmax(outputs, dim=1)
    return -(p * targets.clamp(LOG_OF_ZERO, 1.0).log()).sum(dim=1)


def symmetric(outputs: Tensor, targets: Tensor, *, alpha: float, beta: float) -> Tensor:
    """α·CE + β·RCE (Wang et al., 2019, Equation 7)."""
    return alpha * cross_entropy(outputs, targets) + beta * _reverse(outputs, targets)


def _normalised(outputs: Tensor, targets: Tensor) -> Tensor:
    """NCE = Σ y log p / Σ log p (Ma et al., 2020, Equation 4); classes that are out of the question have no part."""
    log_p = functional.log_softmax(outputs, dim=1)
    log_p = log_p.masked_fill(log_p.isneginf(), 0.0)
    total = log_p.sum(dim=1, keepdim=True)
    return (targets * log_p / total.clamp(max=-torch.finfo(outputs.dtype).tiny)).sum(dim=1)


def normalised_reverse(outputs: Tensor, targets: Tensor, *, alpha: float, beta: float) -> Tensor:
    """α·NCE + β·RCE (Ma et al., 2020)."""
    return alpha * _normalised(outputs, targets) + beta * _reverse(outputs, targets)


def normalised_agce(outputs: Tensor, targets: Tensor, *, alpha: float, beta: float, a: float, q: float) -> Tensor:
    """α·NCE + β·AGCE, AGCE = Σ y ((a + 1)^q - (a + p)^q)/q (Zhou et al., 2021)."""
    agce = _of_true_class(lambda p: ((a + 1) ** q - (a + p) ** q) / q)
    return alpha * _normalised(outputs, targets) + beta * agce(outputs, targets)


def normalised_aul(outputs: Tensor, targets: Tensor, *, alpha: float, beta: float, a: float, q: float) -> Tensor:
    """α·NCE + β·AUL, AUL = Σ y ((a - p)^q - (a - 1)^q)/q (Zhou et al., 2021)."""
    aul = _of_true_class(lambda p: (_power(a - p, q) - (a - 1) ** q) / q)
    return alpha * _normalised(outputs, targets) + beta * aul(outputs, targets)


def normalised_ael(outputs: Tensor, targets: Tensor, *, alpha: float, beta: float, a: float) -> Tensor:
    """α·NCE + β·AEL, AEL = Σ y e^(-p/a) (Zhou et al., 2021)."""
    ael = _of_true_class(lambda p: (-p / a).exp())
    return alpha * _normalised(outputs, targets) + beta * ael(outputs, targets)


def noise_corrected(outputs: Tensor, targets: Tensor, *, rate: float) -> Tensor:
    """-Σ y log((1 - r - r/(C - 1))·p + r/(C - 1)): likelihood if a share r is wrong (Patrini et al., 2017)."""
    if rate == 0:  # by way of log p, as p may be 0
        return cross_entropy(outputs, targets)
    others = rate / (outputs.shape[1] - 1)
    return _of_true_class(lambda p: -((1 - rate - others) * p + others).log())(outputs, targets)


def taylor(outputs: Tensor, targets: Tensor, *, order: float) -> Tensor:
    """Σ y Σ_{i ≤ t} (1 - p)^i/i, cross-entropy's Taylor series up to order t (Feng et al., 2020)."""
    return _of_true_class(lambda p: torch.stack([(1 - p) ** i / i for i in range(1, round(order) + 1)]).sum(0))(
        outputs, targets
    )


def bi_tempered(outputs: Tensor, targets: Tensor, *, t1: float, t2: float) -> Tensor:
    """Bregman divergence of the tempered logarithm (t₁) at the tempered softmax (t₂) (Amid et al., 2019)."""
    x = _tempered_log_softmax(outputs, t2)
    p = _tempered_exp(x, t2).clamp(min=torch.finfo(outputs.dtype).tiny)  # its roots have no slope at 0
    if t1 < 1:
        log_p = _tempered_log(p, t1)
    else:  # p may be 0 where its logarithm is finite
        log_p = x if t2 == 1 else torch.log1p((1 - t2) * x) / (1 - t2)
        log_p = log_p.masked_fill((targets == 0) & log_p.isneginf(), 0.0)
    log_terms = targets * (_tempered_log(targets.clamp(min=1e-10), t1) - log_p)
    power_terms = (targets ** (2 - t1) - p ** (2 - t1)) / (2 - t1)
    return (log_terms - power_terms).sum(dim=1)


def tempered_softmax(outputs: Tensor, t: float) -> Tensor:
    """exp_t(z - λ(z)), λ such that the sum is 1 (Amid et al., 2019); softmax for t = 1, heavier tails above.

    Args:
        outputs: Logits [B, C, ...].
        t: Temperature, 1 ≤ t ≤ 2.
    """
    return functional.softmax(outputs, dim=1) if t == 1 else _tempered_exp(_tempered_log_softmax(outputs, t), t)


def _tempered_log_softmax(outputs: Tensor, t: float) -> Tensor:
    """The logits minus λ, of which the tempered softmax is the tempered exponential."""
    if t == 1:
        return functional.log_softmax(outputs, dim=1)
    outputs = outputs.clamp(min=LOWEST)
    with torch.no_grad():  # the fixed point of the paper's Algorithm 1
        highest = outputs.amax(dim=1, keepdim=True)
        scaled = start = outputs - highest
        for _ in range(ITERATIONS):
            scaled = start * _tempered_exp(scaled, t).sum(dim=1, keepdim=True) ** (1 - t)
        normal = highest - _tempered_log(1 / _tempered_exp(scaled, t).sum(dim=1, keepdim=True), t)
        slope = (_tempered_exp(outputs - normal, t) ** t).sum(dim=1, keepdim=True)
    # A Newton step of which only the numerator sees the logits: it is ~0, and has the implicit function's derivative.
    normal = normal + (_tempered_exp(outputs - normal, t).sum(dim=1, keepdim=True) - 1) / slope
    return outputs - normal


def _tempered_exp(x: Tensor, t: float) -> Tensor:
    return x.exp() if t == 1 else (1 + (1 - t) * x).clamp(min=0) ** (1 / (1 - t))


def _tempered_log(x: Tensor, t: float) -> Tensor:
    return x.log() if t == 1 else (x ** (1 - t) - 1) / (1 - t)


# Classes that are rare. Counts are numbers of training labels [C]; a class without any counts as if it had one.


def along_classes(numbers: Tensor, outputs: Tensor) -> Tensor:
    """A number for each class, in the shape of outputs [B, C, ...]."""
    return numbers.reshape(-1, *[1] * (outputs.dim() - 2))


def _weighted(outputs: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    return -(log_probabilities(outputs, targets) * targets * along_classes(weight, outputs)).sum(dim=1)


def class_weighted(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """-Σ w y log p, w inverse to the frequency; so weighted, the mean over training instances is 1."""
    counts = counts.to(outputs.dtype)
    return _weighted(outputs, targets, counts.sum() / (counts > 0).sum() / counts.clamp(min=1))


def class_balanced(outputs: Tensor, targets: Tensor, counts: Tensor, *, beta: float) -> Tensor:
    """-Σ w y log p, w_c ∝ (1 - β)/(1 - β^n_c), with sum C (Cui et al., 2019, Equation 2)."""
    counts = counts.to(outputs.dtype).clamp(min=1)
    weight = (1 - beta) / (1 - beta**counts)
    return _weighted(outputs, targets, weight * len(weight) / weight.sum())


def cost_weighted(outputs: Tensor, targets: Tensor, *, cost: float) -> Tensor:
    """-Σ w y log p, w = 1 for class 0 and the cost of missing it for all others (Elkan, 2001)."""
    weight = outputs.new_full((outputs.shape[1],), cost)
    weight[0] = 1.0
    return _weighted(outputs, targets, weight)


def logit_adjusted(outputs: Tensor, targets: Tensor, counts: Tensor, *, tau: float) -> Tensor:
    """Cross-entropy on z + τ·log π (Menon et al., 2021, Equation 10); balanced softmax (Ren et al., 2020) for τ = 1."""
    # The softmax does not see what all logits have in common, so that counts do as well as shares.
    prior = counts.clamp(min=1).to(outputs.dtype).log()
    return cross_entropy(outputs + tau * along_classes(prior, outputs), targets)


def vector_scaling(outputs: Tensor, targets: Tensor, counts: Tensor, *, gamma: float, tau: float) -> Tensor:
    """Cross-entropy on (n_c/n_max)^γ·z + τ·log π (Kini et al., 2021, the VS loss)."""
    counts = counts.clamp(min=1).to(outputs.dtype)
    scale, prior = (counts / counts.max()) ** gamma, counts.log()
    return cross_entropy(along_classes(scale, outputs) * outputs + tau * along_classes(prior, outputs), targets)


def margins(outputs: Tensor, targets: Tensor, counts: Tensor, *, largest: float, scale: float) -> Tensor:
    """Cross-entropy on s·(z - y·m), margins m_c ∝ n_c^(-1/4), at most `largest` (Cao et al., 2019, LDAM)."""
    margin = counts.clamp(min=1).to(outputs.dtype) ** -0.25
    margin = along_classes(margin * largest / margin.max(), outputs)
    return cross_entropy(scale * (outputs - targets * margin), targets)


# Several labels, any of which may be true. Each is a class of its own: logits [B, 2, C, ...] of its absence (0) and of
# itself, and targets of that shape.


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """-t log p - (1 - t) log(1 - p), p = σ(z)."""
    return cross_entropy(outputs, targets)


def binary_focal(outputs: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """-t (1 - p)^γ log p - (1 - t) p^γ log(1 - p) (Lin et al., 2017, Equation 4)."""
    return focal(outputs, targets, gamma=gamma)


def asymmetric(outputs: Tensor, targets: Tensor, *, gamma_true: float, gamma_false: float, margin: float) -> Tensor:
    """-t (1 - p)^γ+ log p - (1 - t) q^γ- log(1 - q), q = max(p - m, 0) (Ridnik et al., 2021, Equations 4 to 7)."""
    log_p = functional.log_softmax(outputs, dim=1)
    absent, p = log_p.exp().unbind(1)
    q = (p - margin).clamp(min=0)
    true = _power(absent, gamma_true) * log_p[:, 1]
    false = _power(q, gamma_false) * ((1 - q).clamp(min=SMALLEST).log() if margin else log_p[:, 0])
    return -(targets[:, 1] * true + targets[:, 0] * false)


def cauchy(f: Tensor, y: Tensor, *, c: float) -> Tensor:
    """c²/2·log(1 + (r/c)²), r = f - y (Black and Anandan, 1996)."""
    return c**2 / 2 * torch.log1p(((f - y) / c) ** 2)


def welsch(f: Tensor, y: Tensor, *, c: float) -> Tensor:
    """c²/2·(1 - exp(-(r/c)²)) (Dennis and Welsch, 1978)."""
    return c**2 / 2 * torch.expm1(-(((f - y) / c) ** 2)).neg()


def tukey(f: Tensor, y: Tensor, *, c: float) -> Tensor:
    """c²/6·(1 - (1 - (r/c)²)³) up to |r| = c, and c²/6 beyond (Beaton and Tukey, 1974)."""
    inside = (1 - ((f - y) / c) ** 2).clamp(min=0)
    return c**2 / 6 * (1 - inside**3)


def log_cosh(f: Tensor, y: Tensor) -> Tensor:
    """Log cosh r, computed so that it does not overflow."""
    size = (f - y).abs()
    return size + functional.softplus(-2 * size) - math.log(2)


def general(f: Tensor, y: Tensor, *, alpha: float, c: float) -> Tensor:
    """|α - 2|/α·(((r/c)²/|α - 2| + 1)^(α/2) - 1), with its limits at α = 2 and 0 (Barron, 2019, Equation 1)."""
    square = ((f - y) / c) ** 2
    if alpha == 2:
        return square / 2
    if alpha == 0:
        return torch.log1p(square / 2)
    distance = abs(alpha - 2)
    if abs(alpha) < 0.1:  # near the limit at 0 the power is nearly 1
        square = square.clamp(max=torch.finfo(square.dtype).max)
        return distance / alpha * torch.expm1(alpha / 2 * torch.log1p(square / distance))
    return distance / alpha * ((square / distance + 1) ** (alpha / 2) - 1)


def quantile(f: Tensor, y: Tensor, *, q: float) -> Tensor:
    """max(q·(y - f), (q - 1)·(y - f)): the q-quantile is its minimum (Koenker and Bassett, 1978)."""
    return torch.maximum(q * (y - f), (q - 1) * (y - f))


def relative(f: Tensor, y: Tensor, *, zero: float, least: float) -> Tensor:
    """|r| / max(|y - z|, least): the error as a share of the target, where z is what stands for zero."""
    return (f - y).abs() / (y - zero).abs().clamp(min=least)
