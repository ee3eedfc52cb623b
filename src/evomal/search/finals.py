"""The finals of a search: who, for how much, measured by whom, written down where; and what comes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.finals import FinalsOutcome, FinalsPlan, hold_finals
from evomal.evaluation.finals.plan import least_budget
from evomal.evaluation.finals.splits import FEW, fewest, forget, overlap_of, require_enough
from evomal.evaluation.lane_count import small_networks
from evomal.evaluation.limits import LimitReached
from evomal.executors import Executor
from evomal.foundation.errors import SettingError
from evomal.foundation.files import storing
from evomal.losses import HandcraftedLoss, LearnedLoss, SavedLoss
from evomal.losses.criterion import IGNORED, LossFunction
from evomal.search.finalists import Finalist, finalists, least_entrants
from evomal.search.finals_journal import FinalsJournal
from evomal.search.finals_trainings import FinalsTrainings
from evomal.search.prices import steps_of_trainings, steps_taken, tuning_steps
from evomal.search.result import LearnResult
from evomal.search.search_log import SearchLog
from evomal.search.verdict import Verdict, judged
from evomal.store.provenance import chosen, provenance
from evomal.tasks import TaskSet

SURE, LOOKS = 2_000, 3  # with fewer instances in a fold than the first, a screening takes so many folds
FACTOR = 4.0  # between the rates that every loss tries first: a quarter, one and four times the base rate


@dataclass(frozen=True, slots=True)
class Final:
    """What the finals of a search need of it.

    Args:
        tasks: The tasks.
        settings: All settings.
        probes: Fixed predictions, for each task.
        executor: Where trainings are done.
        log: What was found, and where it is written.
    """

    tasks: TaskSet
    settings: LearnSettings
    probes: Sequence[FilterProbe]
    executor: Executor
    log: SearchLog

    def hold(self, result: LearnResult) -> LearnResult:
        """Hold the finals of a search that is over, and hand out what their verdict names.

        Args:
            result: That of the search alone.

        Returns:
            The result with its verdict; as it was where finals are off, or where the search was stopped before them.
            Where they are stopped themselves, it says so, and another call goes on with them.
        """
        if not self.settings.finals.finals or result.ended in ("time", "interrupt"):
            return result
        try:
            those = finalists(self.tasks, self.settings, self.probes, result.members)
            return self._handed_out(
                result, those, *self._held(those, plan_of(self.tasks, self.settings, result.members))
            )
        except LimitReached as limit:
            return self._stopped(result, replace(result, ended=limit.ended))
        except KeyboardInterrupt:
            return self._stopped(result, replace(result, ended="interrupt"))

    def _held(self, those: Sequence[Finalist], plan: FinalsPlan) -> tuple[FinalsOutcome, str | None]:
        """What they came to, and why the first training failed that did."""
        entrants = [finalist.entrant for finalist in those]
        self.log.watcher.finals([entrant for entrant in entrants if entrant.variant_of is None], plan)
        with FinalsJournal(self.log.folder, self.settings) as journal, self.executor.stream(self.tasks) as stream:
            lanes = self.settings.lanes if small_networks(self.tasks, self.settings) else 1
            trainings = FinalsTrainings(stream, self.settings, those, journal, self.log, lanes)
            # One worker has no time to spare, and in lanes the company would be another.
            ahead = trainings.ahead if self.executor.workers > 1 and lanes == 1 else None
            try:
                return hold_finals(entrants, plan, trainings.measure, ahead), trainings.failure
            finally:
                forget(self.tasks)

    def _stopped(self, before: LearnResult, result: LearnResult) -> LearnResult:
        self.log.checkpointing.end(result.ended, before.baseline, len(before.members))
        return result

    def _handed_out(
        self, result: LearnResult, those: Sequence[Finalist], outcome: FinalsOutcome, failure: str | None
    ) -> LearnResult:
        """The result with the loss that the verdict names; the best learned one beside it."""
        by_name = {finalist.entrant.name: finalist for finalist in those}
        formulas = {name: _formula(finalist.loss) for name, finalist in by_name.items()}
        verdict = judged(outcome, self.tasks.metric_name, formulas)
        if verdict.kind == "not tested":
            return self._untested(result, verdict)
        notes = [*verdict.notes, *_missing(outcome, failure)]
        if not isinstance(by_name[verdict.name].loss or self.tasks[0].task_loss, SavedLoss):
            notes.append(_unsaved(verdict.name))
        verdict = verdict.model_copy(update={"notes": tuple(notes)})
        rates = {row.entrant.name: row.lr for row in outcome.rows}
        learned = next((row.entrant.name for row in outcome.rows if row.entrant.learned), None)
        best = result.learned if learned is None else self._told(by_name[learned], verdict, rates[learned])
        assert isinstance(best, LearnedLoss)
        handed = best if verdict.name == learned else self._told(by_name[verdict.name], verdict, rates[verdict.name])
        if learned is None:
            best.info = {**best.info, "verdict": verdict.entries()}
        self._save(handed, best)
        self.log.checkpointing.end(result.ended, result.baseline, len(result.members))
        candidate = result.best if learned is None else by_name[learned].candidate
        assert candidate is not None
        return replace(
            result,
            loss=handed,
            best_learned=best,
            verdict=verdict,
            best=candidate,
            fitness=candidate.own_fitness,
            seconds=self.log.checkpointing.state.seconds,
        )

    def _untested(self, result: LearnResult, verdict: Verdict) -> LearnResult:
        """The result of the search as it was, with a verdict that says that it was not tested."""
        loss, (generation, index) = result.learned, result.best.place
        name = f"candidate {generation}.{index}"
        verdict = verdict.model_copy(update={"name": name, "loss_kind": "learned", "lr": None})
        loss.info = {**loss.info, "verdict": verdict.entries()}
        self._save(loss, loss)
        self.log.checkpointing.end(result.ended, result.baseline, len(result.members))
        return replace(result, verdict=verdict, seconds=self.log.checkpointing.state.seconds)

    def _told(self, finalist: Finalist, verdict: Verdict, lr: float | None) -> LossFunction:
        """The loss with what its file shall say; a task loss that is the user's own function stays as it is."""
        loss = finalist.loss or self.tasks[0].task_loss
        if isinstance(loss, HandcraftedLoss):
            loss = HandcraftedLoss(loss.name, "mean", IGNORED, loss.class_counts).to(self.tasks.device)
        if not isinstance(loss, SavedLoss):
            return loss
        candidate = finalist.candidate
        if candidate is not None and isinstance(loss, LearnedLoss):
            candidate.write_out(loss)
            loss.info = provenance(loss, candidate, self.tasks, self.settings, self.log.baseline)
        else:
            loss.info = chosen(loss, self.tasks, self.settings, self.log.baseline)
        rate = {} if lr is None else {"lr": lr}
        loss.info |= {"tuned_for": {**loss.info["tuned_for"], **rate}, "verdict": verdict.entries()}
        return loss

    def _save(self, handed: LossFunction, learned: LearnedLoss) -> None:
        folder = self.log.folder
        if folder is None:
            return
        folder.require_there()
        with storing(folder.loss):
            learned.save(folder.learned)
            # A function of the user cannot be written; the verdict in the file says what it lost to.
            (handed if isinstance(handed, SavedLoss) else learned).save(folder.loss)


def plan_of(tasks: TaskSet, settings: LearnSettings, members: Sequence[Candidate]) -> FinalsPlan:
    """How the finals of a search are held; its budget is that which was given, or follows from what the search took."""
    finals, lr = settings.finals, settings.base.lr
    budget = finals.base_steps(steps_taken(members, settings, len(tasks)))
    overlap = overlap_of(tasks, finals.folds)
    repeats = 2 if overlap and fewest(tasks) < FEW else 1
    grid = (lr / FACTOR, lr, lr * FACTOR)
    looks = 1 if fewest(tasks) >= finals.folds * SURE else LOOKS
    each = budget // len(tasks)
    more = {"looks": looks, "tasks": len(tasks), "varied": finals.varied}
    return FinalsPlan(finals.steps, grid, finals.folds, repeats, finals.retests, each, overlap, **more)


def require_finals(tasks: TaskSet, settings: LearnSettings) -> None:
    """Make sure, before anything long starts, that finals can be held.

    Raises:
        DataError: A class has fewer instances than there are folds.
        SettingError: The budget that was given is too small.
    """
    finals = settings.finals
    if not finals.finals:
        return
    require_enough(tasks, finals.folds)
    least = _least_budget(tasks, settings)
    if finals.finals_budget is not None and finals.finals_budget < least:
        raise SettingError(
            f"setting 'finals_budget': {finals.finals_budget} base steps are too few for a verdict on trainings of "
            f"{finals.steps} steps; give {least} or more, fewer steps, or switch finals off"
        )


def _least_budget(tasks: TaskSet, settings: LearnSettings) -> int:
    """The base steps below which finals of a search tell nothing."""
    return least_budget(plan_of(tasks, settings, ()), least_entrants(tasks, settings)) * len(tasks)


def too_short_for_finals(tasks: TaskSet, settings: LearnSettings) -> str | None:
    """What to say before a search whose own steps cannot buy finals, where no budget was given; None where they can."""
    finals = settings.finals
    if not finals.finals or finals.finals_budget is not None:
        return None
    least = _least_budget(tasks, settings)
    each = (steps_of_trainings(1, settings) + tuning_steps(settings)) * len(tasks)
    most = finals.base_steps(settings.evaluations * each)
    if most >= least:
        return None
    return (
        f"there will be no finals: they may take {most} base steps at most, {finals.finals_effort:g} times what the "
        f"search takes, and need {least} for trainings of {finals.steps} steps; give a finals_budget, fewer steps, or "
        "a longer search"
    )


def _missing(outcome: FinalsOutcome, failure: str | None) -> Iterator[str]:
    """What the verdict is not about, and why."""
    if not any(row.entrant.learned for row in outcome.rows):
        yield "no learned loss took part, as the search trained none that differs from the known ones"
    if failure is not None and all(row.race is None for row in outcome.rows):
        yield f"every training of the finals failed, the first one because {failure}"


def _unsaved(name: str) -> str:
    """What to say of a verdict that names a loss which no file can hold."""
    return f"{name} is a function of your own, which no file holds: what is saved is the best learned loss"


def _formula(loss: LossFunction | None) -> str:
    return loss.short() if isinstance(loss, SavedLoss) else ""
