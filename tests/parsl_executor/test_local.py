"""Snakemake jobs through Parsl on this machine: as the built-in executors do them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from snakemake_executor_plugin_parsl.command import (
    BLOCK_END,
    BLOCK_LEAVES,
    TOO_LATE,
    Command,
    run_command,
)
from snakemake_executor_plugin_parsl.configs import load_config
from snakemake_executor_plugin_parsl.settings import ExecutorSettings
from snakemake_interface_common.exceptions import WorkflowError

REPO = Path(__file__).parents[2]
PLUGIN = REPO / "snakemake-executor-plugin-parsl" / "src"

SNAKEFILE = """
rule all:
    input:
        expand("out/{i}.txt", i=range(6)), "out/run.txt", "out/script.txt", "out/shadow.txt",
        "out/group.txt", "out/again.txt", "out/bad.txt"
rule one:
    output: "out/{i}.txt"
    wildcard_constraints: i="[0-9]"
    log: "logs/{i}.log"
    benchmark: "benchmarks/{i}.tsv"
    threads: 2
    shell: "echo $OMP_NUM_THREADS $PWD $TMPDIR > {output}; echo said {wildcards.i} > {log}"
rule run:
    output: "out/run.txt"
    run:
        open(output[0], "w").write("by a second Snakemake")
rule script:
    output: "out/script.txt"
    script: "script.py"
rule shadow:
    output: "out/shadow.txt"
    shadow: "minimal"
    shell: "echo $PWD > {output}; touch left"
rule group_1:
    output: temp("out/part.txt")
    group: "both"
    shell: "echo $PPID > {output}"
rule group_2:
    input: "out/part.txt"
    output: "out/group.txt"
    group: "both"
    shell: "(cat {input}; echo $PPID) > {output}"
rule again:
    output: "out/again.txt"
    shell: "echo x >> starts.txt; [ $(wc -l < starts.txt) -ge 3 ] || exit 75; "
        "cp starts.txt {output}"
rule bad:
    output: "out/bad.txt"
    shell: "touch {output}; echo what went wrong; false | cat; echo not reached"
"""


SCRIPT = "open(snakemake.output[0], 'w').write(snakemake.rule)"


def start(
    folder: Path, snakefile: str, *options: str, config: str = "parsl_configs.local"
) -> subprocess.Popen[str]:
    (folder / "Snakefile").write_text(snakefile)
    (folder / "script.py").write_text(SCRIPT)
    command = f"-m snakemake --executor parsl --parsl-config {config} --jobs 20"
    return subprocess.Popen(
        [sys.executable, *command.split(), *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{PLUGIN}{os.pathsep}{REPO}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """Run a workflow of good and bad jobs once; return its folder, exit code and what it said."""
    folder = tmp_path_factory.mktemp("local")
    process = start(folder, SNAKEFILE, "--keep-going")
    said, _ = process.communicate(timeout=400)
    return folder, process.returncode, said


def test_plain_jobs_have_snakemakes_environment(run):
    folder, _, said = run
    for i in range(6):
        text = (folder / "out" / f"{i}.txt").read_text().split()
        assert text == ["2", str(folder), text[2]], said
        assert Path(text[2]).is_dir()
        assert (folder / "logs" / f"{i}.log").read_text() == f"said {i}\n"


def test_benchmark_files_are_snakemakes(run):
    header, row = (run[0] / "benchmarks" / "3.tsv").read_text().splitlines()
    assert header.split("\t")[:3] == ["s", "h:m:s", "max_rss"]
    assert len(row.split("\t")) == len(header.split("\t"))


def test_python_jobs_go_the_standard_way(run):
    assert (run[0] / "out" / "run.txt").read_text() == "by a second Snakemake", run[2]
    assert (run[0] / "out" / "script.txt").read_text() == "script"


def test_shadow_jobs_have_a_folder_of_their_own(run):
    folder = run[0]
    assert Path((folder / "out" / "shadow.txt").read_text().strip()).parent != folder
    assert not (folder / "left").exists()


def test_groups_run_as_one_job(run):
    """Both rules of the group were started by the same second Snakemake."""
    starters = (run[0] / "out" / "group.txt").read_text().split()
    assert len(starters) == 2
    assert not (run[0] / "out" / "part.txt").exists()
    logs = [path.name for path in (run[0] / ".snakemake" / "parsl_logs").iterdir()]
    assert not {"group_1", "group_2"} & set(logs)


def test_stopped_jobs_go_on(run):
    assert (run[0] / "out" / "again.txt").read_text() == "x\nx\nx\n"


def test_failed_jobs_are_reported_and_leave_no_output(run):
    folder, code, said = run
    assert code == 1
    assert "Error in rule bad" in said
    assert not (folder / "out" / "bad.txt").exists()
    [log] = (folder / ".snakemake" / "parsl_logs" / "bad").iterdir()
    assert log.read_text() == "what went wrong\n"


LONG = """
rule long:
    output: "out.txt"
    shell: "touch {output}; echo $$ > pid; sleep 300"
"""


def test_cancelling_ends_the_jobs(tmp_path):
    """Ctrl-C ends Snakemake, its jobs and their blocks, and leaves no half-made output."""
    process = start(tmp_path, LONG)
    job = wait_for_pid(tmp_path / "pid")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode != 0
    end = time.monotonic() + 30
    while job.exists():
        assert time.monotonic() < end, "the job is still there"
        time.sleep(0.1)


def wait_for_pid(path: Path, limit_s: float = 300.0) -> Path:
    """Return the folder of a process under /proc when its number is in a file."""
    end = time.monotonic() + limit_s
    while not path.is_file() or not path.read_text().strip():
        assert time.monotonic() < end, "the job did not start"
        time.sleep(0.1)
    return Path("/proc", path.read_text().strip())


def test_no_job_starts_that_ends_after_its_block(tmp_path, monkeypatch):
    monkeypatch.setenv(BLOCK_END, "100")
    command = Command(text="touch made", folder=str(tmp_path), log="log", runtime_s=1)
    assert run_command(command) == TOO_LATE
    assert not (tmp_path / "made").exists()


def test_no_job_starts_in_a_block_that_gives_way(tmp_path, monkeypatch):
    leaves = tmp_path / "leaves"
    monkeypatch.setenv(BLOCK_LEAVES, str(leaves))
    command = Command(text="touch made", folder=str(tmp_path), log="log")
    leaves.touch()
    assert run_command(command) == TOO_LATE
    assert not (tmp_path / "made").exists()
    leaves.unlink()
    assert run_command(command) == 0


def test_commands_longer_than_an_argument_can_be(tmp_path):
    command = Command(text=f"true {'x' * 300_000}; exit 3", folder=str(tmp_path), log="log")
    assert run_command(command) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"config": "mars"},
            "no module parsl_configs.mars; known in .*: frontier, local, perlmutter, slurm",
        ),
        ({"config": "local", "account": "m1234"}, "has no account; it takes: max_blocks"),
    ],
)
def test_bad_settings_are_one_line_that_names_the_valid_ones(settings, message):
    with pytest.raises(WorkflowError, match=message):
        load_config(ExecutorSettings(**settings), REPO)
