"""The trainings of finals: done by an executor, written down in the order in which finals ask for them."""

from collections.abc import Sequence

from evomal.config import LearnSettings
from evomal.evaluation.finals import Trial
from evomal.evaluation.finals.ledger import Follow
from evomal.evaluation.finals.training import FinalTraining, grouped, train_finals
from evomal.executors import Stream
from evomal.foundation.contexts import uninterrupted
from evomal.search.finalists import Finalist
from evomal.search.finals_journal import FinalsJournal, known_as
from evomal.search.search_log import SearchLog


class FinalsTrainings:
    """Has the trainings done that are not in the journal yet.

    Those that are sure to be asked for next begin while others are waited for; they are written down when they are
    asked for, so that the journal is the same however many work.

    Args:
        stream: Where they are done.
        settings: All settings of the search.
        those: Whose losses they are.
        journal: What is finished, and where it is written.
        log: That of the search: its watcher is told, its limits are looked at.
        lanes: How many trainings of one split are done at once. A group is done whole, whatever of it is known, as last
            bits depend on the company.
    """

    def __init__(
        self,
        stream: Stream,
        settings: LearnSettings,
        those: Sequence[Finalist],
        journal: FinalsJournal,
        log: SearchLog,
        lanes: int = 1,
    ) -> None:
        self._stream, self._settings, self._those = stream, settings, those
        self._journal, self._log, self._lanes = journal, log, lanes
        self._names = [known_as(finalist) for finalist in those]
        self._follow: Follow = lambda trial, value: ()
        self._under_way: dict[int, Sequence[Trial]] = {}
        self._begun: set[Trial] = set()
        self._finished: dict[Trial, FinalTraining] = {}
        self.failure: str | None = None
        """Why the first training failed that did, in the order in which they were asked for; None if all went well."""

    def ahead(self, follow: Follow) -> None:
        """From now on it is known which trainings are sure to follow another."""
        self._follow = follow

    def measure(self, trials: Sequence[Trial]) -> list[float]:
        """The metrics of some trainings, in their order."""
        left = [trial for trial in trials if self._known(trial) is None]
        self._log.watcher.stage("finals", len(left))
        for group in grouped(trials, self._lanes):
            self._begin(group)
        for trial in left:
            while trial not in self._finished:
                number, trained = self._stream.next_finished()
                for done, training in zip(self._under_way.pop(number), trained, strict=True):
                    if self._known(done) is None:
                        self._finished[done] = training
                        self._go_on(done, training)
            found = self._finished.pop(trial)
            with uninterrupted():
                self._journal.write(self._names[trial.entrant], trial, found)
            self._log.watcher.final(self._those[trial.entrant].entrant, trial, found.value)
            self._log.limits.check_time()
        known = [self._known(trial) for trial in trials]
        self.failure = self.failure or next((one.reason for one in known if one is not None and one.reason), None)
        return [training.value for training in known if training is not None]

    def _known(self, trial: Trial) -> FinalTraining | None:
        return self._journal.value(self._names[trial.entrant], trial)

    def _begin(self, group: Sequence[Trial]) -> None:
        """Hand in trainings of one split, once; of one that is known already, what follows it."""
        left = False
        for trial in group:
            known = self._known(trial)
            if known is not None:
                self._go_on(trial, known)
            elif trial not in self._begun:
                left = True
                self._begun.add(trial)
        if left:
            entrants = [(self._those[trial.entrant].loss, trial.lr) for trial in group]
            job = (self._settings, entrants, group[0].split, group[0].steps)
            # What is asked for now has the lower split.
            self._under_way[self._stream.submit(train_finals, job, rank=(group[0].split,))] = group

    def _go_on(self, trial: Trial, found: FinalTraining) -> None:
        for further in self._follow(trial, found.value):
            self._begin([further])
