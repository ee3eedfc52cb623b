"""Settings in the signatures of what takes them: at run time for `help`, in a file for editors and type checkers."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature
from textwrap import indent, wrap
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from evomal.config.building import preset_values
from evomal.config.fields import Meaning, Settings, fields_of, meanings, stages_of
from evomal.config.methods import REGISTRY, MethodEntry, choosers
from evomal.config.presets import DATA, PAIRS, PRESETS, SOURCES
from evomal.config.settings import LearnSettings, TrainSettings

MADE_BY = (
    '# Made by `python -c "from evomal.config import keywords_text; print(keywords_text())"`; a test compares the two.'
)
WIDTH = 110
WITHOUT_TRAINING = ("nothing", "task")
PAGE_MADE_BY = (
    'Made from `evomal.config` by `python -c "from evomal.config import {name}; print({name}())" > docs/{page}`.'
)
GOES_ON = {"never": "no", "more": "more of them", "freely": "yes"}


def used_by(entry: MethodEntry) -> dict[str, FieldInfo]:
    """The settings that can be given to a method, its own among them, by flat name.

    Example:
        >>> from evomal.config.methods import REGISTRY
        >>> [name in used_by(REGISTRY["gplfl"]) for name in ("population_size", "meta_steps", "sigma", "method")]
        [True, False, False, False]
    """
    said = meanings(LearnSettings)
    found = {
        name: field
        for name, (_, field) in fields_of(LearnSettings).items()
        if name != "method" and name not in entry.fixed and entry.uses(name, said[name])
    }
    return found | ({} if entry.own is None else dict(entry.own.model_fields))


def used_elsewhere() -> dict[str, FieldInfo]:
    """The settings of a search whose losses are trained with elsewhere, by flat name; method and seed apart."""
    said = meanings(LearnSettings)
    return {
        name: field
        for name, (_, field) in fields_of(LearnSettings).items()
        if name not in ("method", "seed") and said[name].needs in WITHOUT_TRAINING
    }


def signature_with(
    function: Callable[..., Any], fields: Mapping[str, FieldInfo], defaults: Mapping[str, Any] | None = None
) -> Signature:
    """The signature of a constructor, with settings in the place of its ``**flat``.

    Args:
        function: An ``__init__``; its first parameter is left out.
        fields: Settings by flat name.
        defaults: What some of them are unless told otherwise, in place of their fields' defaults.

    Example:
        >>> def init(self, preset=None, **flat): ...
        >>> str(signature_with(init, {"lr": fields_of(LearnSettings)["lr"][1]}))
        '(preset=None, *, lr: float = 0.01)'
    """
    others = list(inspect.signature(function).parameters.values())[1:]
    kept = [parameter for parameter in others if parameter.kind is not Parameter.VAR_KEYWORD]
    usual = defaults or {}
    single = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=usual.get(name, field.get_default()),
            annotation=plain(field.annotation),
        )
        for name, field in fields.items()
    ]
    return Signature([*kept, *single])


def listed(fields: Mapping[str, FieldInfo]) -> str:
    """Settings with their help, a line each, for a docstring."""
    return "\n".join(f"    {name}: {field.description or ''}" for name, field in fields.items())


def plain(annotation: Any) -> Any:
    """A field's type without the limits of its values.

    Example:
        >>> from evomal.config.fields import Duration, Rate
        >>> plain(tuple[Rate, ...]), plain(Rate | None), plain(Duration)
        (tuple[float, ...], float | None, float | str)
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        of_text = any(isinstance(each, BeforeValidator) for each in arguments[1:])
        return plain(arguments[0]) | str if of_text else plain(arguments[0])
    if origin in (Union, types.UnionType):
        first, *others = (plain(each) for each in arguments)
        for other in others:
            first = first | other
        return first
    return tuple[tuple(map(plain, arguments))] if origin is tuple else annotation  # type: ignore[misc]


def keywords_text() -> str:
    """The text of `evomal.config.keywords`, which tells editors and type checkers what ``**flat`` takes."""
    elsewhere = used_elsewhere()
    every = {name: field for name, (_, field) in fields_of(LearnSettings).items()}
    further = {name: field for name, field in every.items() if name not in elsewhere}
    of_training = {name: field for name, (_, field) in fields_of(TrainSettings).items()}
    return "\n".join(
        [
            '"""Settings as keyword arguments, for editors and type checkers; a test holds them to the settings."""',
            "",
            MADE_BY,
            "",
            "from collections.abc import Sequence",
            "from typing import Literal, TypedDict",
            *_typed_dict("AskKeywords(TypedDict, total=False)", "What `evomal.Search` takes.", elsewhere),
            *_typed_dict("LearnKeywords(AskKeywords, total=False)", "What a search takes; None: not given.", further),
            *_typed_dict("TrainKeywords(TypedDict, total=False)", "What a full training takes.", of_training),
        ]
    )


def _typed_dict(head: str, purpose: str, fields: Mapping[str, FieldInfo]) -> Iterable[str]:
    yield from ("", "", f"class {head}:", f'    """{purpose}"""', "")
    for name, field in fields.items():
        yield f"    {name}: {_written(plain(field.annotation) | None)}"
        yield indent(_docstring(field.description or name), "    ")


def _docstring(text: str) -> str:
    first, *others = wrap(f"{text[0].upper()}{text[1:]}.", WIDTH)
    return "\n".join([f'"""{first}', *others, '"""']) if others else f'"""{first}"""'


def _written(annotation: Any) -> str:
    """A type as source."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(map(_written, arguments))
    if origin is Literal:
        return f"Literal[{', '.join(map(_quoted, arguments))}]"
    if origin is tuple:
        if arguments[1:] == (...,):
            return f"Sequence[{_written(arguments[0])}]"
        return f"tuple[{', '.join(map(_written, arguments))}]"
    return "None" if annotation is type(None) else str(annotation.__name__)


def _quoted(value: object) -> str:
    return f'"{value}"'


def settings_manual() -> str:
    """The manual's page on the settings, as Markdown; ``docs/settings.md`` is this text."""
    parts = [
        "# Settings",
        PAGE_MADE_BY.format(name="settings_manual", page="settings.md"),
        "In Python they are arguments by these names, on the command line options (`--meta-steps`; `--population` and, "
        "for `train`, `--lr` with several rates are the two that are called otherwise). *Methods*: those that use it; "
        "giving it to another one is refused. *Results*: whether what is found depends on it. *Goes on*: whether a run "
        "that goes on may have another value, with `--override`.",
        "## Searches: `learn`, `compare`",
    ]
    for stage in ("", *stages_of(LearnSettings)):
        parts += [f"**{stage.replace('_', ' ') or 'all'}**", _settings_table(LearnSettings, stage)]
    parts += ["## Full trainings: `train`, `compare`", "Beside those of **base**:", _settings_table(TrainSettings, "")]
    return "\n\n".join(parts)


def _settings_table(kind: type[Settings], stage: str) -> str:
    rows = []
    for name, (where, field) in fields_of(kind).items():
        if where == stage:
            meaning = meanings(kind)[name]
            default = meaning.none if field.default is None else _shown(field.default) or "none"
            results = "yes" if meaning.results else "no"
            rows.append(
                [f"`{name}`", default, _who(name, meaning), results, GOES_ON[meaning.changes], str(field.description)]
            )
    return _table(["setting", "default", "methods", "results", "goes on", "meaning"], rows)


def _who(name: str, meaning: Meaning) -> str:
    users = choosers(name, meaning)
    who = "all" if len(users) == len(REGISTRY) else ", ".join(users)
    return f"{who}; {meaning.condition}" if meaning.condition else who


def preset_manual() -> str:
    """The manual's page on the presets of the paper, as Markdown; ``docs/presets.md`` is this text."""
    presets = [name for name in PRESETS if name.startswith("paper-")]
    values = {preset: preset_values(preset) for preset in presets}
    rows = [
        [f"`{name}`", *(_shown(values[preset].get(name)) for preset in presets), source.kind, source.where]
        for name, source in SOURCES.items()
        if any(name in values[preset] for preset in presets)
    ]
    pairs = [
        [pair.dataset, pair.model, f"`{pair.preset}`", " and ".join(map(str, pair.tables)), pair.network]
        for pair in PAIRS
    ]
    data = [[what, value, source.kind, source.where] for what, value, source in DATA]
    return "\n\n".join(
        [
            "# The presets of the paper",
            PAGE_MADE_BY.format(name="preset_manual", page="presets.md"),
            "What `--preset` sets, with its source: the paper, its authors' published code where the paper prints no "
            "number, or a decision of ours. Everything else has its setting's default.",
            _table(["setting", *(f"`{preset}`" for preset in presets), "from", "where"], rows),
            "## Pairs of Tables 2 and 3",
            "In Table 3 losses are learned on CIFAR-10 with the same network and transferred.",
            _table(["data set", "model", "preset", "table", "how the network is read"], pairs),
            "## Data",
            _table(["what", "value", "from", "where"], data),
        ]
    )


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, tuple | list):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
