"""A search over 200 generations stays within bounds in memory and on disk; docs/reliability.md states them."""

import json
import subprocess
import sys
from pathlib import Path

GENERATIONS, MEMBERS = 200, 4
MEGABYTES = 40  # of memory that the last 150 generations may add
PER_LINE, CHECKPOINT = 1000, 64_000  # bytes

SEARCH = """
import gc, json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from helpers.tasks import blobs, quick
from evomal.search import GPLFL, Watcher

pages = {}

class Look(Watcher):
    def generation(self, number, best):
        if number + 1 in (50, int(sys.argv[3])):  # a collection takes longer than a generation
            gc.collect()
        pages[number + 1] = int(Path("/proc/self/statm").read_text().split()[1])

settings = quick(
    method="gplfl", generations=int(sys.argv[3]), population_size=int(sys.argv[4]), partial_steps=2,
    rejection_steps=2, rejection_threshold=0.0, mutation_rate=0.6, crossover_rate=0.4, gradient_equivalence=False,
    finals=False,
)
result = GPLFL(settings).learn(blobs(count=60), out=sys.argv[2], watcher=Look())
fresh = sum(count for outcome, count in result.outcomes.items() if outcome not in ("elite", "archived"))
print(json.dumps({"pages": pages, "page": resource.getpagesize(), "fresh": fresh}))
"""


def test_memory_and_files_of_200_generations(tmp_path):
    room = Path(__file__).parents[1]
    command = [sys.executable, "-c", SEARCH, str(room), str(tmp_path / "a"), str(GENERATIONS), str(MEMBERS)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout)
    pages = {int(generation): count for generation, count in told["pages"].items()}
    grown = (pages[GENERATIONS] - pages[50]) * told["page"] / 1e6
    assert told["fresh"] > 300  # more formulas than are kept as programs
    assert grown < MEGABYTES
    files = {
        path.relative_to(tmp_path / "a"): path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file()
    }
    assert files.pop(Path("journal.jsonl")) < PER_LINE * GENERATIONS * MEMBERS
    assert {str(name) for name in files} == {
        ".lock", "config.yaml", "loss.json", "checkpoint/state.json", "checkpoint/previous.json",
    }  # fmt: skip
    assert max(files.values()) < CHECKPOINT
