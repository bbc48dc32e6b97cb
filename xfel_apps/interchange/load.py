"""Read files of DIALS or CrystFEL into a run, from which the next stage goes on."""

import sys
from collections.abc import Sequence
from pathlib import Path

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import SourceError
from xfel_apps.interchange import from_crystfel, from_dials
from xfel_apps.interchange.dials_files import Pair, read_pairs
from xfel_apps.interchange.write_run import Source, check_new, write_run

STREAM, DIALS = (".stream",), (".expt", ".refl", ".json")


def load(paths: Sequence[Path], out: Path, space_group: str | None = None) -> list[Manifest]:
    """Write what `paths` hold as the run `out`; return the manifests of its products.

    Parameters
    ----------
    paths : one CrystFEL stream, or experiment lists and reflection tables of DIALS
    out : folder of the run, which must not hold one
    space_group : of a stream's crystals
    """
    for path in paths:
        if path.suffix not in STREAM + DIALS:
            raise SourceError(f"{path}: not a .stream, .expt or .refl file")
        if not path.is_file():
            raise SourceError(f"{path}: no such file")
    check_new(out)
    streams = [path for path in paths if path.suffix in STREAM]
    if not streams:
        return _load_dials(paths, out)
    if len(paths) > 1:
        raise SourceError(
            f"{paths[1]}: a stream is read by itself; import each into a run of its own"
        )
    return _load_stream(streams[0], out, space_group)


def _load_stream(path: Path, out: Path, space_group: str | None) -> list[Manifest]:
    geometry = out / "geometry.geom"
    from_crystfel.write_geometry(path, geometry)
    images = from_crystfel.raw_files(path)
    if not images:
        raise SourceError(f"{path}: has no chunk, or was cut short before the first")
    unique = list(dict.fromkeys(images))
    source = Source([path], unique, len(images), geometry, (SPOTS, CRYSTALS, REFLECTIONS))
    return write_run(out, source, from_crystfel.read_stream(path, space_group))


def _load_dials(paths: Sequence[Path], out: Path) -> list[Manifest]:
    pairs = read_pairs(paths)
    for pair in pairs:
        if pair.table is not None and pair.n_left_out:
            n_left_out, n_rows = pair.n_left_out, pair.table.n_rows
            print(
                f"{pair.table.path}: {n_left_out} of {n_rows} rows belong to no experiment and are "
                "left out",
                file=sys.stderr,
            )
    shots = from_dials.gather(pairs)
    images = list(dict.fromkeys(file for file, _ in shots))
    source = Source(paths, images, len(shots), None, _products(pairs))
    return write_run(out, source, from_dials.peer_shots(pairs, shots))


def _products(pairs: Sequence[Pair]) -> list[Product]:
    """Return the products that the tables give; each needs those before it."""
    kinds = [pair.kind for pair in pairs if pair.table is not None]
    last = max(kinds, default=None)
    return [] if last is None else [SPOTS, CRYSTALS, REFLECTIONS][: int(last) + 1]
