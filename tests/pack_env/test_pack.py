"""A small environment is packed, its sources go, and it runs from another place."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xfel_apps.errors import PackError
from xfel_apps.pack_env import PackedEnvironment, contents, measure_start, pack_env
from xfel_apps.pack_env.interpreter import SITE

ANSWER = "def answer() -> int:\n    return 42\n"
FRESH = "find $VIRTUAL_ENV -newer $VIRTUAL_ENV/pyvenv.cfg -name '*.pyc'"
ASK = "import sys, tiny; print(tiny.answer(), sys.prefix, tiny.__file__, tiny.__cached__)"
INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n",
    "direct_url.json": '{"url":"file:///src","dir_info":{"editable":true}}',
    "INSTALLER": "pip",
    "RECORD": "tiny.pth,,\n_tiny_hook.py,,\n../../../bin/tiny-says,,\n"
    "tiny-1.dist-info/METADATA,,\n",
}


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an environment with a package that is installed from its sources; return those."""
    site, src = tmp_path / "venv" / SITE, tmp_path / "src"
    for folder in (src / "tiny" / "tests", src / "docs", site / "tiny-1.dist-info"):
        folder.mkdir(parents=True)
    (src / "tiny" / "__init__.py").write_text(ANSWER)
    (src / "tiny" / "tests" / "test_tiny.py").write_text("")
    (src / "docs" / "__init__.py").write_text("")
    for name, text in INFO.items():
        (site / "tiny-1.dist-info" / name).write_text(text)
    (site / "tiny.pth").write_text(f"{src}\nimport _tiny_hook\n")
    (site / "_tiny_hook.py").write_text("print('looking for the sources')\n")
    says = tmp_path / "venv" / "bin" / "tiny-says"
    says.parent.mkdir()
    says.write_text(f"#!{tmp_path}/venv/bin/python\nimport tiny\nprint(tiny.answer())\n")
    says.chmod(0o755)
    (tmp_path / "tiny.py").write_text("raise ImportError('taken from the current folder')\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(src))
    monkeypatch.setattr(contents, "ROOTS", ("tiny",))
    monkeypatch.setattr(contents, "OWN_PACKAGES", ())
    return src


def pack(folder: Path) -> PackedEnvironment:
    (folder / "node").mkdir(exist_ok=True)
    return pack_env(folder / "env.tar.zst", str(folder / "node"))


def start(packed: PackedEnvironment, commands: str) -> subprocess.Popen[str]:
    """Start a script that has sourced the packed environment."""
    return subprocess.Popen(
        ["bash", "-c", f"source {packed.script} || exit 1\n{commands}"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "/nowhere"},
        cwd=packed.archive.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def copies(folder: Path) -> list[str]:
    """Return what lies on the node."""
    (mine,) = (folder / "node").iterdir()
    return sorted(path.name for path in mine.iterdir() if path.name != "lock")


def test_many_at_once_share_one_copy_that_goes_with_the_last(sources, tmp_path):
    packed = pack(tmp_path)
    assert packed.packages == ("tiny",)
    sources.rename(tmp_path / "gone")
    here, n = tmp_path / "here", 3
    here.mkdir()
    wait = f"touch {here}/$$; for i in $(seq 900); do [ $(ls {here} | wc -l) = {n} ] && break; "
    asks = f"{wait} sleep 0.1; done; python -c '{ASK}'; tiny-says; stat -c %i $VIRTUAL_ENV; {FRESH}"
    started = [start(packed, asks) for _ in range(n)]
    said = [process.communicate(timeout=120) for process in started]
    assert len(set(said)) == 1, said
    assert said[0][1] == ""
    # The same folder for all, and nothing was compiled there.
    asked, script_said, _inode = said[0][0].splitlines()
    answer, prefix, file, cached = asked.split()
    assert answer == script_said == "42"
    assert Path(prefix).is_relative_to(tmp_path / "node")
    assert file == f"{prefix}/{SITE}/tiny/__init__.py"
    assert Path(cached).parent.name == "__pycache__"
    assert copies(tmp_path) == []


def test_what_a_killed_job_left_goes_and_a_change_is_seen(sources, tmp_path):
    killed = start(pack(tmp_path), "echo; while :; do sleep 0.1; done")
    assert killed.stdout
    killed.stdout.readline()
    killed.kill()
    killed.communicate(timeout=60)
    old = copies(tmp_path)
    assert len(old) == 2
    (sources / "tiny" / "__init__.py").write_text(ANSWER.replace("42", "4300"))
    process = start(pack(tmp_path), "ls $(dirname $VIRTUAL_ENV); tiny-says")
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert said.splitlines()[-1] == "4300"
    assert not set(old) & set(said.split())
    assert copies(tmp_path) == []


def test_equal_files_make_an_equal_archive_and_a_bad_one_leaves_nothing(sources, tmp_path):
    packed = pack(tmp_path)
    text = packed.script.read_text()
    time.sleep(1.1)  # times in an archive are whole seconds
    assert pack(tmp_path).script.read_text() == text
    packed.script.write_text(text.replace(f"free < {packed.unpacked_kb}", f"free < {10**15}"))
    assert "MB left and the environment needs" in one_line_of_failure(packed)
    packed.script.write_text(text)
    packed.archive.write_bytes(b"no archive")
    assert "cannot unpack" in one_line_of_failure(packed)
    packed.archive.unlink()
    assert "run xfelflow pack-env again" in one_line_of_failure(packed)
    assert copies(tmp_path) == []


def one_line_of_failure(packed: PackedEnvironment) -> str:
    process = start(packed, "python")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "extra", "expected"),
    [
        ("env.zip", (), "must end with one of .tar.zst, .tar.lz4, .tar"),
        ("env.tar", ("no_such_package",), "no package no_such_package"),
        ("no/such/folder/env.tar", (), "cannot write"),
    ],
)
def test_errors_say_what_to_do(sources, tmp_path, name, extra, expected):
    with pytest.raises(PackError, match=expected):
        pack_env(tmp_path / name, "/tmp", extra)
    assert list(tmp_path.rglob("*env.*")) == []


def test_measure_counts_the_files_of_this_environment():
    measured = measure_start()
    assert measured.import_s > 0
    assert measured.files[os.path.realpath(sys.prefix)] > 100
    assert measured.host in measured.summary()
