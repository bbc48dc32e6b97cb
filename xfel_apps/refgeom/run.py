"""Refine the geometry of a dataset and write it."""

from collections.abc import Sequence
from pathlib import Path

from xfel_apps import mpi
from xfel_apps.containers.geometry import GeometryManifest
from xfel_apps.refgeom.dataset import Dataset
from xfel_apps.refgeom.hierarchy import Node, groups_by_name, groups_by_pattern, tree
from xfel_apps.refgeom.output import describe, write_all
from xfel_apps.refgeom.refine import refine
from xfel_apps.refgeom.settings import RefgeomSettings
from xfel_apps.sources.geom import read_geom


def refine_geometry(
    comm: mpi.Comm, manifests: Sequence[Path], path: Path, settings: RefgeomSettings
) -> GeometryManifest:
    """Refine the geometry and return its manifest, which lies at `path` then.

    Parameters
    ----------
    comm : ranks that take part
    manifests : of the crystals of each run; events and spots lie beside them
    path : of the manifest to write
    settings : of refgeom
    """
    folders = [manifest.parent for manifest in manifests]
    mpi.agree(comm, lambda: Dataset.open(folders, settings).close())
    dataset = Dataset.open(folders, settings)
    try:
        nodes: list[Node] = mpi.agree(comm, lambda: nodes_of(dataset, settings))
        refined = refine(comm, dataset, nodes, settings)
        manifest: GeometryManifest = mpi.agree(
            comm, lambda: write_all(path, describe(dataset, refined, settings), dataset, refined)
        )
    finally:
        dataset.close()
    return manifest


def nodes_of(dataset: Dataset, settings: RefgeomSettings) -> list[Node]:
    """Return what moves together: see `xfel_apps.refgeom.hierarchy`."""
    names = [panel.name for panel in dataset.runs[0].detector.panels]
    geometry = dataset.runs[0].events.geometry_file
    if settings.groups is not None:
        groups = groups_by_pattern(names, settings.groups)
    elif geometry is not None and (geom := read_geom(geometry)).groups:
        members = {name: geom.members(name) for name in geom.groups}
        groups = {
            name: [i for i, panel in enumerate(names) if panel in inside]
            for name, inside in members.items()
        }
    else:
        groups = groups_by_name(names)
    return tree(names, groups, panels=settings.panels)
