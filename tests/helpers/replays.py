"""An asynchronous search told once more from its journal, in one process and with nothing but plain calls."""

from collections import defaultdict
from pathlib import Path

from evomal.engines.steady_state import SteadyState
from evomal.evaluation.probing import probed
from evomal.evaluation.stages import train_stage
from evomal.search.asynchronous import tune_and_judge
from evomal.store import RunFolder, read_journal
from evomal.store.config import stored_settings
from evomal.store.journal_schema import CandidateRow
from evomal.tasks import TaskSet

FOUND = ("outcome", "fitness", "score", "signature", "same_as", "weights")


def require_replay(folder: Path, task) -> list[dict]:
    """Each line of a journal is what a call that nothing happened to would have written after the lines before.

    Args:
        folder: The run folder.
        task: What was learned on.

    Returns:
        The lines.
    """
    lines = read_journal(folder, as_written=True)
    run = RunFolder(folder, resume=True)
    settings = stored_settings(run.config, folder)
    run.discard()
    tasks = TaskSet.of(task)
    probes = probed(tasks, settings)
    rows = [CandidateRow.read(line).candidate(settings) for line in lines]
    places = [(row.generation, row.index) for row in rows]
    assert len(set(places)) == len(places)
    numbers = [generation * settings.population + index for generation, index in places]
    engine = SteadyState(settings.genetic, settings.seed, tasks.key, "genetic")
    bred = defaultdict(list)
    for line, number in zip(lines, numbers, strict=True):
        bred[line["after"]].append((number, line))
    known, trained = {}, {}
    for told, (number, row) in enumerate(zip(numbers, rows, strict=True)):
        assert row.after <= told
        for each, line in bred[told]:
            child = engine.breed(each)
            assert (str(child.expression), child.origin, child.parents) == (
                line["expression"], line["origin"], tuple(line["parents"])
            )  # fmt: skip
        expected = _evaluated(tasks, settings, probes, row, known, trained)
        assert {name: getattr(row, name) for name in FOUND} == expected
        engine.tell(number, row.genome, row.told)
    return lines


def _evaluated(tasks, settings, probes, row, known, trained):
    """What becomes of a candidate, given those that are finished."""
    if row.key in known:
        place, found = known[row.key]
        return found | {"outcome": "archived", "signature": None, "same_as": place}
    loss, _, judgement = tune_and_judge(tasks, settings, probes, row.genome)
    score, signature = judgement.score, judgement.signature
    found = {"outcome": "rejected", "fitness": float("inf"), "score": score, "signature": signature, "same_as": None}
    found["weights"] = loss.coefficients
    if score >= settings.filters.rejection_threshold:
        if signature in trained:
            place, fitness = trained[signature]
            found |= {"outcome": "equivalent", "fitness": fitness, "same_as": place}
        else:
            found |= {"outcome": "trained", "fitness": train_stage(tasks, settings, loss).fitness}
            trained[signature] = row.place, found["fitness"]
    known[row.key] = row.place, found
    return found
