"""A method of one's own: it learns, resumes and compares as ours do, from Python and from its file."""

import json
import shutil
from pathlib import Path
from types import MappingProxyType

import pytest

import evomal
from evomal.cli.app import main
from evomal.config import REGISTRY, learn_settings
from evomal.engines.engine import SingleEngine
from evomal.engines.genome import Network
from evomal.executors import InProcess
from evomal.foundation.errors import SettingError
from evomal.search import load_method
from evomal.search.method import _METHODS
from evomal.store import comparable, read_journal
from evomal.tasks import TaskSet
from helpers.tasks import blobs

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_method.py"
OURS = {"evomal", "gplfl", "glo", "taylorglo", "ml3"}
SMALL = {
    "population_size": 4, "partial_steps": 15, "rejection_steps": 6, "rejection_threshold": 0.2,
    "rejection_lr": 0.5, "lr": 0.1, "finals": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_stays():
    yield
    for name in set(REGISTRY) - OURS:
        REGISTRY.pop(name, None)
        _METHODS.pop(name, None)


@pytest.fixture
def random_search():
    return load_method(f"{EXAMPLE}:RandomSearch")


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 30


def test_it_learns_and_resumes_to_the_bit(random_search, tmp_path):
    whole = random_search(generations=3, depth=2, **SMALL).learn(blobs(), out=tmp_path / "whole")
    random_search(generations=2, depth=2, **SMALL).learn(blobs(), out=tmp_path / "parts")
    again = random_search(generations=3, depth=2, **SMALL)
    parts = again.learn(blobs(), out=tmp_path / "parts", resume=True, override=True)
    assert comparable(read_journal(tmp_path / "parts")) == comparable(read_journal(tmp_path / "whole"))
    assert (parts.fitness, parts.loss.formula()) == (whole.fitness, whole.loss.formula())
    assert {member.origin for member in parts.members} == {"random"}
    assert parts.settings.own == (("depth", 2),)
    with pytest.raises(SettingError, match=r"which may not change \(depth was 2, now 3\)"):
        random_search(generations=3, **SMALL).learn(blobs(), out=tmp_path / "parts", resume=True)


def test_it_asks_and_tells(random_search):
    search = evomal.Search("random", "classification", depth=2, population_size=3, generations=2)
    while candidates := search.ask():
        search.tell({candidate.id: candidate.loss.expression.size for candidate in candidates})
    assert search.best.metric >= 3


def test_from_the_command_line_it_learns_resumes_and_compares(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE, "mine.py")
    task = ["--dataset", "iris", "--model", "linear", "--preset", "quick"]
    small = ["--population", "4", "--generations", "2", "--partial-steps", "20"]
    small += ["--rejection-steps", "10", "--rejection-lr", "0.1"]
    own = ["--method", "mine.py:RandomSearch"]
    assert main(["learn", *task, *small, *own, "--own", "depth=2", "--out", "a", "--json"]) == 0
    first = json.loads(capfd.readouterr().out)
    assert main(["learn", "--resume", "a"]) == 2
    assert "was begun with --method mine.py:RandomSearch, whose code is run only where it is named" in (
        capfd.readouterr().err
    )
    assert main(["learn", "--resume", "a", *own, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["formula"] == first["formula"]
    few = [*task, *small, "--seeds", "0", "1", "--steps", "20", "--out", "c", "--json"]
    assert main(["compare", "--methods", "mine.py:RandomSearch", "gplfl", *few, "--workers", "2"]) == 0
    names = [row["name"] for row in json.loads(capfd.readouterr().out)["contenders"]]
    assert names == ["cross_entropy", "random", "gplfl"]


def test_what_it_fixes_and_its_parent_has_holds():
    class Child(evomal.GPLFL):
        name, summary = "child", "gplfl with small formulas"
        fixed, defaults = MappingProxyType({"max_depth": 2}), MappingProxyType({"population_size": 5})

    assert Child().settings.local_search.meta_steps == 0
    assert (Child().settings.genetic.max_depth, Child().settings.population) == (2, 5)
    with pytest.raises(SettingError, match=r"^setting 'max_depth': method child has 2, not 3; leave it out$"):
        Child(max_depth=3)
    with pytest.raises(SettingError, match=r"^setting 'depth': input should be|^unknown setting 'depth'"):
        Child(depth=3)
    assert REGISTRY["gplfl"].fixed == {"meta_steps": 0}
    assert learn_settings(method="gplfl").own == ()


def test_an_engine_and_an_executor_can_be_given():
    class Counting(InProcess):
        streams = 0

        def stream(self, shared):
            self.streams += 1
            return super().stream(shared)

        def close(self):
            raise AssertionError("who gave it closes it")

    executor = Counting()
    method = evomal.GPLFL(generations=1, **SMALL)
    engine = method.engine(TaskSet.of(blobs()), ())
    proposed = [proposal.genome.key for proposal in engine.ask()]
    result = method.learn(blobs(), engine=engine, executor=executor)
    assert [member.key for member in result.members] == proposed
    assert executor.streams > 0
    with pytest.raises(SettingError, match=r"^the engine of method 'gplfl' proposes 1 candidates in generation 0"):
        method.learn(blobs(), engine=SingleEngine(Network(5)))


def _write(folder, text):
    path = folder / "odd.py"
    path.write_text("import evomal\nclass Mine(evomal.Method):\n    " + text + "\nother = 3\nclass Plain: pass\n")
    return path


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("summary = 'x'", "Mine", r"Mine has no `name`; give the class one, such as name = 'mine'$"),
        ("name = 'mine'", "Mine", r"Mine has no engine; define `engine\(self, tasks, probes\)`$"),
        ("name = 'mine'", "Min", r"there is no class Min in it; did you mean 'Mine'\?$"),
        ("name = 'mine'", "Plain", r"Plain is no subclass of evomal\.Method; derive it from that$"),
        (
            "name = 'evomal'",
            "Mine",
            r"the name 'evomal' of method Mine is that of evomal\.search\.methods\.EvoMAL; give",
        ),
        (
            "name = 'mine'\n    class Own(evomal.Settings):\n        lr: int = 3",
            "Mine",
            r"setting 'lr' of method 'mine' is one that all methods have; call it otherwise$",
        ),
    ],
)
def test_odd_methods_are_refused_in_one_line(text, name, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        load_method(f"{_write(tmp_path, text)}:{name}")
    with pytest.raises(SettingError, match=r"^method '.*none\.py:Mine': there is no Python file .*none\.py"):
        load_method(f"{tmp_path / 'none.py'}:Mine")
