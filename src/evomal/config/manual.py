"""Pages of the manual that are made from the settings: what each means, and what the presets of the paper say."""

from typing import Any

from evomal.config.fields import Meaning, Settings, fields_of, meanings, stages_of
from evomal.config.methods import REGISTRY, choosers
from evomal.config.paper import DATA, PAIRS, SOURCES, preset_values
from evomal.config.presets import PRESETS
from evomal.config.settings import LearnSettings, TrainSettings

MADE_BY = 'Made from `evomal.config` by `python -c "from evomal.config import {name}; print({name}())" > docs/{page}`.'
GOES_ON = {"never": "no", "more": "more of them", "freely": "yes"}


def settings_manual() -> str:
    """The manual's page on the settings, as Markdown; ``docs/settings.md`` is this text."""
    parts = [
        "# Settings",
        MADE_BY.format(name="settings_manual", page="settings.md"),
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
            MADE_BY.format(name="preset_manual", page="presets.md"),
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
