"""Blocks of Parsl that run a packed environment."""

import pytest

from parsl_configs._environment import activation
from xfel_apps.pack_env.pack import TEMPLATE


def test_a_block_sources_the_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "my env.sh"
    script.write_bytes(TEMPLATE.read_bytes())
    (command,) = activation("my env.sh")
    assert command.startswith(f"source '{script}' || ")
    assert activation(None) == ()


def test_only_the_script_of_a_packed_environment_will_do(tmp_path):
    archive = tmp_path / "env.tar.zst"
    with pytest.raises(ValueError, match="`xfelflow pack-env` makes one"):
        activation(str(archive))
    archive.write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(ValueError, match="the script is wanted"):
        activation(str(archive))
