"""Settings in the signatures of what takes them: at run time for `help`, in a file for editors and type checkers."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature
from textwrap import indent, wrap
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from evomal.config.fields import fields_of, meanings
from evomal.config.methods import MethodEntry
from evomal.config.settings import LearnSettings, TrainSettings

MADE_BY = (
    '# Made by `python -c "from evomal.config import keywords_text; print(keywords_text())"`; a test compares the two.'
)
WIDTH = 110
WITHOUT_TRAINING = ("nothing", "task")


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
