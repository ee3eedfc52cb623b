"""One small exception family: every message is one sentence that says what, where and what to do.

What to do names arguments and settings as Python takes them, in backticks, such as `` `force=True` ``; the command line
puts its options in their place (`evomal.cli.options`).
"""

from collections.abc import Iterable
from difflib import get_close_matches

QUOTED = 500  # characters of somebody else's message


class EvomalError(Exception):
    """Base of all errors that a user can mend; the command line prints it as one line and exits with 2."""


class SettingError(EvomalError):
    """A setting has a value that it cannot have."""


class UnknownNameError(SettingError):
    """A name of a data set, model, loss, metric, method or preset that does not exist."""


class ExpressionError(EvomalError):
    """A formula cannot be parsed or built."""


class LossFileError(EvomalError):
    """A loss file is damaged, odd, or not a loss file."""


class DataError(EvomalError):
    """Data that cannot be learned on: not finite, labels out of range, lengths that differ."""


class ModelError(EvomalError):
    """A model cannot be built, or its output does not fit the targets."""


class RunFolderError(EvomalError):
    """A run folder cannot be used as asked."""


class StorageError(EvomalError):
    """A disk is full, or a folder was taken away, in the middle of a run; the command line exits with 1.

    Args:
        what: What cannot be written, and what to do about that.
        then: How to go on once that is done; whoever started the work knows it best, and may put it differently.

    Example:
        >>> print(StorageError("'runs' is full; make room there", "go on with `resume=True`"))
        'runs' is full; make room there, then go on with `resume=True`
    """

    def __init__(self, what: str, then: str | None = None) -> None:
        super().__init__(what)
        self.then = then

    def __str__(self) -> str:
        """Both, as one sentence."""
        what = super().__str__()
        return what if self.then is None else f"{what}, then {self.then}"


class BaselineError(EvomalError):
    """The task loss itself fails, so that no loss can be compared with it; the command line exits with 1."""


def one_line(error: BaseException) -> str:
    r"""An exception of somebody's code, quoted in a sentence: its kind and what it says, on one line of bounded length.

    Example:
        >>> one_line(ValueError("too\nlong"))
        'ValueError: too long'
        >>> len(one_line(ValueError("x" * 10**6)))
        500
    """
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= QUOTED else text[: QUOTED - 1] + "…"


def nearest(name: str, names: Iterable[str], cutoff: float = 0.4) -> str | None:
    """The known name that is most like another one: one that differs in case alone, else the nearest; None without one.

    Args:
        name: What was asked for.
        names: All names that exist.
        cutoff: How alike two names must be, 0 to 1; case does not count.

    Example:
        >>> nearest("AdamW", ["adam", "adamw"]), nearest("SGD", ["adam", "adamw"])
        ('adamw', None)
    """
    folded: dict[str, str] = {}
    for each in names:
        folded.setdefault(each.casefold(), each)
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)  # one that is equal comes first
    return folded[near[0]] if near else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for an unknown name, with the `nearest` known one.

    Args:
        kind: What is named, in the singular, such as ``"data set"``.
        name: What was asked for.
        known: All names that exist.

    Returns:
        The error, ready to be raised.

    Example:
        >>> str(unknown_name("model", "lenet", ["lenet5", "mlp"]))
        "unknown model 'lenet'; did you mean 'lenet5'? (known: lenet5, mlp)"
        >>> str(unknown_name("model", "MLP", ["lenet5", "mlp"]))
        "unknown model 'MLP'; did you mean 'mlp'? (known: lenet5, mlp)"
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = f"; did you mean '{near}'?" if near else ";"
    listed = f" (known: {', '.join(names)})" if near else f" known: {', '.join(names)}"
    return UnknownNameError(f"unknown {kind} '{name}'{hint}{listed}")
