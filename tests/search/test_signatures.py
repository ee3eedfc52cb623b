"""Constructors show their settings, to `inspect.signature`, `help` and editors; what they show is what they take."""

import inspect
import pydoc
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

import evomal
from evomal.config import REGISTRY, LearnSettings, Settings, fields_of, flat, keywords_text, learn_settings, setting
from evomal.config import keywords as module
from evomal.foundation.errors import SettingError
from evomal.search.method import _METHODS

BUILT_IN = (evomal.EvoMAL, evomal.GPLFL, evomal.ML3, evomal.TaylorGLO, evomal.GLO)


def _single(constructor):
    """The keyword arguments of a constructor that are settings."""
    shown = inspect.signature(constructor).parameters.values()
    return {each.name: each for each in shown if each.kind is inspect.Parameter.KEYWORD_ONLY and each.name != "preset"}


@pytest.mark.parametrize("method", BUILT_IN)
def test_a_method_shows_what_it_takes(method):
    shown = _single(method)
    usual = flat(method().settings)
    assert {name: each.default for name, each in shown.items()} == {name: usual[name] for name in shown}
    odd = {"population_size": 9, "hidden": 7, "sigma": 0.9, "cma_generations": 3, "neural_steps": 4, "meta_steps": 5}
    for name, value in odd.items():
        if name in shown:
            assert flat(method(**{name: value}).settings)[name] == value
        else:
            with pytest.raises(SettingError, match=f"setting '{name}'"):
                method(**{name: value})


def test_help_tells_of_every_setting():
    text = pydoc.render_doc(evomal.TaylorGLO)
    assert "TaylorGLO(settings: evomal.config.settings.LearnSettings | None = None, *, preset: str | None" in text
    assert "sigma: initial standard deviation of CMA-ES" in text
    assert "max_height" not in text
    assert "Gonzalez" in text


def test_methods_of_ones_own(monkeypatch):
    monkeypatch.setattr("evomal.search.method._METHODS", dict(_METHODS))
    before = dict(REGISTRY)

    class Mine(evomal.GPLFL):
        """Mine."""

        name, defaults = "shown", {"generations": 3}

        class Own(Settings):
            width: int = setting(2, "how wide it is")

    class Other(evomal.GPLFL):
        def __init__(self, answer):
            super().__init__(generations=answer)

    try:
        shown = _single(Mine)
        assert (shown["width"].default, shown["width"].annotation, shown["generations"].default) == (2, int, 3)
        assert "meta_steps" not in shown
        assert inspect.getdoc(Mine).startswith("Mine.\n\nSettings:\n")
        assert "width: how wide it is" in inspect.getdoc(Mine)
        assert str(inspect.signature(Other)) == "(answer)"
        assert inspect.signature(evomal.GPLFL).parameters["generations"].default == 50
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)


def test_ask_and_tell_shows_what_it_takes():
    shown = inspect.signature(evomal.Search).parameters
    assert list(shown)[:4] == ["method", "task_type", "seed", "out"]
    assert {"task", "population_size", "max_evaluations", "operators", "lr"} < {*shown}
    assert not {"finals", "partial_steps", "workers", "flat"} & {*shown}
    for name in ("population_size", "generations", "tournament_size"):
        value = shown[name].default + 1
        assert flat(evomal.Search("gplfl", "regression", **{name: value}).settings)[name] == value
    with pytest.raises(SettingError, match="setting 'partial_steps': it has no effect where no task is given"):
        evomal.Search("gplfl", "regression", partial_steps=5)


def test_what_editors_read_is_made_from_the_settings():
    assert Path(module.__file__).read_text(encoding="utf-8") == keywords_text() + "\n"


def test_editors_see_every_setting_with_its_type():
    hints = get_type_hints(module.LearnKeywords)
    assert {*hints} == {*fields_of(LearnSettings)}
    assert hints["population_size"] == int | None
    assert hints["max_time"] == float | str | None
    assert get_args(hints["precision"])[0] == Literal["float32", "tf32", "bf16"]
    assert get_origin(get_args(hints["fitness_lrs"])[0]) is Sequence
    learn_settings(fitness_lrs=[0.5, 1.0])  # as the type says
    for constructor, kind in ((evomal.Method, module.LearnKeywords), (evomal.Search, module.AskKeywords)):
        *_, last = inspect.signature(constructor.__init__).parameters.values()
        assert last.kind is inspect.Parameter.VAR_KEYWORD
        assert get_args(last.annotation) == (kind,)
