"""Which panels move together: a tree of the detector, its groups and its panels.

A group is a set of panels. Groups lie in one another or apart, so that each has one parent: the
smallest set that holds it. They come, in this order, from the patterns of the settings, from the
rigid groups of a CrystFEL geometry, or from the panels' names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError, SettingsError

DETECTOR = "detector"


@dataclass(frozen=True)
class Node:
    """What moves as one.

    Attributes
    ----------
    name : of the group or panel
    panels : indices of its panels
    parent : index of the node that it belongs to; -1 for the detector
    is_panel : a leaf
    """

    name: str
    panels: tuple[int, ...]
    parent: int
    is_panel: bool = False


def tree(names: Sequence[str], groups: Mapping[str, Iterable[int]], *, panels: bool) -> list[Node]:
    """Return the nodes, parents before children: the detector, groups by size, panels.

    Parameters
    ----------
    names : of the panels
    groups : name -> indices of panels; groups of one or all panels say nothing and are dropped
    panels : whether panels move by themselves
    """
    sets: dict[frozenset[int], str] = {}
    for name, members in groups.items():
        found = frozenset(members)
        if 1 < len(found) < len(names):
            sets.setdefault(found, name)
    nodes = [Node(DETECTOR, tuple(range(len(names))), -1)]
    for found in sorted(sets, key=lambda item: (-len(item), sorted(item))):
        nodes.append(Node(sets[found], tuple(sorted(found)), _parent(nodes, found, sets[found])))
    if panels and len(names) > 1:
        leaves = [
            Node(name, (i,), _parent(nodes, frozenset([i]), name), is_panel=True)
            for i, name in enumerate(names)
        ]
        nodes += leaves
    return nodes


def _parent(nodes: Sequence[Node], members: frozenset[int], name: str) -> int:
    """Return the index of the last, smallest node that holds all of `members`."""
    best = 0
    for number, node in enumerate(nodes):
        common = members & set(node.panels)
        if len(common) == len(members):
            best = number
        elif common and not node.is_panel:
            raise GeometryError(
                f"panel groups {node.name} and {name} overlap and neither holds the other; "
                "give groups that nest (refgeom.groups)"
            )
    return best


def groups_by_pattern(names: Sequence[str], patterns: Iterable[str]) -> dict[str, list[int]]:
    r"""Return text matched at the beginning of names -> indices of the panels.

    >>> groups_by_pattern(["q0a0", "q0a1", "q1a0"], [r"q\d+"])
    {'q0': [0, 1], 'q1': [2]}
    """
    result: dict[str, list[int]] = {}
    for pattern in patterns:
        try:
            found = [re.match(pattern, name) for name in names]
        except re.error as err:
            raise SettingsError(f"refgeom.groups: {pattern!r} is no pattern ({err})") from err
        if not any(found):
            raise SettingsError(
                f"refgeom.groups: {pattern!r} matches no panel; names are like {names[0]}"
            )
        for i, match in enumerate(found):
            if match:
                result.setdefault(match.group(), []).append(i)
    return result


def groups_by_name(names: Sequence[str]) -> dict[str, list[int]]:
    """Return common beginnings of names, up to each number in them -> indices of the panels.

    >>> groups_by_name(["D0Q0S0", "D0Q0S1", "D0Q1S0"])
    {'D0': [0, 1, 2], 'D0Q0': [0, 1], 'D0Q1': [2]}
    """
    result: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        ends = [match.end() for match in re.finditer(r"\d+", name)][:-1]
        for end in ends:
            result.setdefault(name[:end], []).append(i)
    return result


def moving(
    nodes: Sequence[Node], counts: NDArray[np.int64], min_spots: int
) -> tuple[list[int], list[int]]:
    """Return the indices of the nodes that are refined, and of those kept with their parents.

    Parameters
    ----------
    nodes : the tree
    counts : (n_panels,) spots on each panel
    min_spots : fewest spots of a node that moves by itself
    """
    free: list[int] = [0]
    kept: list[int] = []
    for number, node in enumerate(nodes[1:], 1):
        enough = int(counts[list(node.panels)].sum()) >= min_spots
        (free if enough else kept).append(number)
    return free, kept
