"""Stand-ins for Slurm's commands: they take every block and note its script."""

from pathlib import Path

import pytest

SBATCH = """#!/bin/sh
[ "$1" = --test-only ] && exit 0
cp "$1" {folder}/script
echo "Submitted batch job 1"
"""
EXECUTOR = "parsl.executors.high_throughput.executor"
NOT_THERE = "#!/bin/sh\nexit 1\n"


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, sbatch: str = SBATCH) -> None:
    """Put the commands in a folder, and first on the path."""
    for name in ("sacct", "sinfo", "squeue", "sacctmgr", "scontrol", "scancel"):
        write_command(folder / name, NOT_THERE)
    write_command(folder / "sbatch", sbatch.format(folder=folder))
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    know_address(monkeypatch)


def know_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Parsl from asking a machine in the Internet for its address, and leaking sockets."""
    monkeypatch.setattr(f"{EXECUTOR}.get_all_addresses", lambda: {"127.0.0.1"})


def write_command(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
