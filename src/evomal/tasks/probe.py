"""One small batch through model, task loss and metric: misfits show before the search, not hours into it."""

import math

import torch
from torch import Tensor, nn

from evomal.foundation.contexts import recording
from evomal.foundation.errors import DataError, EvomalError, ModelError, SettingError, one_line
from evomal.foundation.seeds import seeded
from evomal.losses.criterion import IGNORED
from evomal.losses.preparing import full_precision
from evomal.tasks.inputs import Adapted, described, how_to_pick, require_taken
from evomal.tasks.kinds import require_minimised, require_side_by_side
from evomal.tasks.sampling import strata
from evomal.tasks.task import Task

INSTANCES = 8
LEAST = 5  # training instances; with fewer, any one of them decides
MOST_JUDGED = 10_000  # instances that a metric is tried on
DIRECTED = 256  # instances that show whether a metric is minimised
NUMBERS = "for numbers to predict, rather than classes, set task_loss='mse'"
MOST_CLASSES = 64  # that each have an instance among them
SHAPING = ("View", "Reshape", "Squeeze", "Unsqueeze", "Alias", "Clone", "ToCopy", "Permute", "Transpose", "Slice")


@recording()
def probe(task: Task) -> None:
    """Check that model, data, task loss and metric of a task fit each other.

    Args:
        task: The task; nothing of it is changed.

    Raises:
        DataError: There are too few training instances.
        ModelError: The model cannot be built or run, has nothing to train, or its outputs do not fit the
            targets.
        SettingError: The task loss or the metric does not give a finite number, or the metric is to be maximised.

    Example:
        >>> from evomal.tasks.task import Task
        >>> probe(Task(lambda: nn.Linear(3, 2), (torch.randn(40, 3), torch.arange(40) % 2)))
    """
    _check_enough(task)
    model = task.make_model(0)
    _check_fresh(task, model)
    if task.form is not None and isinstance(model, Adapted):
        require_taken(model.model, task.form, task.model_name)
    x, y = task.train.take(_sample(task))
    with seeded(0):
        outputs = _forward(task, model.train(), x)
        _check_outputs(task, outputs, x, y)
        _check_loss(task, model, outputs, y)
        with torch.no_grad():
            judged = _forward(task, model.eval(), x)
        _check_outputs(task, judged, x, y)
        _check_metric(task, model, judged, y)
        _check_direction(task, model)
        _check_optimizer(task, x, y)


def _sample(task: Task) -> Tensor:
    """Indices of a few instances spread over the training split, of which each counts, with one of each class."""
    counted, y = task.train.counted, task.train.y
    rows = torch.arange(len(task.train)) if counted is None else counted.nonzero()[:, 0]
    chosen = rows[:: max(1, len(rows) // INSTANCES)][:INSTANCES]
    labels = strata(y) if task.task_type == "classification" else None
    if labels is None:
        return chosen
    seen = labels.cpu()[rows]
    firsts = [rows[seen == label][:1] for label in seen.unique()[:MOST_CLASSES]]
    absent = [first for first in firsts if not bool((labels.cpu()[chosen] == labels.cpu()[first]).any())]
    return torch.cat([*absent, chosen])[: max(INSTANCES, len(firsts))]


def _check_enough(task: Task) -> None:
    y, counted = task.train.y, task.train.counted
    count = len(task.train) if y is None else len(y) if counted is None else int(counted.sum())
    count = max(count, 0 if y is None or y.is_floating_point() else int((y != IGNORED).sum()))  # pixels count too
    if count < LEAST:
        raise DataError(
            f"task '{task.name}' has {count} training instance{'s' * (count != 1)} with a target (beside "
            f"{len(task.valid)} for validation), on which no loss can be learned; give {LEAST} or more"
        )


def _check_fresh(task: Task, model: nn.Module) -> None:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise ModelError(f"model '{task.model_name}' has no trainable parameters; give it some for a loss to train")
    again = {id(parameter) for parameter in task.make_model(1).parameters()}
    if any(id(parameter) in again for parameter in trainable):
        raise ModelError(f"model '{task.model_name}' gives the same network twice; its factory must build a fresh one")


def _forward(task: Task, model: nn.Module, x: Tensor) -> Tensor:
    mode = "train" if model.training else "eval"
    try:
        outputs = model(x)
    except EvomalError:
        raise
    except Exception as error:
        raise ModelError(
            f"model '{task.model_name}' cannot be run in {mode} mode on {_of_shape(task, x)}: {one_line(error)}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise ModelError(
            f"model '{task.model_name}' gives {described(outputs)} for x {_shape(task, x)}; return one tensor of raw "
            f"outputs, or pick it by Task({how_to_pick(outputs)})"
        )
    return outputs


def _shape(task: Task, x: Tensor) -> str:
    return str(list(x.shape)) if task.form is None else f"of {len(x)} instances with {task.form}"


def _of_shape(task: Task, x: Tensor) -> str:
    return f"x of shape {list(x.shape)} ({x.dtype})" if task.form is None else f"x {_shape(task, x)}"


def _check_outputs(task: Task, outputs: Tensor, x: Tensor, y: Tensor) -> None:
    gives = f"model '{task.model_name}' gives outputs {list(outputs.shape)} for x {_shape(task, x)}"
    if not bool(torch.isfinite(outputs).all()):
        raise ModelError(f"{gives} that are not finite; check its initialisation and the scale of x")
    if outputs.dim() == 0 or len(outputs) != len(x):
        raise ModelError(f"{gives}; give one row of outputs for each instance")
    if task.task_type == "regression":
        if _two_dim(outputs) != _two_dim(y):
            raise ModelError(f"{gives}, but targets are {list(y.shape)}; give one output for each target")
        return
    _check_logits(task, outputs)
    if task.task_type == "multilabel":
        if outputs.shape != y.shape:
            raise ModelError(f"{gives}, but targets are {list(y.shape)}; give one logit for each label")
        return
    if outputs.dim() == 1 or outputs.shape[1] == 1:
        _check_one_output(task, gives, outputs, y)
    elif y.is_floating_point():
        if y.shape != outputs.shape:
            raise ModelError(
                f"{gives}, but targets are floats {list(y.shape)}; give class labels as integers, or soft "
                "labels in the shape of the outputs"
            )
    elif y.shape != outputs.shape[:1] + outputs.shape[2:]:
        last = y.dim() > 1 and y.shape == outputs.shape[:-1]
        move = "transpose(1, 2)" if outputs.dim() == 3 else "movedim(-1, 1)"
        advice = f"; bring the classes to the second place by Task(outputs=lambda out: out.{move})" if last else ""
        raise ModelError(f"{gives}, but labels are {list(y.shape)}; outputs [B, C, ...] need labels [B, ...]{advice}")
    elif task.classes is not None and task.classes > outputs.shape[1]:
        many = task.classes > len(task.train)
        advice = f"give the model at least {task.classes} outputs (number of classes)"
        raise ModelError(
            f"model '{task.model_name}' gives {outputs.shape[1]} outputs but data set '{task.dataset}' has "
            f"{task.greatest_label}; {NUMBERS if many else advice + ', or mend the label'}"
        )


def _check_one_output(task: Task, gives: str, outputs: Tensor, y: Tensor) -> None:
    if _squeezed(outputs) != _squeezed(y):
        raise ModelError(f"{gives}, but targets are {list(y.shape)}; one output needs one target for each")
    if task.classes is not None and task.classes > 2:
        few = task.classes <= len(task.train)
        advice = f", for classes give the model {task.classes} outputs" if few else ""
        raise ModelError(
            f"model '{task.model_name}' gives 1 output, for two classes, but data set '{task.dataset}' has "
            f"{task.greatest_label}; {NUMBERS}{advice}"
        )


def _check_logits(task: Task, outputs: Tensor) -> None:
    """Refuse a model that ends in a softmax or a sigmoid: every loss here takes one itself, and two hardly learn."""
    node = outputs.grad_fn
    while node is not None and node.name().removeprefix("Unsafe").startswith(SHAPING) and node.next_functions:
        node = node.next_functions[0][0]
    last = "" if node is None else node.name()
    sums = outputs.detach().float()
    ends = "softmax" if last.startswith("Softmax") or _are_probabilities(sums) else None
    ends = "sigmoid" if last.startswith("Sigmoid") else ends
    if ends is not None:
        raise ModelError(
            f"model '{task.model_name}' ends in a {ends}, so that its outputs are probabilities, but losses take them "
            f"for logits; leave the {ends} out (task losses for logits: cross_entropy, torch.nn.BCEWithLogitsLoss())"
        )


def _are_probabilities(values: Tensor) -> bool:
    if values.dim() < 2 or values.shape[1] < 2 or bool((values < 0).any()):
        return False
    return bool(((values.sum(1) - 1).abs() < 1e-3).all())


def _squeezed(values: Tensor) -> torch.Size:
    return values.squeeze(1).shape if values.dim() > 1 and values.shape[1] == 1 else values.shape


def _two_dim(values: Tensor) -> tuple[int, ...]:
    return tuple(values.shape) if values.dim() > 1 else (len(values), 1)


def _check_loss(task: Task, model: nn.Module, outputs: Tensor, y: Tensor) -> None:
    called = f"task loss '{task.task_loss_name}' on outputs {list(outputs.shape)} and targets {list(y.shape)}"
    try:
        loss = task.task_loss(outputs, y)
    except EvomalError:
        raise
    except Exception as error:
        raise SettingError(f"{called} fails: {one_line(error)}{_remedy(task, outputs, y)}") from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise SettingError(f"{called} gives {got}; return a scalar tensor, such as a mean over the batch")
    if not bool(torch.isfinite(loss)):
        raise SettingError(f"{called} gives {loss.item()}; it must be finite for an untrained network")
    if not loss.requires_grad:
        raise SettingError(f"{called} has no gradient; compute it with differentiable torch operations")
    require_side_by_side(task.task_loss, f"task loss '{task.task_loss_name}'", outputs, y, task.task_type)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss.reshape(()), trainable, allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    if not reached:
        raise ModelError(f"no parameter of model '{task.model_name}' takes part in {called}; check for .detach()")
    _check_dense(task, model, reached)
    if not all(bool(torch.isfinite(gradient).all()) for gradient in reached):
        raise ModelError(f"gradients of {called} for model '{task.model_name}' are not finite; check both at the start")


def _remedy(task: Task, outputs: Tensor, y: Tensor) -> str:
    """What to do about a task loss that fails, where it would not on targets like the outputs."""
    if y.numel() != outputs.numel():
        return ""
    try:
        task.task_loss(outputs, y.to(outputs.dtype).reshape(outputs.shape))
    except Exception:
        return ""
    return f"; give targets as floats of shape [{', '.join(['N', *map(str, outputs.shape[1:])])}]"


def _check_dense(task: Task, model: nn.Module, gradients: list[Tensor]) -> None:
    """Sparse gradients cannot be differentiated again, nor computed for many losses at once."""
    if all(gradient.layout == torch.strided for gradient in gradients):
        return
    layers = (f"{type(layer).__name__} '{name}'" for name, layer in model.named_modules() if vars(layer).get("sparse"))
    raise ModelError(
        f"gradients of model '{task.model_name}' are sparse ({', '.join(layers) or 'of a layer of its own'}), through "
        "which no loss can be learned; set sparse=False in its embeddings"
    )


def _check_metric(task: Task, model: nn.Module, outputs: Tensor, y: Tensor) -> None:
    """Try the metric on a few instances; where it is not defined on so few, on the split that it will judge."""
    require_side_by_side(task.metric, f"metric '{task.metric.name}'", outputs, y, task.task_type)
    try:
        _require_value(task, outputs, y)
    except EvomalError as first:
        x, y = task.valid.take(torch.arange(min(len(task.valid), MOST_JUDGED)))
        with torch.no_grad():
            outputs = torch.cat([_forward(task, model, part) for part in x.split(MOST_CLASSES)])
        try:
            _require_value(task, full_precision(outputs), y)
        except EvomalError:
            raise first from None


def _check_direction(task: Task, model: nn.Module) -> None:
    """Look whether smaller is better, on some of what the metric will judge; where that shows nothing, on more."""
    for split, first in ((task.valid, torch.arange(0)), (task.train, _sample(task))):
        spread = torch.linspace(0, len(split) - 1, min(len(split), DIRECTED)).long()
        x, y = split.take(torch.cat([first, spread]))
        with torch.no_grad():
            outputs = full_precision(torch.cat([_forward(task, model, part) for part in x.split(MOST_CLASSES)]))
        if bool(outputs.isfinite().all()) and require_minimised(task.metric, outputs, y, task.task_type):
            return


def _require_value(task: Task, outputs: Tensor, y: Tensor) -> None:
    called = f"metric '{task.metric.name}' on outputs {list(outputs.shape)} and targets {list(y.shape)}"
    try:
        value = float(task.metric(outputs, y))
    except EvomalError:
        raise
    except Exception as error:
        raise SettingError(f"{called} fails: {one_line(error)}") from error
    if not math.isfinite(value):
        raise SettingError(f"{called} gives {value}; it must be a finite number")


def _check_optimizer(task: Task, x: Tensor, y: Tensor) -> None:
    """Take one step with what the task brings of its own, as a search would."""
    model = task.make_model(0)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, 0.01) if task.own.optimizer is None else task.own.make(parameters, 0.01)
    scheduler = None if task.own.schedule is None else task.own.scheduler(optimizer, INSTANCES)
    if task.own.optimizer is None and scheduler is None:
        return
    task.task_loss(_forward(task, model, x), y).backward()
    try:
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    except Exception as error:
        raise SettingError(
            f"a step of the task's {type(optimizer).__name__} fails: {one_line(error)}; use an optimiser whose step() "
            "needs no more than gradients"
        ) from error
