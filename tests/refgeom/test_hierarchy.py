import numpy as np
import pytest

from xfel_apps.errors import GeometryError, SettingsError
from xfel_apps.refgeom.hierarchy import groups_by_name, groups_by_pattern, moving, tree

CSPAD = [f"ARRAY_D0Q{q}S{s}A{a}" for q in range(4) for s in range(8) for a in range(2)]


def test_names_of_a_cspad_say_quadrants_and_sensors():
    nodes = tree(CSPAD, groups_by_name(CSPAD), panels=True)
    by_name = {node.name: node for node in nodes}
    assert len(nodes) == 1 + 4 + 32 + 64
    sensor = by_name["ARRAY_D0Q1S2"]
    assert [CSPAD[i] for i in sensor.panels] == ["ARRAY_D0Q1S2A0", "ARRAY_D0Q1S2A1"]
    assert nodes[sensor.parent].name == "ARRAY_D0Q1"
    assert nodes[by_name["ARRAY_D0Q1S2A1"].parent] is sensor
    assert nodes[by_name["ARRAY_D0Q1"].parent].name == "detector"


def test_one_panel_is_the_detector():
    assert [node.name for node in tree(["panel"], {}, panels=True)] == ["detector"]


def test_groups_that_overlap_are_refused():
    with pytest.raises(GeometryError, match="a and b overlap"):
        tree(["p0", "p1", "p2", "p3"], {"a": [0, 1], "b": [1, 2]}, panels=True)


@pytest.mark.parametrize(("pattern", "says"), [("x", "matches no panel"), ("(", "is no pattern")])
def test_patterns_that_say_nothing_are_refused(pattern, says):
    with pytest.raises(SettingsError, match=says):
        groups_by_pattern(["q0a0", "q0a1"], [pattern])


def test_panels_with_few_spots_stay_with_their_group():
    names = ["q0a0", "q0a1", "q1a0", "q1a1"]
    nodes = tree(names, groups_by_name(names), panels=True)
    free, kept = moving(nodes, np.array([100, 9, 5, 5]), 20)
    assert [nodes[i].name for i in free] == ["detector", "q0", "q0a0"]
    assert [nodes[i].name for i in kept] == ["q1", "q0a1", "q1a0", "q1a1"]
