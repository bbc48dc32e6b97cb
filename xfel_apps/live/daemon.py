"""The daemon: watches, cuts, keeps crews at work, seals, merges and reports, for days.

All that it knows can be read from the disk again: whoever kills it loses nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from xfel_apps.live.chunk import Facts
from xfel_apps.live.crew.recover import recover
from xfel_apps.live.crews import Crews
from xfel_apps.live.finish import Finish
from xfel_apps.live.fleet import Fleet
from xfel_apps.live.intake import Intake
from xfel_apps.live.layout import LiveFolder
from xfel_apps.live.lock import Identity
from xfel_apps.live.news import News
from xfel_apps.live.queue import LIVE_FIRST, Queue, chunk_key
from xfel_apps.live.run import TrialRun
from xfel_apps.live.status import Status, of_crew, of_run, of_version
from xfel_apps.live.tasks import Tasks
from xfel_apps.live.trial import LiveTrial
from xfel_apps.live.watch import Seen, Watch

MISSING_EVERY_S = 2.0
"""Time between looks for chunks that are nowhere [s]."""
STATUS_EVERY_S = 1.0
RETRY_S = 10.0
"""A run that cannot be taken in is tried again after so long [s]."""

Key = tuple[str, str]


class Daemon:
    """One look at everything at a time.

    Parameters
    ----------
    trials : the live trial, then those that reprocess its runs
    watch : tells of runs
    fleet : where work is done
    identity : of the daemon
    news : what happens is said there
    """

    def __init__(
        self,
        trials: Sequence[LiveTrial],
        watch: Watch,
        fleet: Fleet,
        identity: Identity,
        news: News,
    ) -> None:
        self.trials, self._watch, self._fleet = list(trials), watch, fleet
        self._identity, self._news = identity, news
        first = self.trials[0]
        self.live = LiveFolder(first.folder.parent)
        self.queue = Queue(self.live)
        arguments = ["--results", str(self.live.results), "--daemon", identity.id]
        arguments += ["--live", first.experiment.live.canonical()]
        arguments += ["--worker", first.experiment.worker.canonical()]
        self.crews = Crews(self.live, fleet, recover, arguments, news.say)
        self.tasks = Tasks(fleet, self.live.folder / "logs", news.say)
        self.finish = {trial.name: Finish(trial, self.tasks) for trial in self.trials}
        self.runs: dict[Key, TrialRun] = {}
        self._intakes: dict[Key, Intake] = {}
        self._retry_s: dict[Key, float] = {}
        self._seen: dict[str, Seen] = {}
        self._has_polled = False
        self._poll_s = self._missing_s = self._status_s = 0.0

    def step(self) -> None:
        """Look at everything once; what goes wrong in one place stops nothing elsewhere."""
        actions: dict[str, Callable[[], None]] = {
            "experiment file": self._renew_trials,
            "catalog": self._ask_catalog,
            "watching": self._poll,
            "taking in": self._take_in,
            "looking after crews": self.crews.look,
            "looking for what is done": self._look_for_done,
            "looking for lost chunks": self._put_missing,
            "tasks": self.tasks.look,
            "finishing": self._finish,
            "starting crews": self._start_crews,
            "ending idle blocks": self._fleet.shrink,
            "status": self._renew_status,
        }
        for what, action in actions.items():
            self._news.guard(what, action)

    def _renew_trials(self) -> None:
        for trial in self.trials:
            if said := trial.renew():
                self._news.say(said)

    def _ask_catalog(self) -> None:
        """Tell the catalog of new runs, and learn of tags, datasets and trials."""
        first = self.trials[0]
        catalog = first.catalog
        if catalog is None or not catalog.is_time():
            return
        catalog.put_runs({run.run: run.paths for run in self.runs_of(first, with_excluded=True)})
        for trial in self.trials:
            trial.ask_catalog()
        known = [trial.name for trial in self.trials]
        for name in catalog.trials_after(first.name):
            if name not in known:
                trial = LiveTrial(first.path, first, name)
                self.trials.append(trial)
                self.finish[name] = Finish(trial, self.tasks)
                self._news.say(f"trial {name} of the catalog: its datasets' runs are reprocessed")

    def _poll(self) -> None:
        """Ask for runs; large folders are asked for less often."""
        if time.monotonic() < self._poll_s:
            return
        start_s = time.monotonic()
        self._seen = {seen.run: seen for seen in self._watch.poll()}
        self._has_polled = True
        end_s = time.monotonic()
        self._poll_s = end_s + 5.0 * (end_s - start_s)

    def _take_in(self) -> None:
        """Look at all runs for what is new; a run that gives trouble is left alone for a while."""
        for trial in self.trials:
            for seen in self._seen.values():
                key = (trial.name, seen.run)
                if trial.is_excluded(seen.run) or time.monotonic() < self._retry_s.get(key, 0.0):
                    continue
                works = self._news.guard(_what(key), lambda t=trial, s=seen: self._take(t, s))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
                if not works:
                    self._retry_s[key] = time.monotonic() + RETRY_S

    def _take(self, trial: LiveTrial, seen: Seen) -> None:
        """Take in what is new of a run."""
        key = (trial.name, seen.run)
        run = self._known_run(trial, seen.run)
        was_sealed, was_complete = run.sealed, run.is_complete
        run.look_for_seal(seen)
        if run.sealed is not None:
            run.is_complete = True
            self._intakes.pop(key, None)
            if was_sealed is None:
                self._news.say(f"{_what(key)} is sealed: {_counts(run)}")
            return
        run.load()
        n_before = run.n_seen
        if key not in self._intakes:
            self._intakes[key] = Intake(run, self.queue, self._watch.quiet_s)
        self._intakes[key].look(seen)
        if run.n_seen.bit_length() > n_before.bit_length():  # it has doubled
            self._news.say(f"{_what(key)}: {run.n_seen} shots so far")
        if run.is_complete and not was_complete:
            self._news.say(f"{_what(key)} is complete: {run.n_seen} shots")

    def _known_run(self, trial: LiveTrial, name: str) -> TrialRun:
        key = (trial.name, name)
        if key not in self.runs:
            run = TrialRun(trial, name, self._watch.paths(name), self._facts(trial))
            runs = {r.run: r.paths for r in self.runs_of(trial, with_excluded=True)}
            trial.write_settings({**runs, name: run.paths})
            self.runs[key] = run
            self._news.say(f"{_what(key)} is here")
        return self.runs[key]

    def _facts(self, trial: LiveTrial) -> Facts:
        """Return what the last run that was sealed tells of the next."""
        known = [run for run in self.runs_of(trial) if run.sealed]
        return known[-1].sealed_facts() if known else Facts()

    def runs_of(self, trial: LiveTrial, *, with_excluded: bool = False) -> list[TrialRun]:
        """Return the runs of a trial in order of their names."""
        runs = [run for (name, _), run in sorted(self.runs.items()) if name == trial.name]
        return [run for run in runs if with_excluded or not trial.is_excluded(run.run)]

    def _look_for_done(self) -> None:
        for run in self.runs.values():
            if not run.sealed and run.look_for_done():
                run.renew_facts(self.queue)

    def _put_missing(self) -> None:
        """Put chunks that are nowhere into the queue, and take those of excluded runs out."""
        if time.monotonic() < self._missing_s:
            return
        self._missing_s = time.monotonic() + MISSING_EVERY_S
        waiting = self.queue.waiting()
        taken = [path.name for path in self.live.taken("x").parent.glob("*/[0-9]*.json")]
        present = {chunk_key(name) for name in [*waiting, *taken]}
        for (_, name), run in self.runs.items():
            if run.sealed:
                continue
            if run.trial.is_excluded(name):
                own = run.keys()
                for entry in waiting:
                    if chunk_key(entry) in own:
                        (self.live.queue / entry).unlink(missing_ok=True)
            elif n_put := run.put_missing(present, self.queue):
                self._news.say(f"run {name} of trial {run.trial.name}: {n_put} chunks wait again")

    def _finish(self) -> None:
        for trial in self.trials:
            finish, runs = self.finish[trial.name], self.runs_of(trial)
            self._news.guard(f"trial {trial.name}", lambda f=finish, r=runs: f.step(r))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults

    def _start_crews(self) -> None:
        self.crews.start_wanted(*self._waiting())

    def _waiting(self) -> tuple[int, int]:
        """Return how many chunks wait, of the live trial and of the others."""
        names = self.queue.waiting()
        n_live = sum(name.startswith(f"{LIVE_FIRST}-") for name in names)
        return n_live, len(names) - n_live

    @property
    def is_drained(self) -> bool:
        """Whether all that is there is done, or cannot be done."""
        if not self._has_polled:
            return False
        for trial in self.trials:
            runs = self.runs_of(trial)
            n_runs = sum(not trial.is_excluded(name) for name in self._seen)
            if len(runs) < n_runs - self._n_refused(trial):
                return False
            if not self.finish[trial.name].is_drained(runs):
                return False
        return True

    def _n_refused(self, trial: LiveTrial) -> int:
        """Return how many runs cannot even be begun."""
        keys = [(trial.name, name) for name in self._seen]
        return sum(key not in self.runs and bool(self._news.trouble(_what(key))) for key in keys)

    @property
    def failures(self) -> list[str]:
        """What could not be done."""
        found = []
        for trial in self.trials:
            found += self.finish[trial.name].has_failed(self.runs_of(trial))
            keys = [(trial.name, name) for name in self._seen]
            found += [_what(key) for key in keys if self._news.trouble(_what(key))]
        return found

    def status(self) -> Status:
        """Return what is known now."""
        n_live, n_late = self._waiting()
        n_taken = sum(1 for _ in self.live.taken("x").parent.glob("*/[0-9]*.json"))
        chunks = [chunk for run in self.runs.values() for chunk in run.chunks.values()]
        versions = [
            of_version(name, dataset, version)
            for name, finish in self.finish.items()
            for dataset, version in finish.versions.items()
        ]
        return Status(
            daemon=asdict(self._identity),
            now_s=time.time(),
            runs=[of_run(run, *self._state(run)) for _, run in sorted(self.runs.items())],
            chunks={
                "live": n_live,
                "late": n_late,
                "taken": n_taken,
                "done": sum(chunk.done is not None for chunk in chunks),
            },
            crews=[of_crew(crew) for crew in self.crews.crews.values()],
            blocks=self._fleet.blocks(),
            datasets=versions,
            tasks=self.tasks.under_way(),
            news=list(self._news.last),
        )

    def _state(self, run: TrialRun) -> tuple[str, str]:
        """Return how a run stands, and what is wrong with it."""
        finish = self.finish[run.trial.name]
        trouble = self._news.trouble(_what((run.trial.name, run.run))) or finish.trouble(run)
        if run.trial.is_excluded(run.run):
            return "excluded", ""
        if trouble:
            return "trouble", trouble
        if run.sealed:
            return "sealed", ""
        if self.tasks.is_under_way(finish.sealing(run)):
            return "sealing", ""
        return ("finishing" if run.is_complete else "growing"), ""

    def _renew_status(self) -> None:
        if time.monotonic() >= self._status_s:
            self._status_s = time.monotonic() + STATUS_EVERY_S
            self.write_status()

    def write_status(self) -> None:
        """Write what is known now."""
        self.status().write(self.live)


def _what(key: Key) -> str:
    return f"run {key[1]} of trial {key[0]}"


def _counts(run: TrialRun) -> str:
    outcomes = ", ".join(f"{n} {name}" for name, n in run.outcomes.items() if n)
    return f"{outcomes or 'no shots'}; {run.n_lattices} lattices"
