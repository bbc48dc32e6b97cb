"""Containers: what goes in comes out, by event, also after a kill and from several parts."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import Manifest, count
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS, Spots
from xfel_apps.containers.writer import ContainerWriter, part_path
from xfel_apps.errors import ContainerError


def spots(rng: np.random.Generator, n: int) -> Spots:
    """Return n rows of random numbers in every column."""
    return Spots(
        **{
            name: (rng.random((n, *meta["shape"])) * 100).astype(meta["dtype"])
            for name, meta in Spots.schema().items()
        }
    )


def assert_same(found: Spots, expected: Spots) -> None:
    for name, values in expected.columns().items():
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    counts=st.lists(st.integers(0, 7), max_size=25),
    n_ranks=st.integers(1, 4),
    flush_every=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip_in_any_order_over_any_ranks(
    tmp_path_factory, counts, n_ranks, flush_every, seed
):
    folder = tmp_path_factory.mktemp("spots")
    rng = np.random.default_rng(seed)
    events = rng.permutation(len(counts))
    written = {}
    writers = [ContainerWriter(folder, rank, SPOTS, "d") for rank in range(n_ranks)]
    for number, event in enumerate(events):
        written[int(event)] = spots(rng, counts[event])
        writer = writers[rng.integers(n_ranks)]
        writer.append(
            int(event),
            ShotResult(
                Outcome.MISS, "few", {"n_spots": counts[event]}, {"spots": written[int(event)]}
            ),
            time.time(),
            0.0,
        )
        if number % flush_every == 0:
            writer.flush()
    for writer in writers:
        writer.close()

    reader = ProductReader.from_folder(folder, SPOTS, "d")
    assert reader.events.tolist() == sorted(written)
    for event, expected in written.items():
        assert_same(reader.rows("spots", event, Spots), expected)
    table = reader.frame("spots")
    assert table["event"].tolist() == [e for e, n in enumerate(counts) for _ in range(n)]
    shots = reader.shots()
    assert shots["n_spots"].tolist() == counts
    assert set(shots["reason"]) <= {"few"}
    reader.close()


def test_parts_of_other_settings_do_not_belong(tmp_path):
    for digest in ("old", "new"):
        with ContainerWriter(tmp_path, 0, SPOTS, digest) as writer:
            writer.append(3, ShotResult(Outcome.MISS), 0.0, 0.0)
    assert part_path(tmp_path, 0).name == "rank-0000.3.h5"
    reader = ProductReader.from_folder(tmp_path, SPOTS, "new")
    assert [path.name for path in reader.paths] == ["rank-0000.2.h5"]
    reader.close()


WRITER = """
import sys, time
from pathlib import Path
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.spots import SPOTS
from xfel_apps.containers.writer import ContainerWriter
writer = ContainerWriter(Path(sys.argv[1]), 0, SPOTS, "d")
for event in range(10**6):
    writer.append(event, ShotResult(Outcome.MISS, "x", {"n_spots": event}), time.time(), 0.0)
    if event % 10 == 9:
        writer.flush()
        print(event, flush=True)
"""


def test_kill_loses_nothing_that_was_flushed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(20):
        flushed = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    reader = ProductReader.from_folder(tmp_path, SPOTS, "d")
    shots = reader.shots()
    assert len(shots) > flushed
    assert shots["n_spots"].tolist() == list(range(len(shots)))
    reader.close()
    os.truncate(tmp_path / "rank-0000.h5", 5000)
    with pytest.raises(ContainerError, match="not a readable container"):
        ProductReader([tmp_path / "rank-0000.h5"], SPOTS)


def test_reader_sees_a_growing_file(tmp_path):
    with ContainerWriter(tmp_path, 0, SPOTS, "d") as writer:
        writer.append(0, ShotResult(Outcome.MISS), 0.0, 0.0)
        writer.flush()
        reader = ProductReader.from_folder(tmp_path, SPOTS, "d")
        assert reader.events.tolist() == [0]
        reader.close()


def test_damaged_and_foreign_files_are_named(tmp_path):
    (tmp_path / "rank-0000.h5").write_bytes(b"not HDF5")
    with pytest.raises(ContainerError, match=r"rank-0000\.h5: not a readable container"):
        ProductReader([tmp_path / "rank-0000.h5"], SPOTS)
    assert ProductReader.from_folder(tmp_path, SPOTS, "d").events.size == 0


def test_unwritable_folder_is_an_error_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ContainerError, match="cannot write here"):
        ContainerWriter(tmp_path / "file" / "spots", 0, SPOTS, "d")


def manifest(n_events: int, outcomes: dict[int, Outcome]) -> Manifest:
    return Manifest("spots", "spotfind", 1, "r1", "d", {}, {}, n_events, count(outcomes), ())


def test_manifest_must_account_for_every_event():
    assert manifest(2, {0: Outcome.MISS, 1: Outcome.FAILED}).outcomes["miss"] == 1
    with pytest.raises(ContainerError, match="do not add up"):
        manifest(3, {0: Outcome.MISS})


def test_manifest_round_trip_and_errors(tmp_path):
    path = tmp_path / "spots.json"
    written = manifest(1, {0: Outcome.MISS})
    written.write(path)
    assert Manifest.read(path, SPOTS) == written
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ContainerError, match="no such manifest"):
        Manifest.read(tmp_path / "none.json")
    path.write_text(json.dumps({"product": "spots"}))
    with pytest.raises(ContainerError, match="not a manifest"):
        Manifest.read(path)


def test_missing_column_is_refused():
    with pytest.raises(TypeError, match="panel"):
        Spots.make(fast_px=[1.0])


def test_part_names_are_in_order(tmp_path: Path):
    names = []
    for _ in range(3):
        names.append(part_path(tmp_path, 7).name)
        part_path(tmp_path, 7).touch()
    assert names == ["rank-0007.h5", "rank-0007.2.h5", "rank-0007.3.h5"]


def test_frame_without_containers_has_the_columns_of_others():
    empty = ProductReader([], CRYSTALS).frame("crystals")
    assert len(empty) == 0
    assert {"event", "a_matrix_8", "cell_0", "space_group"} <= set(empty)
