"""The table of handcrafted losses: name, formula, parameters with their papers' defaults, and what each is for."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from torch import Tensor
from torch.nn import functional

from evomal.losses import handcrafted_formulas as formulas
from evomal.losses.handcrafted_entries import HandcraftedEntry, HandcraftedTable, Parameter, split_name
from evomal.losses.preparing import TaskType

USUAL: Mapping[TaskType, str] = MappingProxyType(
    {"classification": "cross_entropy", "regression": "mse", "multilabel": "binary_cross_entropy"}
)
"""The loss that everybody takes for a kind of task."""


def full_name(text: str) -> str:
    """One spelling for each loss: parameters in the table's order, those at their defaults left out.

    Example:
        >>> full_name("symmetric_cross_entropy(beta=0.1, alpha=6)"), full_name("focal(gamma=2.0)")
        ('symmetric_cross_entropy(alpha=6,beta=0.1)', 'focal')
    """
    name, given = split_name(text)
    parameters = HANDCRAFTED[name].parameters
    shown = [f"{k}={given[k]:.9g}" for k, p in parameters.items() if k in given and given[k] != p.default]
    return f"{name}({','.join(shown)})" if shown else name


def _of_outputs(function: Callable[..., Tensor], summary: str, suits: str, **parameters: Parameter) -> HandcraftedEntry:
    """The row of a loss that looks at each output alone."""

    def per_instance(outputs: Tensor, targets: Tensor, **given: float) -> Tensor:
        return function(outputs, targets, **given).mean(dim=1)  # as PyTorch: over outputs as well as over the batch

    return HandcraftedEntry("regression", per_instance, summary, suits, parameters, per_output=function)


def _of_classes(
    function: Callable[..., Tensor], summary: str, suits: str, counts: bool = False, /, **parameters: Parameter
) -> HandcraftedEntry:
    return HandcraftedEntry("classification", function, summary, suits, parameters, counts)


def _torch(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def per_output(outputs: Tensor, targets: Tensor, **given: float) -> Tensor:
        return function(outputs, targets, reduction="none", **given)

    return per_output


_HABIT, _SURE, _NOISE = "the habit", "overconfidence", "wrong labels"
_RARE, _COSTS, _TAILS, _OTHER = "rare classes", "uneven costs", "heavy-tailed targets", "other measures"
_SHARE = {"alpha": Parameter(1, 0, 1e3), "beta": Parameter(4, 0, 1e3, (1,))}

HANDCRAFTED = HandcraftedTable(
    {
        "cross_entropy": _of_classes(formulas.cross_entropy, "cross-entropy on logits", _HABIT),
        "label_smoothed_cross_entropy": _of_classes(
            formulas.label_smoothed,
            "cross-entropy, label smoothing ε = 0.1",
            _SURE,
            smoothing=Parameter(0.1, 0, 1, (0.05, 0.2, 0.4)),
        ),
        "class_weighted_cross_entropy": _of_classes(
            formulas.class_weighted, "cross-entropy, classes weighted by inverse frequency", _RARE, True
        ),
        "logit_adjusted_cross_entropy": _of_classes(
            formulas.logit_adjusted,
            "cross-entropy, logits plus τ·log prior, τ = 1",
            _RARE,
            True,
            tau=Parameter(1, 0, 10, (0.5, 1.5, 2)),
        ),
        "balanced_softmax": _of_classes(
            partial(formulas.logit_adjusted, tau=1.0), "logit adjustment with τ = 1, under its other name", _RARE, True
        ),
        "focal": _of_classes(
            formulas.focal,
            "focal loss, γ = 2",
            "too many easy instances",
            gamma=Parameter(2, 0, 20, (0.5, 1, 3, 5)),
        ),
        "generalised_cross_entropy": _of_classes(
            formulas.generalised,
            "generalised cross-entropy, q = 0.7",
            _NOISE,
            q=Parameter(0.7, 1e-3, 1, (0.2, 0.4, 0.9)),
        ),
        "symmetric_cross_entropy": _of_classes(
            formulas.symmetric,
            "0.1·cross-entropy + 1·reverse cross-entropy",
            _NOISE,
            alpha=Parameter(0.1, 0, 1e3, (0.01, 0.5, 2)),
            beta=Parameter(1, 0, 1e3),
        ),
        "normalised_reverse_cross_entropy": _of_classes(
            formulas.normalised_reverse,
            "normalised + reverse cross-entropy (NCE + RCE)",
            _NOISE,
            alpha=Parameter(1, 0, 1e3, (10,)),
            beta=Parameter(1, 0, 1e3, (0.1,)),
        ),
        "normalised_agce": _of_classes(
            formulas.normalised_agce,
            "normalised cross-entropy + 4·AGCE, a = 6, q = 1.5",
            _NOISE,
            **_SHARE,
            a=Parameter(6, 1e-3, 1e3, (1.8,)),
            q=Parameter(1.5, 1e-3, 10, (0.6, 3)),
        ),
        "normalised_aul": _of_classes(
            formulas.normalised_aul,
            "normalised cross-entropy + 4·AUL, a = 6.3, q = 1.5",
            _NOISE,
            **_SHARE,
            a=Parameter(6.3, 1, 1e3, (3,)),
            q=Parameter(1.5, 1e-3, 10, (0.1, 3)),
        ),
        "normalised_ael": _of_classes(
            formulas.normalised_ael,
            "normalised cross-entropy + 4·AEL, a = 5",
            _NOISE,
            **_SHARE,
            a=Parameter(5, 1e-2, 1e3, (1.5, 3)),
        ),
        "noise_corrected_cross_entropy": _of_classes(
            formulas.noise_corrected,
            "cross-entropy of labels of which a share r = 0.2 is wrong",
            _NOISE,
            rate=Parameter(0.2, 0, 0.49, (0.1, 0.3, 0.4)),
        ),
        "taylor_cross_entropy": _of_classes(
            formulas.taylor, "cross-entropy's Taylor series, two terms", _NOISE, order=Parameter(2, 1, 50, (4, 8), True)
        ),
        "bi_tempered_logistic": _of_classes(
            formulas.bi_tempered,
            "bi-tempered logistic loss, t₁ = 0.8, t₂ = 1.2",
            _NOISE,
            t1=Parameter(0.8, 0, 1, (0.5,)),
            t2=Parameter(1.2, 1, 2, (1.4, 2)),
        ),
        "poly1_cross_entropy": _of_classes(
            formulas.poly1,
            "cross-entropy + ε(1 - p), ε = 2 (Poly-1)",
            _OTHER,
            epsilon=Parameter(2, -1, 100, (-0.5, 0.7, 6, 18)),
        ),
        "vector_scaling": _of_classes(
            formulas.vector_scaling,
            "cross-entropy, logits scaled by (n/n_max)^γ, plus τ·log prior (VS loss)",
            _RARE,
            True,
            gamma=Parameter(0.3, 0, 2, (0.15,)),
            tau=Parameter(1, 0, 10, (0.5, 1.5)),
        ),
        "ldam": _of_classes(
            formulas.margins,
            "cross-entropy with margins ∝ n^(-1/4), at most 0.5, logits times 30 (LDAM)",
            _RARE,
            True,
            largest=Parameter(0.5, 0, 100, (0.2,)),
            scale=Parameter(30, 1e-3, 1e3, (1, 5)),
        ),
        "class_balanced_cross_entropy": _of_classes(
            formulas.class_balanced,
            "cross-entropy, weights by the effective number of instances, β = 0.9999",
            _RARE,
            True,
            beta=Parameter(0.9999, 0, 0.9999999, (0.999, 0.99)),
        ),
        "cost_weighted_cross_entropy": _of_classes(
            formulas.cost_weighted,
            "cross-entropy, all classes but 0 weighted by the cost of missing them, 5",
            _COSTS,
            cost=Parameter(5, 1e-3, 1e4, (2, 10, 20)),
        ),
        "binary_cross_entropy": HandcraftedEntry(
            "multilabel", formulas.binary_cross_entropy, "binary cross-entropy, label by label", _HABIT
        ),
        "binary_focal": HandcraftedEntry(
            "multilabel",
            formulas.binary_focal,
            "(1 - p)^γ times binary cross-entropy, label by label, γ = 2",
            _OTHER,
            MappingProxyType({"gamma": Parameter(2, 0, 20, (0.5, 1, 3, 5))}),
        ),
        "asymmetric": HandcraftedEntry(
            "multilabel",
            formulas.asymmetric,
            "focal in labels that are true, γ+ = 0, and in those that are not, γ- = 4, where small p count as 0",
            "labels that are rarely true",
            MappingProxyType(
                {
                    "gamma_true": Parameter(0, 0, 20, (1,)),
                    "gamma_false": Parameter(4, 0, 20, (2, 6)),
                    "margin": Parameter(0.05, 0, 0.5, (0.2,)),
                }
            ),
        ),
        "mse": _of_outputs(_torch(functional.mse_loss), "mean squared error", _HABIT),
        "mae": _of_outputs(_torch(functional.l1_loss), "mean absolute error", _TAILS),
        "huber": _of_outputs(
            _torch(functional.huber_loss), "Huber loss, δ = 1", _TAILS, delta=Parameter(1, 1e-3, 1e3, (0.1, 0.3))
        ),
        "cauchy": _of_outputs(
            formulas.cauchy, "log(1 + (r/c)²), c = 2.385", _TAILS, c=Parameter(2.385, 1e-3, 1e3, (0.1, 0.3, 1))
        ),
        "welsch": _of_outputs(
            formulas.welsch, "1 - exp(-(r/c)²), c = 2.985", _TAILS, c=Parameter(2.985, 1e-3, 1e3, (0.1, 0.3, 1))
        ),
        "tukey": _of_outputs(
            formulas.tukey, "Tukey's biweight, c = 4.685", _TAILS, c=Parameter(4.685, 1e-3, 1e3, (0.5, 2))
        ),
        "log_cosh": _of_outputs(formulas.log_cosh, "log cosh r", _TAILS),
        "general_robust": _of_outputs(
            formulas.general,
            "Barron's general robust loss, α = 1, c = 1",
            _TAILS,
            alpha=Parameter(1, -100, 2, (0, -2)),
            c=Parameter(1, 1e-3, 1e3, (0.1, 0.3)),
        ),
        "quantile": _of_outputs(
            formulas.quantile,
            "pinball loss of the q-quantile, q = 0.5",
            _COSTS,
            q=Parameter(0.5, 0.001, 0.999, (0.4, 0.6)),
        ),
        "relative_error": _of_outputs(
            formulas.relative,
            "|r| / max(|y - z|, 0.1), where z stands for zero",
            _OTHER,
            zero=Parameter(0, -1e6, 1e6, (-2, -4)),
            least=Parameter(0.1, 1e-6, 1e6, (0.5,)),
        ),
    }
)
"""All handcrafted losses by name."""
