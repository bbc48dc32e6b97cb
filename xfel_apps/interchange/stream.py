"""CrystFEL streams, a chunk (one shot) at a time. Version 2.3: peaks and reflections name a panel.

Lengths become Angstrom; the frame stays CrystFEL's. Source: files of CrystFEL 0.9 and 0.11 and the
manual page of indexamajig.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SourceError

Array = NDArray[np.float64]

FIRST_LINE = "CrystFEL stream format "
GEOMETRY = ("----- Begin geometry file -----", "----- End geometry file -----")
CELL = ("----- Begin unit cell -----", "----- End unit cell -----")
CHUNK = ("----- Begin chunk -----", "----- End chunk -----")
CRYSTAL = ("--- Begin crystal", "--- End crystal")
PEAKS = ("Peaks from peak search", "End of peak list")
REFLECTIONS = ("Reflections measured after indexing", "End of reflections")
PEAK_COLUMNS = ("fs/px", "ss/px", "(1/d)/nm^-1", "Intensity", "Panel")
REFLECTION_COLUMNS = (
    "h", "k", "l", "I", "sigma(I)", "peak", "background", "fs/px", "ss/px", "panel"
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Rows of a table of the stream: numbers (n, columns - 1), and the panel of each (n,)."""

    numbers: Array
    panel: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.numbers)


NO_PEAKS = Table(np.empty((0, len(PEAK_COLUMNS) - 1)), np.empty(0, dtype=str))
NO_REFLECTIONS = Table(np.empty((0, len(REFLECTION_COLUMNS) - 1)), np.empty(0, dtype=str))


@dataclass(frozen=True)
class StreamCrystal:
    """One lattice of a shot.

    Attributes
    ----------
    a_matrix : (3, 3) columns a*, b*, c* [1/Angstrom], CrystFEL's frame
    fields : lines `name = value`, such as `profile_radius`
    reflections : numbers h k l I sigma peak background fs ss
    """

    a_matrix: Array
    fields: Mapping[str, str]
    reflections: Table


@dataclass(frozen=True)
class Chunk:
    """One shot.

    Attributes
    ----------
    line : where it begins in the file, from 1
    image, event : raw file, and which event in it ("" if it has one)
    fields : lines `name = value`, such as `photon_energy_eV`
    peaks : numbers fs ss 1/d intensity
    crystals : its lattices
    """

    line: int
    image: str
    event: str
    fields: Mapping[str, str]
    peaks: Table
    crystals: tuple[StreamCrystal, ...]


@dataclass(frozen=True)
class StreamHeader:
    """What stands before the first shot: the geometry file and the unit cell file, as text."""

    geometry: str
    cell: str


class Lines:
    """Lines of a stream after its first, numbered; the end of the file in a block is an error."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.number = path, 1
        self._lines = iter(file)

    def next(self) -> str | None:
        """Return the next line without its end; None at the end of the file."""
        line = next(self._lines, None)
        self.number += 1
        return None if line is None else line.rstrip("\n")

    def inside(self, block: tuple[str, str]) -> Iterator[str]:
        """Yield the lines to the end of a block, whose first line has been read."""
        start, end = self.number, block[1]
        while (line := self.next()) is not None:
            if line == end:
                return
            yield line
        raise SourceError(
            f"{self.path}: cut short: {block[0].strip('- ')!r} of line {start} has no {end!r}"
        )

    def error(self, problem: str) -> SourceError:
        """Return the error that the line just read has a problem."""
        return SourceError(f"{self.path}: line {self.number} {problem}")


def open_stream(path: Path) -> IO[str]:
    """Return the stream open for reading, known to be of a version that is read."""
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError as err:
        raise SourceError(f"{path}: not readable ({err.strerror})") from err
    first = file.readline()
    if not first.startswith(FIRST_LINE):
        file.close()
        raise SourceError(f"{path}: not a CrystFEL stream (its first line says otherwise)")
    version = first.removeprefix(FIRST_LINE).strip()
    if version != "2.3":
        file.close()
        raise SourceError(
            f"{path}: stream format {version}; 2.3 is read, which CrystFEL 0.6.2 and later write"
        )
    return file


def read_header(path: Path) -> StreamHeader:
    """Return the header of a stream."""
    with open_stream(path) as file:
        lines = Lines(path, file)
        texts = {GEOMETRY[0]: "", CELL[0]: ""}
        while (line := lines.next()) is not None and line != CHUNK[0]:
            for block in (GEOMETRY, CELL):
                if line == block[0]:
                    texts[line] = "\n".join(lines.inside(block)) + "\n"
    if not texts[GEOMETRY[0]]:
        raise SourceError(
            f"{path}: has no geometry file in its header; write it with CrystFEL 0.6 or later"
        )
    return StreamHeader(texts[GEOMETRY[0]], texts[CELL[0]])


def image_names(path: Path) -> list[str]:
    """Return the raw file of each chunk, in order."""
    with open_stream(path) as file:
        name = "Image filename: "
        return [line[len(name) :].rstrip("\n") for line in file if line.startswith(name)]


def read_chunks(path: Path) -> Iterator[Chunk]:
    """Yield the shots of a stream in the order in which they were written."""
    with open_stream(path) as file:
        lines = Lines(path, file)
        while (line := lines.next()) is not None:
            if line == CHUNK[0]:
                yield _chunk(lines)


def _chunk(lines: Lines) -> Chunk:
    start, image, event = lines.number, "", ""
    fields: dict[str, str] = {}
    peaks = NO_PEAKS
    crystals: list[StreamCrystal] = []
    for line in lines.inside(CHUNK):
        if line.startswith("Image filename: "):
            image = line.partition(": ")[2]
        elif line.startswith("Event: "):
            event = line.partition(": ")[2]
        elif line == PEAKS[0]:
            peaks = _table(lines, PEAKS, PEAK_COLUMNS)
        elif line == CRYSTAL[0]:
            crystals.append(_crystal(lines))
        else:
            _field(line, fields)
    return Chunk(start, image, event, fields, peaks, tuple(crystals))


def _field(line: str, fields: dict[str, str]) -> None:
    name, equals, value = line.partition(" = ")
    if equals:
        fields.setdefault(name, value)


def _crystal(lines: Lines) -> StreamCrystal:
    start = lines.number
    fields: dict[str, str] = {}
    reflections = NO_REFLECTIONS
    for line in lines.inside(CRYSTAL):
        if line == REFLECTIONS[0]:
            reflections = _table(lines, REFLECTIONS, REFLECTION_COLUMNS)
        else:
            _field(line, fields)
    try:
        axes = [np.array(fields[f"{axis}star"].split()[:3], dtype=float) for axis in "abc"]
        a_matrix = np.column_stack(axes) / 10.0
    except (KeyError, ValueError) as err:
        raise SourceError(
            f"{lines.path}: line {start}: a crystal without astar, bstar, cstar of three numbers"
        ) from err
    return StreamCrystal(a_matrix, fields, reflections)


def _table(lines: Lines, block: tuple[str, str], columns: tuple[str, ...]) -> Table:
    """Return the table whose title was just read."""
    start = lines.number
    rows = lines.inside(block)
    found = tuple(next(rows, "").split())
    if found != columns:
        raise lines.error(f"has columns {' '.join(found)}; expected {' '.join(columns)}")
    width = len(columns)
    words = [line.split() for line in rows]
    for number, row in enumerate(words):
        if len(row) != width:
            raise SourceError(
                f"{lines.path}: line {start + 2 + number} has {len(row)} columns, expected {width}"
            )
    return _numbers(words, width, lines.path, start)


def _numbers(words: list[list[str]], width: int, path: Path, start: int) -> Table:
    flat: list[Any] = [word for row in words for word in row[:-1]]
    try:
        numbers = np.array(flat, dtype=float).reshape(len(words), width - 1)
    except ValueError as err:
        raise SourceError(f"{path}: the table of line {start}: {err}") from err
    return Table(numbers, np.array([row[-1] for row in words], dtype=str))
