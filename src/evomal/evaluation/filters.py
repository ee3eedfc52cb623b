"""The inner filters: rejection of poor training dynamics (D8) and gradient equivalence (D9)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evomal.config import FilterSettings
from evomal.foundation.errors import EvomalError
from evomal.foundation.seeds import derive, generator, seeded
from evomal.local_search.endings import require_finite
from evomal.losses.criterion import STAGES, Criterion, LossFunction, told_progress
from evomal.losses.preparing import TaskType, full_precision
from evomal.losses.slopes import slope
from evomal.tasks import Metric, Task
from evomal.tasks.kinds import perfect_outputs
from evomal.tasks.sampling import strata
from evomal.training import one_thread

WIDER = 4.0  # standard deviation of the logits beside the near-uniform ones of an untrained network


@dataclass(frozen=True, slots=True)
class FilterProbe:
    """Predictions of an untrained network that both filters look at; the same for all candidates of a run (D3).

    Args:
        predictions: Outputs for B random training instances, [B, C, ...].
        wider: Random outputs of the same shape, far from uniform.
        targets: The instances' targets.
        before: Metric of `predictions`.
        perfect: Metric of perfect predictions.
        metric: The task's metric.
        task_type: Classification or regression.
    """

    predictions: Tensor
    wider: Tensor
    targets: Tensor
    before: float
    perfect: float
    metric: Metric
    task_type: TaskType

    @property
    def classes(self) -> int:
        """Classes that the outputs stand for: one logit stands for two."""
        if self.predictions.dim() == 1 or self.task_type == "multilabel":  # a label and its absence
            return 2
        return max(2, self.predictions.shape[1])

    @property
    def possible(self) -> float:
        """By how much the metric can improve."""
        return self.before - self.perfect

    def share(self, predictions: Tensor) -> float:
        """The share of the possible improvement that other predictions reach."""
        return (self.before - float(self.metric(predictions, self.targets))) / self.possible

    def rate(self, settings: FilterSettings) -> float:
        """Adam's rate on the predictions, in keeping with how far they lie apart (D8)."""
        spread = float(self.predictions.std()) if self.predictions.numel() > 1 else 0.0
        return settings.rejection_lr * max(1.0, spread)


def make_probe(task: Task, instances: int, seed: int) -> FilterProbe:
    """Predictions for the filters of a run: one untrained network, B random training instances that have a label."""
    order = torch.randperm(len(task.train), generator=generator(seed, task.key, "filter", "instances"))
    if task.train.counted is not None:
        order = order[task.train.counted[order]]
    try:
        return _probe_of(task, order[:instances], seed)
    except EvomalError:  # a metric may ask for every class
        return _probe_of(task, _every_class_first(task, order)[:instances], seed)


def _every_class_first(task: Task, order: Tensor) -> Tensor:
    """The same instances, one of each class in front; classes in the order in which they come up."""
    labels = strata(task.train.y) if task.task_type == "classification" else None
    if labels is None:
        return order
    seen: dict[int, int] = {}
    for place, label in enumerate(labels.cpu()[order].tolist()):
        seen.setdefault(label, place)
    front = torch.tensor(list(seen.values()))
    rest = torch.ones(len(order), dtype=torch.bool)
    rest[front] = False
    return torch.cat([order[front], order[rest]])


def _probe_of(task: Task, rows: Tensor, seed: int) -> FilterProbe:
    x, targets = task.train.take(rows)
    model = task.make_model(derive(seed, task.key, "filter", "init")).eval()
    noise = derive(seed, task.key, "filter", "noise")
    with one_thread(), seeded(noise), torch.no_grad():
        # In half precision Adam's ε is 0 and small steps are lost.
        predictions = full_precision(model(x))
    wider = torch.randn(predictions.shape, generator=generator(seed, task.key, "filter", "wider"))
    perfect = perfect_outputs(predictions, targets, task.task_type)
    return FilterProbe(
        predictions,
        (WIDER * wider).to(predictions),
        targets,
        float(task.metric(predictions, targets)),
        float(task.metric(perfect, targets)),
        task.metric,
        task.task_type,
    )


def improvement(loss: LossFunction, probe: FilterProbe, settings: FilterSettings) -> float:
    r"""How far minimising a loss improves the metric of the predictions themselves (Equations 8 and 9; D8).

    :math:`(\mathcal{L}_P(\hat y) - \mathcal{L}_P(\hat y^*)) / (\mathcal{L}_P(\hat y) - \mathcal{L}_P(y))` where
    :math:`\hat y^* = \arg\min_{\hat y}\mathcal{M}_\phi(y, \hat y)` by Adam directly on the predictions: the share of
    the possible improvement, 1 being perfect. It is infinite where nothing can be improved, so that such a task passes.
    A loss that looks at its progress sees that of Adam's steps.

    Args:
        loss: The candidate.
        probe: Predictions, targets and metric.
        settings: Adam's steps and rate.

    Raises:
        NotFiniteError: The loss or its gradient at the predictions is not finite.

    Source:
        Raymond et al., 2023, Section 3.4.2.
    """
    if probe.possible <= 0:
        return math.inf
    predictions = probe.predictions.clone()
    optimizer = torch.optim.Adam([predictions], lr=probe.rate(settings))
    with told_progress(loss) as tell:
        for step in range(settings.rejection_steps):
            tell(step / settings.rejection_steps)
            value, gradient = slope(loss, predictions, probe.targets)
            require_finite(value, gradient)
            if step == 0 and not gradient.any().item() and not sees_progress(loss):
                return 0.0  # Adam never moves
            predictions.grad = gradient
            optimizer.step()
    return probe.share(predictions)


def passes(score: float, task_type: TaskType, settings: FilterSettings) -> bool:
    """Whether an improvement is enough: the threshold for classification, anything positive for regression."""
    return score >= settings.rejection_threshold if task_type != "regression" else score > 0


def gradient_signature(loss: LossFunction, probe: FilterProbe, directed: bool = False) -> str:
    r"""What gradient-equivalent losses share: their gradient norms per instance, to two significant digits (D9).

    :math:`\{\|\nabla_{\hat y_b}\mathcal{M}_\phi\|_2\}_{b=1}^B` (Equation 10) at the untrained predictions and at wider
    ones, since near-uniform predictions alone call very different losses equal. Of a loss that looks at its progress,
    those at the beginning, in the middle and at the end of a training, unless all are the same.

    Args:
        loss: The candidate, with reduction ``mean``.
        probe: Predictions and targets.
        directed: Tell losses apart that lead in opposite directions; see `signed_norms`.

    Returns:
        A text that is equal for equivalent losses.

    Raises:
        NotFiniteError: The loss or its gradient is not finite.
    """
    found = []
    with told_progress(loss) as tell:
        for share in STAGES if sees_progress(loss) else (1.0,):
            tell(share)
            parts = []
            for outputs in (probe.predictions, probe.wider):
                value, gradient = slope(loss, outputs, probe.targets)
                require_finite(value, gradient)
                norms = signed_norms(gradient, outputs, probe, directed)
                parts += norm_texts((len(norms) * norms).tolist())
            found.append(" ".join(parts))
    return of_stages(found)


def signed_norms(slopes: Tensor, outputs: Tensor, probe: FilterProbe, directed: bool) -> Tensor:
    r"""The length of :math:`\nabla_{\hat y_b}\mathcal{M}_\phi` for every instance.

    A loss and its negative have gradients of one length. Only one of them passes the rejection filter, which comes
    before; where it lets everything pass, a length is negative if the way down the slope leads away from the target.

    Args:
        slopes: Of one loss [B, C, ...], or of several [N, B, C, ...].
        outputs: Where they were taken, [B, C, ...].
        probe: The targets.
        directed: Whether there are negative lengths.

    Returns:
        Lengths, [B] or [N, B].
    """
    first = slopes.dim() - outputs.dim() + 1  # the first dimension that is one of an instance
    norms = slopes.flatten(first).norm(dim=first) if slopes.dim() > first else slopes.abs()
    if not directed:
        return norms
    rising = slopes * (perfect_outputs(outputs, probe.targets, probe.task_type) - outputs)
    away = (rising.flatten(first).sum(first) if rising.dim() > first else rising) > 0
    return torch.where(away, -norms, norms)


def all_pass(settings: FilterSettings, probes: Sequence[FilterProbe]) -> bool:
    """Whether the rejection filter holds nothing back: it is off, or no task has anything to improve."""
    return not settings.rejection or all(probe.possible <= 0 for probe in probes)


def sees_progress(loss: LossFunction) -> bool:
    """Whether a loss changes over a training."""
    return isinstance(loss, Criterion) and loss.sees_progress


def of_stages(texts: Sequence[str]) -> str:
    """One signature of those at several stages of a training; the only one, if they are the same.

    Example:
        >>> of_stages(["1.0", "1.0", "1.0"]), of_stages(["1.0", "2.0", "2.0"])
        ('1.0', '1.0 | 2.0 | 2.0')
    """
    return texts[0] if len(set(texts)) == 1 else " | ".join(texts)


def norm_texts(norms: Sequence[float]) -> list[str]:
    """Gradient norms to two significant digits."""
    return [f"{norm:.1e}" for norm in norms]
