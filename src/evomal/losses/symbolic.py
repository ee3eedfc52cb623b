"""Symbolic losses: an expression with a weight on every edge, as a PyTorch module."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from evomal.expressions import Expression, parse, to_formula, to_text
from evomal.expressions.formula import activated, scaled
from evomal.foundation.errors import ExpressionError, SettingError
from evomal.losses.checks import finite_numbers, listed_numbers
from evomal.losses.compiled import compile_expression
from evomal.losses.criterion import IGNORED, Reduction, TaskType
from evomal.losses.learned import LearnedLoss

OutputActivation = Literal["identity", "softplus"]


class SymbolicLoss(LearnedLoss):
    r"""The meta-loss network :math:`\mathcal{M}_\phi^\top`: an expression whose edges carry weights φ.

    :math:`\mathcal{M}_\phi = \frac{1}{B}\sum_b \sum_c \varphi\big(T_\phi(y_{bc}, f_{bc})\big)` with T the expression
    and φ its edge weights (Section 3.2, Figure 3), f the softmax of the logits and y one-hot in classification (D2),
    and the output activation the identity or softplus (Section 3.1.3).

    Args:
        expression: The formula over y and f, as text or as an `Expression`.
        weights: φ, one number per edge in pre-order of the child node (the root has none); None means all ones.
        task_type: ``"classification"`` or ``"regression"``.
        output_activation: ``"softplus"`` keeps every class's value above zero.
        scale: What every value is multiplied by; never tuned.
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

    def __init__(
        self,
        expression: Expression | str,
        weights: Sequence[float] | Tensor | None = None,
        *,
        task_type: TaskType,
        output_activation: OutputActivation = "identity",
        scale: float = 1.0,
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

    @property
    def tunable(self) -> bool:
        """Whether the formula's gradient with respect to f is other than zero for some φ (D10)."""
        return self.expression.has_gradient

    def per_class(self, y: Tensor, f: Tensor) -> Tensor:
        """The expression's values, [B, C, ...]."""
        values = self._function(y, f, self.weights.to(f.dtype))
        return functional.softplus(values) if self.output_activation == "softplus" else values

    def formula(self, digits: int | None = None) -> str:
        """The formula as it is computed, φ included, rounded to `digits` significant digits if given."""
        text = to_formula(self.expression, self.weights.detach().tolist(), digits=digits)
        return scaled(activated(text, self.output_activation), self.scale, digits)

    def entries(self) -> dict[str, Any]:
        """Expression, weights and output activation."""
        return {
            "expression": to_text(self.expression),
            "weights": self.weights.detach().tolist(),
            "output_activation": self.output_activation,
        }

    @classmethod
    def take_arguments(cls, entries: dict[str, Any]) -> dict[str, Any]:
        """Expression, weights and output activation; see `LearnedLoss.take_arguments`."""
        expression = entries.pop("expression", None)
        if not isinstance(expression, str):
            raise SettingError("it needs an expression (text); write it anew")
        return {
            "expression": expression,
            "weights": listed_numbers(entries.pop("weights", None)),
            "output_activation": entries.pop("output_activation", "identity"),
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
