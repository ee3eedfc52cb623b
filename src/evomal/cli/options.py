"""Options: one for every setting, made from the settings themselves, those that commands share, and both in errors."""

import inspect
import re
import shlex
from ast import literal_eval
from collections.abc import Callable, Collection, Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from evomal.config import PRESETS, REGISTRY, LearnSettings, Meaning, Settings, choosers, fields_of, meanings
from evomal.foundation.errors import unknown_name

Command = TypeVar("Command", bound=Callable[..., Any])

SPELLED = {"population_size": "--population", "lrs": "--lr"}

Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help=f"Named settings ({', '.join(PRESETS)}), which options override; learn takes practice if none is named.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what lies in --out.")]
Override = Annotated[
    bool,
    typer.Option("--override", help="With --resume: take over given values of those settings that may change."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the end result only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
NAMED = re.compile(r"`([a-z]+(?:_[a-z]+)*)(?:=([^`]*))?`")


def setting_options(kind: type[Settings], names: Collection[str] | None = None) -> Callable[[Command], Command]:
    """Give a command an option for every setting, in place of its ``**settings``.

    Args:
        kind: The settings; names, types, help texts and defaults are those of its fields.
        names: Flat names to take; None takes all.

    Returns:
        A decorator. The command receives every option by the setting's flat name, None where it was not given.

    Example:
        >>> from evomal.config import TrainSettings
        >>> @setting_options(TrainSettings, ["steps"])
        ... def command(preset: str, **settings): ...
        >>> list(inspect.signature(command).parameters)
        ['preset', 'steps']
    """

    def decorated(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [
            _parameter(kind, name, field)
            for name, (_, field) in fields_of(kind).items()
            if names is None or name in names
        ]
        replaced = signature.replace(parameters=[p.replace(kind=_KEYWORD) for p in own] + added)
        command.__signature__ = replaced  # type: ignore[attr-defined]
        return command

    return decorated


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _parameter(kind: type[Settings], name: str, field: FieldInfo) -> inspect.Parameter:
    flag = SPELLED.get(name, f"--{name.replace('_', '-')}")
    registry = meanings(kind)[name].names
    listed = get_args(field.annotation) if get_origin(field.annotation) is Literal else registry and tuple(registry())
    # A class of the user's own may be named in the place of a method; it enters the registry then.
    choices = () if name == "method" or not listed else listed
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if field.annotation is bool else flag,
        help=_help(kind, name, field, listed or ()),
        show_default=False,  # the option's own is None, "not given"; the help says the setting's
        callback=_known(name, choices) if choices else None,
    )
    return inspect.Parameter(
        name, _KEYWORD, default=None, annotation=Annotated[_plain(field.annotation) | None, option]
    )


def _plain(kind: Any) -> Any:
    """The type of an option: several values as a list, without the limits that pydantic checks.

    Example:
        >>> _plain(tuple[Annotated[int, "above 0"], ...]), _plain(float | None), _plain(Literal["mean", "sum"])
        (list[int], <class 'float'>, <class 'str'>)
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return str
    if origin is tuple:
        return list[_plain(parts[0])]  # type: ignore[misc]
    if origin in (Union, UnionType):  # a setting or None
        return _plain(parts[0])
    if origin is Annotated:
        # What a setting reads itself, such as 45m, is text before.
        return str if any(isinstance(part, BeforeValidator) for part in parts) else parts[0]
    return kind


def _help(kind: type[Settings], name: str, field: FieldInfo, choices: tuple[Any, ...]) -> str:
    """What a setting is, from its field: what it does, what it takes, whose it is, what it is if it is left out."""
    text, meaning = f"{field.description}", meanings(kind)[name]
    listed = f": {', '.join(choices)}" if choices else ""
    whose = _whose(name, meaning) if kind is LearnSettings else ""
    notes = "".join(f"{note}; " for note in (whose, meaning.condition) if note)
    return f"{text[0].upper()}{text[1:]}{listed} ({notes}default{_shown(field, meaning.none)})."


def _whose(name: str, meaning: Meaning) -> str:
    """Which methods have a setting that can be chosen; nothing where all do."""
    users = choosers(name, meaning)
    others = [method for method in REGISTRY if method not in users]
    if not users or not others:
        return ""
    return f"not {', '.join(others)}" if len(others) < len(users) else ", ".join(users)


def _shown(field: FieldInfo, none: str) -> str:
    default = field.default
    if default is None:
        return f": {none}"
    if isinstance(default, tuple):
        return f" {' '.join(v if isinstance(v, str) else f'{v:.4g}' for v in default) or 'none'}"
    return f" {str(default).lower() if isinstance(default, bool) else default}"


def _known(name: str, choices: tuple[Any, ...]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise unknown_name(name.replace("_", " "), value, choices)
        return value

    return check


def with_tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings from options: lists as tuples, an empty list as not given.

    Example:
        >>> with_tuples({"lrs": [0.1, 0.3], "milestones": [], "steps": None})
        {'lrs': (0.1, 0.3), 'milestones': None, 'steps': None}
    """
    return {name: tuple(value) or None if isinstance(value, list) else value for name, value in settings.items()}


class SeveralValues(TyperCommand):
    """A command whose repeatable options take several values at once: ``--seeds 0 1 2``, or ``--seeds 0,1,2``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option's name before each value, as typer wants it, then go on as usual."""
        names = {name for parameter in self.params if getattr(parameter, "multiple", False) for name in parameter.opts}
        return super().parse_args(ctx, repeated(args, names))


def repeated(arguments: Iterable[str], names: Collection[str]) -> list[str]:
    """Arguments in which each value of a repeatable option has the option's name before it.

    Example:
        >>> repeated(["--seeds", "0", "1", "--lr=0.1,0.2", "--json"], {"--seeds", "--lr"})
        ['--seeds', '0', '--seeds', '1', '--lr', '0.1', '--lr', '0.2', '--json']
    """
    rest, result = list(arguments), []
    while rest:
        argument = rest.pop(0)
        name, equals, first = argument.partition("=")
        values = [first] if equals else []
        while name in names and rest and (not rest[0].startswith("-") or _is_number(rest[0])):
            values.append(rest.pop(0))
        pieces = [piece for value in values for piece in _pieces(value)]
        result += [part for piece in pieces for part in (name, piece)] if name in names and pieces else [argument]
    return result


def _pieces(value: str) -> list[str]:
    """The parts between commas if all are numbers; a path may hold a comma."""
    pieces = value.split(",")
    return pieces if all(map(_is_number, pieces)) else [value]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def with_flags(message: str, flags: Mapping[str, str]) -> str:
    """A message in which settings in backticks, with their values if there are any, are options.

    Args:
        message: What the library says.
        flags: The option of each setting.

    Returns:
        The message; names without an option stay as they are.

    Example:
        >>> flags = {"force": "--force", "out": "--out", "seeds": "--seeds"}
        >>> with_flags("give another `out`, or `force=True`; see `ray start`", flags)
        'give another --out, or --force; see `ray start`'
        >>> with_flags("give `seeds=[0, 1]`, or `out='my runs'`", flags)
        "give --seeds 0 1, or --out 'my runs'"
    """

    def option(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name not in flags:
            return found[0]
        try:
            return " ".join([flags[name], *_typed(value)])
        except (SyntaxError, ValueError):  # no value as Python writes it: somebody else's backticks
            return found[0]

    return NAMED.sub(option, message)


def _typed(value: str | None) -> list[str]:
    """A value as it is typed behind an option; a switch has none."""
    plain = True if value is None else literal_eval(value)
    return [] if plain is True else [shlex.quote(str(each)) for each in (plain if isinstance(plain, list) else [plain])]
