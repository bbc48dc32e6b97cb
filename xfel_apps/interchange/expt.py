"""Experiment lists of DIALS (`.expt`): which image, beam, detector and crystal belong together."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.interchange.models import CrystalModel, read_beam, read_crystal, read_detector
from xfel_apps.sources.cbf import is_cbf_name

Model = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Experiment:
    """One still of an experiment list; several lattices of a still are several experiments.

    Attributes
    ----------
    image : raw file; empty where the list has no images
    frame : in the file, from 0
    identifier : of the experiment; empty where the list has none
    beam, detector : experiments may share a detector
    crystal : none before indexing
    """

    image: Path | None
    frame: int
    identifier: str
    beam: Beam
    detector: Detector
    crystal: CrystalModel | None


def read_expt(path: Path) -> list[Experiment]:
    """Return the experiments of a list."""
    models = read_models(path)
    known: dict[tuple[str, int], Any] = {}

    def one(item: Model, kind: str, read: Callable[[Model], T]) -> T:
        key = kind, int(item[kind])
        if key not in known:
            known[key] = read(models[kind][key[1]])
        made: T = known[key]
        return made

    result = []
    for number, item in enumerate(models["experiment"]):
        try:
            image, frame = _image(models, item, number, path)
            experiment = Experiment(
                image,
                frame,
                str(item.get("identifier", "")),
                one(item, "beam", read_beam),
                one(item, "detector", read_detector),
                one(item, "crystal", read_crystal) if "crystal" in item else None,
            )
        except (KeyError, IndexError, TypeError, ValueError) as err:
            raise SourceError(
                f"{path}: experiment {number} is incomplete ({type(err).__name__}: {err})"
            ) from err
        except GeometryError as err:
            raise GeometryError(f"{path}: experiment {number}: {err}") from err
        result.append(experiment)
    return result


def read_models(path: Path) -> dict[str, Any]:
    """Return the JSON of an experiment list, known to be one."""
    try:
        models = json.loads(path.read_text())
    except FileNotFoundError as err:
        raise SourceError(f"{path}: no such file") from err
    except (OSError, ValueError) as err:
        raise SourceError(f"{path}: not an experiment list of DIALS, or cut short ({err})") from err
    needed = ("experiment", "beam", "detector")
    if not isinstance(models, dict) or not all(isinstance(models.get(k), list) for k in needed):
        raise SourceError(f"{path}: not an experiment list of DIALS (.expt)")
    return models


def _image(models: Model, item: Model, number: int, path: Path) -> tuple[Path | None, int]:
    """Return raw file and frame of an experiment; without images its number is the frame."""
    if "imageset" not in item or not models.get("imageset"):
        return None, number
    images = models["imageset"][item["imageset"]]
    if "template" in images:
        scan = models["scan"][item["scan"]]
        first, last = scan["image_range"]
        if first != last:
            raise SourceError(
                f"{path}: experiment {number} is a sweep of {last - first + 1} images; only stills "
                "are read (dials.import convert_sequences_to_stills=True)"
            )
        return _of_template(images["template"], first, path)
    if len(images["images"]) != 1:
        raise SourceError(
            f"{path}: experiment {number} has {len(images['images'])} images; one a still is read"
        )
    indices = images.get("single_file_indices") or [0]
    return located(images["images"][0], path), int(indices[0])


def _of_template(template: str, image: int, path: Path) -> tuple[Path, int]:
    marks = re.search(r"#+", template)
    if marks is None:
        return located(template, path), image - 1
    number = str(image).zfill(len(marks[0]))
    return located(template[: marks.start()] + number + template[marks.end() :], path), 0


def located(name: str, beside: Path) -> Path:
    """Return the path of a raw file that a file names: absolute, relative ones seen from there."""
    return (beside.parent / name).resolve()


@dataclass(frozen=True)
class Row:
    """One experiment to write: numbers of its models; crystal is -1 where there is none."""

    identifier: str
    imageset: int
    beam: int
    detector: int
    crystal: int


def write_expt(
    path: Path,
    rows: Sequence[Row],
    images: Sequence[tuple[Path, int]],
    models: Mapping[str, Iterable[Model]],
) -> None:
    """Write an experiment list, whole or not at all; models may be made while they are written.

    Parameters
    ----------
    path : file to write
    rows : the experiments
    images : raw file and frame of each image set
    models : `beam`, `detector` and `crystal`, in dxtbx' form
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w") as file:
            file.write('{"__id__": "ExperimentList"')
            _write_list(file, "experiment", map(_experiment, rows))
            _write_list(file, "imageset", (_imageset(*image) for image in images))
            for kind in ("beam", "detector", "goniometer", "scan", "crystal"):
                _write_list(file, kind, models.get(kind, ()))
            _write_list(file, "profile", ())
            _write_list(file, "scaling_model", ())
            file.write("}\n")
        part.replace(path)
    except OSError as err:
        raise SourceError(f"{path}: cannot write ({err})") from err


def _write_list(file: IO[str], name: str, items: Iterable[Model]) -> None:
    file.write(f',\n"{name}": [')
    for number, item in enumerate(items):
        file.write((",\n " if number else "\n ") + json.dumps(item, allow_nan=False))
    file.write("]")


def _experiment(row: Row) -> Model:
    item = {
        "__id__": "Experiment",
        "identifier": row.identifier,
        "beam": row.beam,
        "detector": row.detector,
        "imageset": row.imageset,
    }
    return item if row.crystal < 0 else {**item, "crystal": row.crystal}


def _imageset(image: Path, frame: int) -> Model:
    """Return an image set of one frame; formats with one frame a file have no index in it."""
    one: dict[str, Any] = {"__id__": "ImageSet", "images": [str(image)]}
    if not is_cbf_name(image):
        one["single_file_indices"] = [frame]
    rest = dict.fromkeys(("mask", "gain", "pedestal", "dx", "dy"))
    return {**one, **rest, "params": {}}
