"""The command line of live: what is refused before any work, the lock, the status."""

import fcntl
import json
import os
import re
import time

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from xfel_apps.cli import app
from xfel_apps.errors import SettingsError
from xfel_apps.live.layout import LiveFolder, experiment_file
from xfel_apps.live.lock import held, is_daemon_there
from xfel_apps.live.news import News
from xfel_apps.live.show import show
from xfel_apps.live.status import Status

RUN = {
    "trial": "000", "run": "r1", "state": "growing", "n_seen": 400, "n_done": 200, "n_hits": 50,
    "n_indexed": 30, "n_lattices": 33, "latency_s": 4.2, "trouble": "",
}  # fmt: skip
CREW = {
    "name": "c1", "pool": "reservation", "host": "nid001", "n_ranks": 9, "state": "working",
    "n_shots": 200, "shots_hz": 51.4, "beat_age_s": 0.4,
}  # fmt: skip
DATASET = {
    "trial": "000", "dataset": "all", "version": "v007", "made_s": 995.0, "n_runs": 1,
    "n_crystals": 33, "d_min_ang": 2.0, "cc_half": 0.912, "completeness": 0.5, "multiplicity": 3.1,
    "is_final": False,
}  # fmt: skip


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Write an experiment file and return it; sections may be changed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()

    def write(name="experiment.yaml", **sections):
        data = {"live": {"watch": f"{tmp_path}/raw/{{run}}.h5"}, **sections}
        path = tmp_path / name
        path.write_text(yaml.safe_dump(data))
        return str(path)

    return write


def refusal(*arguments: str) -> str:
    """Return the one line that a command is refused with."""
    done = CliRunner().invoke(app, ["live", *arguments])
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("live", "options", "message"),
    [
        ({}, [], "nothing to watch: give live.watch"),
        ({"watch": "/tmp/*.h5"}, [], "write {run} where"),
        ({"watch": "/no/{run}.h5"}, [], "there is no folder /no"),
        (None, ["--once"], "no file is there yet"),
        (None, ["--parsl-config", "nowhere"], "known in .*: .*local.*slurm"),
        (None, ["--blocks", "reservation=1"], "has only the pool local"),
        (None, ["--blocks", "many"], "expected POOL=NUMBER"),
        (None, ["--reservation", "beam"], "has no reservation"),
        (
            None,
            ["--parsl-config", "slurm", "--blocks", "fast=1"],
            "no pool fast.*known: .*realtime",
        ),
        (None, ["--parsl-config", "slurm", "--blocks", "reservation=1"], "the reservation's name"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(experiment, live, options, message):
    path = experiment(**({} if live is None else {"live": live}))
    assert re.search(message.replace("{", r"\{"), refusal(path, *options))


def test_trials_must_fit_together(experiment, tmp_path):
    first = experiment()
    assert "a trial of its own" in refusal(first, experiment("b.yaml"))
    assert "all trials" in refusal(first, experiment("b.yaml", trial="001", results="elsewhere"))
    text = json.dumps({"index": {"cell": "50 60 70 90 90 90"}})
    experiment_file(tmp_path / "results" / "000").parent.mkdir(parents=True)
    experiment_file(tmp_path / "results" / "000").write_text(text)
    assert "other settings of index; choose another name" in refusal(first)


def test_a_folder_that_cannot_be_written_to_is_said(experiment, tmp_path):
    (tmp_path / "results").write_text("a file")
    assert "cannot write there" in refusal(experiment())


def test_a_second_daemon_is_refused_and_told_of_the_first(experiment, tmp_path):
    path = experiment()
    live = LiveFolder(tmp_path / "results")
    assert not is_daemon_there(live)
    with held(live) as presence:
        assert is_daemon_there(live)
        assert f"process {os.getpid()}, since 2" in refusal(path)
        assert json.loads(live.daemon.read_text())["id"] == presence.identity.id
    assert not is_daemon_there(live)
    assert json.loads(live.daemon.read_text())["id"] == ""  # crews end


def test_who_looks_at_the_lock_does_not_keep_a_daemon_out(tmp_path):
    live = LiveFolder(tmp_path)
    live.folder.mkdir()
    live.lock.touch()
    with live.lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(SettingsError, match="only just begun"), held(live):
            pass
    with held(live) as first:
        assert not first.follows_a_killed_one


def test_a_daemon_that_was_killed_is_known_to_the_next(tmp_path):
    live = LiveFolder(tmp_path)
    live.folder.mkdir()
    live.daemon.write_text('{"id": "abc"}')
    with held(live) as presence:
        assert presence.follows_a_killed_one


def shown(status: Status, **more) -> str:
    """Return what is printed, with the spaces of tables and line ends made one."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(show(status, now_s=1000.0, **more))
    return " ".join(capture.get().split())


def test_the_status_says_what_is_asked_for(tmp_path, experiment):
    status = Status(
        daemon={"host": "login1", "pid": 7, "started_s": 940.0}, now_s=999.0, runs=[RUN],
        chunks={"live": 3, "late": 1, "taken": 2, "done": 4}, crews=[CREW],
        blocks={"reservation": {"running": 1, "pending": 1, "most": 2}}, datasets=[DATASET],
        tasks=["seal 000/r0"], news=["12:00:00 run r1 is here"],
    )  # fmt: skip
    text = shown(status, is_there=True)
    for part in (
        "daemon on login1, process 7: at work for 1 min 00 s",
        "r1 growing 400 200 25.0 30 33 4 s",
        "all v007 (live) 5 s ago 1 33 2.00 0.912 50.0 3.1",
        "c1 working reservation nid001 9 200 51.4 0 s ago",
        "3 waiting and 1 of other trials, 2 taken, 4 done",
        "reservation: 1 of 2 blocks (and 1 queued)",
        "under way: seal 000/r0",
        "run r1 is here",
    ):
        assert part in text
    assert "not there any more, since 1 s; below" in shown(status, is_there=False)
    path = experiment()
    status.write(LiveFolder(tmp_path / "results"))
    done = CliRunner().invoke(app, ["live", "--status", path])
    assert done.exit_code == 0, done.output
    assert "not there any more" in done.output


def test_the_status_of_nothing_is_said_in_one_line(experiment):
    assert "nothing was ever processed live here" in refusal("--status", experiment())


def test_trouble_is_said_once_and_so_is_its_end(tmp_path):
    said: list[str] = []
    news = News(tmp_path / "daemon.log", said.append)
    broken = [OSError(28, "No space left on device")]

    def act() -> None:
        if broken:
            raise broken[0]

    assert [news.guard("status", act) for _ in range(3)] == [False] * 3
    broken.clear()
    assert news.guard("status", act)
    assert len(said) == 2
    assert "the disk is full; waiting until there is room" in said[0]
    assert said[1].endswith("status: goes on")
    assert time.strftime("%Y") in (tmp_path / "daemon.log").read_text()
