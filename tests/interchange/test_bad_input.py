"""Files that cannot be used are refused in one line that says what, where and what to do."""

import json
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from typer.testing import CliRunner

from tests.interchange.a_run import write_run
from xfel_apps.cli import app
from xfel_apps.errors import XfelError
from xfel_apps.interchange import export, load


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run, its DIALS files and its stream."""
    folder = tmp_path_factory.mktemp("good")
    write_run(folder / "r1")
    export([folder / "r1"], "dials", folder / "dials")
    export([folder / "r1"], "crystfel", folder / "r1.stream")
    return folder


def refused(paths: list[Path], out: Path) -> str:
    """Return the one line with which an import is refused."""
    with pytest.raises(XfelError) as error:
        load(paths, out)
    said = str(error.value)
    assert "\n" not in said
    return said


STREAMS: dict[str, tuple[Callable[[str], str], str]] = {
    "another kind": (lambda t: t[9:], "not a CrystFEL stream"),
    "empty": (lambda t: "", "not a CrystFEL stream"),
    "old": (lambda t: t.replace("format 2.3", "format 2.1"), "stream format 2.1; 2.3 is read"),
    "cut in the geometry": (lambda t: t[:300], "cut short: 'Begin geometry file' of line 4"),
    "cut in a table": (lambda t: t[: len(t) * 2 // 3], "cut short: "),
    "no chunk": (lambda t: t[: t.index("----- Begin chunk")], "has no chunk"),
    "no geometry": (
        lambda t: t.replace("Begin geometry", "Begin something"),
        "has no geometry file in its header",
    ),
    "a column too few": (
        lambda t: t.replace("sigma(I)       peak", "sigma(I)", 1),
        "has columns h k l I sigma(I) background fs/px ss/px panel; expected h k l I sigma(I) peak",
    ),
    "a short row": (
        lambda t: t.replace(" m0\nEnd of reflections", "\nEnd of reflections", 1),
        "has 9 columns, expected 10",
    ),
    "no number": (lambda t: t.replace("       0.00 ", "  hello ", 1), "could not convert string"),
    "unknown panel": (
        lambda t: t.replace(" m0\nEnd of r", " q9\nEnd of r", 1),
        "panel q9 is not in",
    ),
    "no energy": (lambda t: t.replace("photon_energy_eV", "energy"), "no photon_energy_eV"),
    "no vectors": (lambda t: t.replace("astar = ", "a* = "), "without astar, bstar, cstar"),
    "no space group": (lambda t: t.replace("xfelflow/space", "x/space"), "give --space-group"),
    "event by path": (lambda t: t.replace("Event: //1", "Event: tag_7//"), "event 'tag_7//' names"),
    "shot twice": (lambda t: t.replace("Event: //2", "Event: //1"), "is in the stream twice"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_cannot_be_read(good: Path, tmp_path: Path, name: str) -> None:
    damage, expected = STREAMS[name]
    path = tmp_path / "bad.stream"
    path.write_text(damage((good / "r1.stream").read_text()))
    said = refused([path], tmp_path / "out")
    assert expected in said
    assert str(path) in said


def without(column: str) -> Callable[[bytes], bytes]:
    """Return a function that takes a column from a table."""

    def damage(content: bytes) -> bytes:
        table = msgpack.unpackb(content, strict_map_key=False)
        del table[2]["data"][column]
        return msgpack.packb(table)

    return damage


TABLES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "pickled": (lambda b: b"\x80\x02cdials_array_family_flex_ext\n", "a pickled reflection table"),
    "HDF5": (lambda b: b"\x89HDF\r\n\x1a\n", "a reflection table as HDF5"),
    "another kind": (lambda b: b"hello", "not a reflection table of DIALS"),
    "empty": (lambda b: b"", "not a reflection table of DIALS"),
    "cut short": (lambda b: b[: len(b) // 2], "cut short or damaged; copy it again"),
    "cut very short": (lambda b: b[:40], "cut short or damaged; copy it again"),
    "no id": (without("id"), "the table has no column id"),
    "no intensities": (without("intensity.sum.value"), "has no column intensity.sum.value"),
    "no predictions": (without("xyzcal.px"), "the table has no column xyzcal.px"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_cannot_be_read(good: Path, tmp_path: Path, name: str) -> None:
    damage, expected = TABLES[name]
    path = tmp_path / "bad.refl"
    path.write_bytes(damage((good / "dials" / "integrated.refl").read_bytes()))
    said = refused([path, good / "dials" / "integrated.expt"], tmp_path / "out")
    assert expected in said
    assert str(path) in said


def changed(**items: object) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **items})


SWEEP = {
    "imageset": [{"__id__": "ImageSequence", "template": "a_####.cbf"}] * 9,
    "scan": [{"image_range": [1, 90]}] * 9,
}
LISTS: dict[str, tuple[Callable[[str], str], str]] = {
    "cut short": (lambda t: t[: len(t) // 2], "not an experiment list of DIALS, or cut short"),
    "another kind": (lambda t: "{}", "not an experiment list of DIALS"),
    "no beams": (changed(beam=[]), "experiment 0 is incomplete (IndexError"),
    "half a crystal": (lambda t: t.replace("real_space_b", "b"), "incomplete (KeyError: 'real_s"),
    "no wavelength": (
        lambda t: t.replace('"wavelength": 1.', '"wavelength": -1.'),
        "wavelength -1",
    ),
    "others": (
        lambda t: t.replace('"identifier": "', '"identifier": "x'),
        "none of the experiment lists given belongs to it",
    ),
    "a sweep": (
        lambda t: changed(**SWEEP)(t.replace('"imageset":', '"scan": 0, "imageset":')),
        "is a sweep of 90 images; only stills are read",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_that_cannot_be_read(good: Path, tmp_path: Path, name: str) -> None:
    damage, expected = LISTS[name]
    path = tmp_path / "bad.expt"
    path.write_text(damage((good / "dials" / "integrated.expt").read_text()))
    said = refused([good / "dials" / "integrated.refl", path], tmp_path / "out")
    assert expected in said


def test_what_is_asked_for_has_to_fit(good: Path, tmp_path: Path) -> None:
    stream, table = good / "r1.stream", good / "dials" / "strong.refl"
    assert "no such file" in refused([tmp_path / "none.stream"], tmp_path / "out")
    assert "not a .stream, .expt or .refl file" in refused([good / "r1.geom"], tmp_path / "out")
    assert "read by itself" in refused([stream, table], tmp_path / "out")
    assert "give the .expt file that goes with it" in refused([table], tmp_path / "out")
    assert "holds a run already" in refused([stream], good / "r1")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["export", "{run}", "--to", "crystfel", "-o", "{tmp}/folder"], "name the stream to write"),
        (["export", "{run}", "--to", "dials", "-o", "{tmp}/a.expt"], "name the folder to write"),
        (["export", "{run}", "{run}", "--to", "dials", "-o", "{tmp}/d"], ""),
        (["export", "{tmp}", "--to", "dials", "-o", "{tmp}/d"], "no results of any run here"),
        (["import", "{run}/none.refl", "-o", "{tmp}/d"], "no such file"),
    ],
)
def test_the_command_says_it_in_one_line(good, tmp_path, arguments, expected) -> None:
    filled = [text.format(run=good / "r1", tmp=tmp_path) for text in arguments]
    done = CliRunner().invoke(app, filled)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.exit_code, len(errors)) == ((1, 1) if expected else (0, 0))
    assert expected in done.stderr


def test_an_import_that_broke_off_can_be_repeated(good: Path, tmp_path: Path) -> None:
    text = (good / "r1.stream").read_text()
    path = tmp_path / "bad.stream"
    path.write_text(text[: len(text) * 2 // 3])
    refused([path], tmp_path / "out")
    assert not (tmp_path / "out" / "events.json").exists()
    path.write_text(text)
    assert [m.product for m in load([path], tmp_path / "out")][-1] == "reflections"
