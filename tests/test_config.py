"""Settings: what is misspelt, out of bounds or of the wrong kind is refused in one line."""

import pytest
from pydantic import Field

from xfel_apps.config import Section, digest, override, read_yaml
from xfel_apps.errors import SettingsError
from xfel_apps.experiment import Experiment
from xfel_apps.presets import PRESETS


class Toy(Section):
    min_snr: float = Field(default=5.0, gt=0)
    """peak height over noise [sigma]"""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"min_srn": 3}, "Toy: min_srn: unknown setting (given: 3)"),
        ({"min_snr": -1}, "Toy: min_snr: Input should be greater than 0 (given: -1)"),
        ({"min_snr": "a"}, "min_snr: Input should be a valid number"),
    ],
)
def test_bad_setting_is_named(data, message):
    with pytest.raises(SettingsError) as error:
        Toy.checked(data)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_from_json():
    assert Toy.from_json('{"min_snr": 3}').min_snr == 3.0
    assert Toy.from_json("") == Toy()
    with pytest.raises(SettingsError, match="not JSON"):
        Toy.from_json("{min_snr")


def test_equal_settings_have_equal_text():
    assert Toy.from_json('{"min_snr": 5}').canonical() == Toy().canonical()


@pytest.mark.parametrize("text", ["index.cell", "=3", "index..cell=3", "a.b=1"])
def test_bad_override_is_refused(text):
    with pytest.raises(SettingsError, match="--set"):
        override({"a": 1}, [text])


def test_override_leaves_the_rest():
    data = {"index": {"n": 1, "m": 2}}
    assert override(data, ["index.n=[1, 2]"]) == {"index": {"n": [1, 2], "m": 2}}
    assert data == {"index": {"n": 1, "m": 2}}


def test_digest_keeps_parts_apart():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab", "c") == digest("ab", "c")


@pytest.mark.parametrize("text", ["- a list", "a: [", "\x00"])
def test_bad_yaml_names_the_file(tmp_path, text):
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"experiment\.yaml"):
        read_yaml(path)
    with pytest.raises(SettingsError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "data", [{"runs": {"live": ["x.h5"]}}, {"runs": {"datasets": ["x.h5"]}}, {"trial": "live"}]
)
def test_names_of_the_workflows_own_folders_are_refused(data):
    with pytest.raises(SettingsError, match=r"cannot be called '(live|datasets)'"):
        Experiment.checked(data)


def test_a_preset_fills_in_what_is_not_given():
    quick = PRESETS["live"]
    experiment = Experiment.checked({"preset": "live", "merge": {"n_cycles": 7}})
    assert experiment.merge.n_cycles == 7
    for name, section in {**quick, "merge": {}}.items():
        assert experiment.section(name).model_dump().items() >= section.items()
    again = Experiment.checked(experiment.model_dump(mode="json"))
    assert again == experiment
    assert Experiment.checked({"preset": "final"}) == Experiment()


def test_an_unknown_preset_is_refused():
    with pytest.raises(SettingsError, match=r"preset: .*'final' or 'live'"):
        Experiment.checked({"preset": "fast"})


def test_groups_of_runs_that_overlap_or_are_misspelt_are_refused():
    two = {"a": {"first": "r1", "last": "r9"}, "b": {"first": "r9", "last": "r20"}}
    with pytest.raises(SettingsError, match="run r9 is in more than one group: a, b"):
        Experiment.checked({"runs": {"r9": ["x.h5"]}, "groups": two})
    wrong = {"a": {"first": "r1", "last": "r9", "ingest": {"distance": 3}}}
    with pytest.raises(SettingsError, match="distance: unknown setting"):
        Experiment.checked({"groups": wrong})
