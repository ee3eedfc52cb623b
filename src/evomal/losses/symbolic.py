"""Symbolic losses: an expression with a weight on every edge, as a PyTorch module."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from evomal.expressions import Expression, parse, to_formula, to_short, to_text
from evomal.expressions.formula import activated, scaled
from evomal.expressions.own_operators import require_modules
from evomal.foundation.errors import DataError, ExpressionError, SettingError
from evomal.losses.checks import finite_numbers, listed_numbers
from evomal.losses.class_shares import checked_shares, class_shares
from evomal.losses.compiled import compile_expression
from evomal.losses.criterion import IGNORED, Reduction
from evomal.losses.learned import LearnedLoss
from evomal.losses.preparing import TaskType

OutputActivation = Literal["identity", "softplus"]


class SymbolicLoss(LearnedLoss):
    r"""The meta-loss network :math:`\mathcal{M}_\phi^\top`: an expression whose edges carry weights φ.

    :math:`\mathcal{M}_\phi = \frac{1}{B}\sum_b \sum_c \varphi\big(T_\phi(y_{bc}, f_{bc})\big)` with T the expression
    and φ its edge weights (Section 3.2, Figure 3), f the softmax of the logits and y one-hot in classification (D2),
    and the output activation the identity or softplus (Section 3.1.3).

    Args:
        expression: The formula over y and f, as text or as an `Expression`. It may look at two things more: `prior`,
            the class's share of the training labels (1 in regression), and `progress`, the share of steps done.
        weights: φ, one number per edge in pre-order of the child node (the root has none); None means all ones.
        task_type: ``"classification"``, ``"regression"`` or ``"multilabel"``.
        output_activation: ``"softplus"`` keeps every class's value above zero.
        scale: What every value is multiplied by; never tuned.
        prior: The share of each class among the training labels, [C], for a formula with `prior`; None: not known yet.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.

    Attributes:
        weights: φ as a parameter, shape [edges], in the default dtype.
        info: Where the loss came from and what it was tuned for; saved with it.

    Raises:
        ExpressionError: The formula cannot be read, or lacks y or f.
        SettingError: The weights are not finite or of the wrong number, or another setting is odd.

    Example:
        >>> criterion = SymbolicLoss("abs(log(mul(y, f)))", task_type="classification")
        >>> criterion(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).shape
        torch.Size([])

    Source:
        Raymond et al., "Learning Symbolic Model-Agnostic Loss Functions via Meta-Learning", 2023.
    """

    family = "symbolic"
    _prior: Tensor | None

    def __init__(
        self,
        expression: Expression | str,
        weights: Sequence[float] | Tensor | None = None,
        *,
        task_type: TaskType,
        output_activation: OutputActivation = "identity",
        scale: float = 1.0,
        prior: Sequence[float] | Tensor | None = None,
        reduction: Reduction = "mean",
        ignore_index: int | None = IGNORED,
    ) -> None:
        super().__init__(task_type, scale, reduction, ignore_index)
        if output_activation not in ("identity", "softplus"):
            raise SettingError(f"output_activation is {output_activation!r}; use 'identity' or 'softplus'")
        self.expression = parse(expression) if isinstance(expression, str) else expression
        if not self.expression.complete:
            missing = " and ".join(leaf for leaf in ("y", "f") if not self.expression.contains(leaf))
            raise ExpressionError(f"formula '{to_text(self.expression)}' lacks {missing}; a loss needs both y and f")
        self.output_activation: OutputActivation = output_activation
        given = torch.ones(self.expression.edges) if weights is None else weights
        owner = f"formula '{to_text(self.expression)}'"
        self.weights = nn.Parameter(finite_numbers(given, self.expression.edges, owner))
        self._function = compile_expression(self.expression)
        self._extras = self.expression.extras
        self.register_buffer("_prior", None, persistent=False)
        self.prior = prior

    @property
    def prior(self) -> tuple[float, ...] | None:
        """The share of each class among the training labels; may be set, and is saved with the loss.

        A formula without `prior` has none, and in regression it is always 1.
        """
        return self._shares

    @prior.setter
    def prior(self, shares: Sequence[float] | Tensor | None) -> None:
        if shares is not None and ("prior" not in self._extras or self.task_type != "classification"):
            raise SettingError(
                f"the formula '{to_text(self.expression)}' for {self.task_type} does not look at the classes' shares; "
                "leave prior out"
            )
        self._shares = None if shares is None else checked_shares(shares, f"formula '{to_text(self.expression)}'")
        self._prior = (
            None if self._shares is None else torch.tensor(self._shares, dtype=torch.float64, device=self._device())
        )

    @property
    def needs_prior(self) -> bool:
        """Whether the formula looks at the classes' shares, as it does not in regression."""
        return "prior" in self._extras and self.task_type == "classification"

    @property
    def sees_progress(self) -> bool:
        """Whether the formula looks at the progress of a training."""
        return "progress" in self._extras

    def meet_classes(self, counts: Tensor | None) -> None:
        """Take over how often each class of a task occurs, for `class_counts` and for the prior of the formula."""
        super().meet_classes(counts)
        if self.needs_prior and counts is not None:
            self.prior = class_shares(counts, f"formula '{to_text(self.expression)}'")

    def at_classes(self, classes: int) -> Self:
        """See `LearnedLoss.at_classes`."""
        other = super().at_classes(classes)
        if not self.needs_prior or (self._shares is not None and len(self._shares) == classes):
            return other
        other = deepcopy(other) if other is self else other
        other.prior = [1 / classes] * classes
        return other

    def extras(self, f: Tensor, dim: int = 1) -> dict[str, Tensor | float]:
        """The values of what the formula looks at beside y and f, such that they broadcast with f.

        Args:
            f: Predictions, classes in dimension `dim`.
            dim: The dimension.

        Raises:
            SettingError: The formula looks at the classes' shares, and nobody has said what they are.
            DataError: They are those of more classes, or of fewer.
        """
        if not self._extras:
            return {}
        found: dict[str, Tensor | float] = {}
        if "progress" in self._extras:
            found["progress"] = self.progress
        if self.needs_prior:
            found["prior"] = self._prior_of(f, dim)
        return found

    def _prior_of(self, f: Tensor, dim: int) -> Tensor:
        owner = f"formula '{to_text(self.expression)}'"
        if self._prior is None:
            raise SettingError(
                f"{owner} looks at the classes' shares of the training labels, and nobody has said what they are; set "
                "criterion.prior, one number for each class"
            )
        if f.shape[dim] != len(self._prior):
            raise DataError(
                f"prior of {owner} is of {len(self._prior)} classes but the outputs are for {f.shape[dim]}; give one "
                "number for each class"
            )
        return self._prior.to(f.dtype).reshape(-1, *[1] * (f.dim() - dim - 1))

    @property
    def tunable(self) -> bool:
        """Whether the formula's gradient with respect to f is other than zero for some φ (D10)."""
        return self.expression.has_gradient

    def per_class(self, y: Tensor, f: Tensor) -> Tensor:
        """The expression's values, [B, C, ...]."""
        values = self._function(y, f, self.weights.to(f.dtype), **self.extras(f))
        return functional.softplus(values) if self.output_activation == "softplus" else values

    def formula(self, digits: int | None = None) -> str:
        """The formula as it is computed, φ included, rounded to `digits` significant digits if given."""
        text = to_formula(self.expression, self.weights.detach().tolist(), digits=digits)
        return scaled(activated(text, self.output_activation), self.scale, digits)

    def short(self, digits: int = 4) -> str:
        """See `LearnedLoss.short`; predictions of classes are probabilities, so their absolute values are left out."""
        plain = self.output_activation == "identity"
        weights, classes = self.weights.detach().tolist(), self.task_type != "regression"
        text = to_short(self.expression, weights, self.scale if plain else 1.0, digits, classes=classes)
        return text if plain else scaled(activated(text, self.output_activation), self.scale, digits)

    def entries(self) -> dict[str, Any]:
        """Expression, weights and output activation; the prior, and the modules of own operators, where it has them."""
        own = self.expression.own_operators
        return {
            "expression": to_text(self.expression),
            "weights": self.weights.detach().tolist(),
            "output_activation": self.output_activation,
            **({} if self.prior is None else {"prior": list(self.prior)}),
            **({"operators": {operator.name: operator.module for operator in own}} if own else {}),
        }

    @classmethod
    def take_arguments(cls, entries: dict[str, Any]) -> dict[str, Any]:
        """Expression, weights and output activation; see `LearnedLoss.take_arguments`."""
        expression = entries.pop("expression", None)
        if not isinstance(expression, str):
            raise SettingError("it needs an expression (text); write it anew")
        require_modules(entries.pop("operators", None))
        return {
            "expression": expression,
            "weights": listed_numbers(entries.pop("weights", None)),
            "output_activation": entries.pop("output_activation", "identity"),
            "prior": entries.pop("prior", None) if "prior" in expression else None,
        }

    def untuned(self, generator: torch.Generator) -> list[float]:
        """All ones; nothing is drawn."""
        return [1.0] * self.expression.edges

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the compiled code, which is built again where the loss arrives."""
        return {name: value for name, value in self.__dict__.items() if name != "_function"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the loss and compile its expression."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._function = compile_expression(self.expression)
