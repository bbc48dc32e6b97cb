"""What a worker does when it is told that its block must end."""

import os
import signal
import threading
import time

import pytest
from snakemake_executor_plugin_parsl.command import TRY_AGAIN, Command, run_command

# As an app that flushes and ends; bash itself waits for the one it has started.
FLUSHES = """
bash -c 'trap "echo flushed > {folder}/flushed; exit 75" INT; touch {folder}/started
for i in $(seq 600); do sleep 0.1; done'
"""
ENDS_WELL = "trap 'exit 0' INT; touch {folder}/started; for i in $(seq 600); do sleep 0.1; done"
DEAF = "touch {folder}/started; sleep 60"


@pytest.mark.parametrize(
    ("text", "code"), [(FLUSHES, TRY_AGAIN), (ENDS_WELL, 0), (DEAF, TRY_AGAIN)]
)
def test_commands_are_told_and_tried_again(tmp_path, text, code):
    def tell() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGURG)

    teller = threading.Thread(target=tell)
    teller.start()
    command = Command(text.format(folder=tmp_path), str(tmp_path), "log", cores=1)
    assert run_command(command) == code
    teller.join()
    assert (tmp_path / "flushed").exists() == (text == FLUSHES)


def test_failures_without_notice_are_failures(tmp_path):
    assert run_command(Command("exit 3", str(tmp_path), "log", cores=1)) == 3
    os.kill(os.getpid(), signal.SIGURG)  # nobody listens, nothing happens
