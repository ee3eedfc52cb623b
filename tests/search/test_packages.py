"""A search needs few packages: it also runs where nothing for the command line, downloads or clusters is installed."""

import subprocess
import sys

CODE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("typer", "click", "rich", "pooch", "ray"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
import evomal.search
from evomal.tasks import named_task
few = dict(generations=2, population_size=4, meta_steps=1, partial_steps=5, rejection_steps=10, rejection_lr=0.1)
few["finals"] = False
result = evomal.search.EvoMAL(preset="quick", **few).learn(named_task("iris", "linear"))
print(result.ended)
print(sorted(name for name in ("typer", "click", "rich", "pooch", "ray") if name in sys.modules))
"""


def test_a_search_needs_neither_typer_nor_rich_nor_pooch_nor_ray():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["generations", "[]"]
