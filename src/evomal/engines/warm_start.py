"""Losses to begin a search with: what an option names becomes text that needs neither files nor names."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from evomal.config import LearnSettings, method_entry
from evomal.engines.genome import Formula
from evomal.expressions import OPERATORS, Vocabulary, parse, vocabulary
from evomal.expressions.text import MAX_TEXT
from evomal.expressions.tree import MAX_NODES, shortened
from evomal.foundation.errors import ExpressionError, SettingError, unknown_name
from evomal.losses import HANDCRAFTED, SymbolicLoss, load_loss

FORMULAS: Mapping[str, str] = MappingProxyType(
    {
        "cross_entropy": "mul(-1, mul(y, log(f)))",
        "binary_cross_entropy": "mul(-1, mul(y, log(f)))",
        "binary_focal": "mul(square(sub(1, f)), mul(-1, mul(y, log(f))))",
        "focal": "mul(square(sub(1, f)), mul(-1, mul(y, log(f))))",
        "mse": "square(sub(y, f))",
        "mae": "abs(sub(y, f))",
        # max(1, |r|) - 1 + min(1, |r|)²/2; the analytic quotient by 1 is a product with √½.
        "huber": "add(sub(max(1, abs(sub(y, f))), 1), square(div(min(1, abs(sub(y, f))), 1)))",
    }
)
"""Handcrafted losses as formulas, equal to them but for ε = 1e-7, with identity output activation.

Those of regression are means over outputs, a learned loss is a sum: with K outputs it is K times as large.
"""

_NAME = re.compile(r"[A-Za-z_][\w+-]*")


def resolved(settings: LearnSettings, task_type: str) -> LearnSettings:
    """The settings with every loss to begin with written out; those of a run folder hold them so.

    An entry is the name of a handcrafted loss, a formula, a formula with coefficients such as
    ``mul(y, f) [0.5, 2.0]``, or the path of a loss file or run folder. What is written out already stays as it is.

    Args:
        settings: The settings as they were given.
        task_type: ``"classification"`` or ``"regression"``.

    Returns:
        The settings: operators and terminals in the order of their tables, and `start_from` canonical formulas, each
        once, with coefficients where they are known; among them formulas that are good already, as far as
        `known_start` leaves room.

    Raises:
        SettingError: An entry cannot begin this search.
        LossFileError: A file cannot be read.

    Example:
        >>> from evomal.config import learn_settings
        >>> settings = learn_settings(start_from=("cross_entropy", "abs(sub(f, y)) [2, 1, -1]"))
        >>> resolved(settings, "classification").genetic.start_from
        ('mul(-1, mul(y, log(f)))', 'abs(sub(f, y)) [2.0, 1.0, -1.0]')
    """
    words = words_of(settings)
    named = {"operators": words.operators, "terminals": words.terminals}
    settings = settings.model_copy(update={"genetic": settings.genetic.model_copy(update=named)})
    entries = (*settings.genetic.start_from, *_known(settings, task_type))
    if not entries:
        return settings
    formulas = _together([(entry, _meant(entry, settings, task_type)) for entry in entries], settings)
    texts = tuple(formula.key for formula in formulas)
    return settings.model_copy(update={"genetic": settings.genetic.model_copy(update={"start_from": texts})})


def starts(settings: LearnSettings) -> list[Formula]:
    """The formulas to begin with.

    Args:
        settings: The settings, as `resolved` gives them.

    Returns:
        Canonical formulas, each once; their coefficients are None where they are still to be found.

    Raises:
        SettingError: An entry is no formula, or cannot begin this search.

    Example:
        >>> from evomal.config import learn_settings
        >>> starts(learn_settings(start_from=("mul(f, y)", "mul(y, f)")))
        [Formula(expression=parse('mul(y, f)'), weights=None)]
    """
    return _together([(entry, _written(entry)) for entry in settings.genetic.start_from], settings)


def words_of(settings: LearnSettings) -> Vocabulary:
    """The operators and terminals that a search's formulas are made of.

    Raises:
        UnknownNameError: There is no operator or terminal of a name.
        SettingError: They make no loss, or none of the depths that the settings ask for.
    """
    genetic = settings.genetic
    words = vocabulary(genetic.operators, genetic.terminals)
    for name, depth in (("max_depth", genetic.max_depth), ("mutation_depth", genetic.mutation_depth)):
        if words.least_nodes(depth) > MAX_NODES:
            raise SettingError(
                f"setting '{name}': all operators take two arguments, so that a formula of depth {depth} has "
                f"{words.least_nodes(depth):,} nodes, and at most {MAX_NODES:,} are allowed; give a lower one, or an "
                "operator of one argument"
            )
    return words


def _known(settings: LearnSettings, task_type: str) -> tuple[str, ...]:
    """Known formulas for the room that `known_start` leaves them; they have no output activation."""
    genetic = settings.genetic
    if not method_entry(settings.method).warm or settings.output_activation != "identity":
        return ()
    room = int(genetic.known_start * genetic.population_size) - len(genetic.start_from)
    words = words_of(settings)
    fitting = [text for text in KNOWN[task_type] if words.stranger(_written(text).expression) is None]
    return tuple(fitting[: max(room, 0)])


def _together(pairs: Iterable[tuple[str, Formula]], settings: LearnSettings) -> list[Formula]:
    """The formulas in canonical form, each once, known to fit into a generation."""
    formulas: dict[str, Formula] = {}
    words = words_of(settings)
    for entry, formula in pairs:
        if (stranger := words.stranger(formula.expression)) is not None:
            kind = "operators" if stranger in OPERATORS else "terminals"
            raise _refused(entry, f"holds '{stranger}', which is none of this search's {kind}; add it to `{kind}`")
        if fault := formula.fault(settings.genetic.max_height):
            raise _refused(entry, fault)
        known = formula.canonical()
        formulas.setdefault(known.key, known)
    size = settings.genetic.population_size
    if len(formulas) > size:
        raise SettingError(
            f"setting 'start_from': {len(formulas)} losses to begin with do not fit into a generation of {size}; "
            "give fewer, or a larger population_size"
        )
    return list(formulas.values())


def _meant(entry: str, settings: LearnSettings, task_type: str) -> Formula:
    """The formula that an entry stands for, whatever its kind."""
    if entry in HANDCRAFTED:
        return _handcrafted(entry, settings, task_type)
    if entry.endswith(".json"):
        return _filed(entry, settings, task_type)
    try:
        return _written(entry)
    except SettingError:
        # A formula comes first: no file that happens to be called so can change what a run's own settings mean.
        if os.path.exists(entry) or ("(" not in entry and os.path.basename(entry) != entry):
            return _filed(entry, settings, task_type)
        if _NAME.fullmatch(entry):
            raise unknown_name("loss to start from", shortened(entry), FORMULAS) from None
        raise


def _written(entry: str) -> Formula:
    """A formula from its text, with or without coefficients after it."""
    text, bracket, listed = entry.partition("[")
    try:
        tree = parse(text)
    except ExpressionError as error:
        raise SettingError(f"setting 'start_from': {error}") from None
    return Formula(tree, _coefficients(entry, bracket + listed) if bracket else None)


def _coefficients(entry: str, listed: str) -> tuple[float, ...]:
    try:
        values = json.loads(listed[:MAX_TEXT])
        if all(type(value) in (int, float) for value in values):
            return tuple(map(float, values))
    except (ValueError, OverflowError, RecursionError):
        pass
    raise _refused(entry, "has coefficients that are no list of numbers; write them as in 'abs(sub(y, f)) [2, 1, 0.5]'")


def _handcrafted(name: str, settings: LearnSettings, task_type: str) -> Formula:
    if name not in FORMULAS:
        those = ", ".join(FORMULAS)
        raise _refused(name, f"is no formula in y and f of these operators; of the handcrafted losses, {those} are")
    _require_kind(name, HANDCRAFTED[name].task_type, task_type)
    _require_activation(name, "identity", settings)
    return Formula(parse(FORMULAS[name]))


def _filed(path: str, settings: LearnSettings, task_type: str) -> Formula:
    loss = load_loss(path)
    if not isinstance(loss, SymbolicLoss):
        raise _refused(path, f"is a {loss.family} loss and no formula; give a symbolic one")
    _require_kind(path, loss.task_type, task_type)
    _require_activation(path, loss.output_activation, settings)
    if loss.scale != 1 and not settings.scale_control:
        raise _refused(
            path,
            f"has a scale of {loss.scale:g}, which no candidate has at first; switch scale_control on, which finds it",
        )
    return Formula(loss.expression, tuple(loss.coefficients))


def _require_kind(entry: str, given: str, task_type: str) -> None:
    if given != task_type:
        raise _refused(entry, f"is for {given}, but the task is {task_type}; give another loss")


def _require_activation(entry: str, given: str, settings: LearnSettings) -> None:
    if given != settings.output_activation:
        raise _refused(
            entry,
            f"has the output activation {given}, this search {settings.output_activation}; "
            f"give output_activation {given}, or another loss",
        )


def _refused(entry: str, fault: str) -> SettingError:
    return SettingError(f"setting 'start_from': '{shortened(entry, 200)}' {fault}")


_OF_CLASSES = (
    # cross-entropy: -y log f
    "mul(-1, mul(y, log(f)))",
    # smoothed: -(0.9 y + 0.01) log f
    "mul(-1, mul(add(y, 1), log(f))) [1, 1, 1, 0.9, 0.01, 1, 1]",
    # for labels of which a fifth is wrong: -y log(0.8 f + 0.02)
    "mul(-1, mul(y, log(add(f, 1)))) [1, 1, 1, 1, 1, 0.8, 0.02]",
    # Brier: (y - f)²
    "square(sub(y, f))",
    # y (1 - √f)
    "mul(y, sub(1, sqrt(f)))",
    # absolute: |y - f|
    "abs(sub(y, f))",
    # focal: -(1 - f)² y log f
    "mul(square(sub(1, f)), mul(-1, mul(y, log(f))))",
)

KNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classification": _OF_CLASSES,
        "multilabel": _OF_CLASSES,  # every label is a class beside its absence
        "regression": (
            # squared, absolute
            "square(sub(y, f))",
            "abs(sub(y, f))",
            # Cauchy: log(1 + r²)
            "log(add(1, square(sub(y, f))))",
            # Charbonnier: √(1 + r²)
            "sqrt(add(1, square(sub(y, f))))",
            # truncated: min(1, |r|)
            "min(1, abs(sub(y, f)))",
            # much as Welsch's: tanh r²
            "tanh(square(sub(y, f)))",
        ),
    }
)
"""Formulas by kind of task, some with coefficients; in the order in which they take part if there is little room."""
