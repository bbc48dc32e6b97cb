"""Edits on every database: versions made due, conflicts, refusals, and who did what."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from xfel_apps.catalog import Catalog, open_catalog, queries, upgrade_catalog
from xfel_apps.catalog.edits import (
    Editor,
    add_run,
    change_dataset,
    changed,
    new_dataset,
    new_group,
    new_trial,
    tag,
    untag,
)
from xfel_apps.catalog.edits.versions import record_version, take_version
from xfel_apps.catalog.find import find_dataset
from xfel_apps.catalog.parameters import Parameters
from xfel_apps.catalog.selection import Selection
from xfel_apps.errors import CatalogError, ConflictError, SettingsError

CELL = {"index": {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}}


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """An empty catalog of each kind."""
    assert upgrade_catalog(catalog_url)[0] is None
    opened = open_catalog(catalog_url)
    yield opened
    opened.close()


@pytest.fixture
def ann(catalog: Catalog) -> Editor:
    """Ann, who has put two runs, a trial and the dataset of all `apo` runs there."""
    editor = Editor(catalog, "mfx01", "ann")
    for name in ("r0001", "r0002"):
        add_run(editor, name, [f"/data/{name}.h5"])
    assert new_trial(editor, Parameters.checked(CELL)) == "000"
    new_dataset(editor, "000", "apo", Selection(any=("apo",), none=("bad",)))
    return editor


def dataset(editor: Editor) -> queries.DatasetInfo:
    with editor.catalog.reading() as session:
        return queries.dataset(session, "mfx01", "000", "apo")


def versions(editor: Editor) -> list[tuple[int, str, tuple[str, ...]]]:
    with editor.catalog.reading() as session:
        found = queries.versions(session, "mfx01", "000", "apo")
    return [(version.number, version.state, version.runs) for version in found]


def taken(editor: Editor, key: str, runs: list[str], above: int = 0) -> int:
    def work(session):
        row = find_dataset(session, "mfx01", "000", "apo")
        return take_version(session, row, key, runs, above)

    return editor.change(work)


def made(editor: Editor, number: int, key: str, runs: list[str]) -> None:
    def work(session):
        row = find_dataset(session, "mfx01", "000", "apo")
        record_version(session, row, number, key, runs)

    editor.change(work)


def test_a_tag_makes_the_datasets_that_include_it_due(ann: Editor):
    assert dataset(ann).runs == ()
    assert not dataset(ann).is_due
    tag(ann, "r0001", "apo")
    assert versions(ann) == [(1, "due", ("r0001",))]
    assert dataset(ann).is_due
    tag(ann, "r0002", "cold")  # no rule names it
    assert len(versions(ann)) == 1
    assert taken(ann, "key1", ["r0001"]) == 1
    assert taken(ann, "key1", ["r0001"]) == 1
    made(ann, 1, "key1", ["r0001"])
    assert not dataset(ann).is_due
    tag(ann, "r0002", "apo")
    both = ("r0001", "r0002")
    assert versions(ann) == [(1, "made", ("r0001",)), (2, "due", both)]
    tag(ann, "r0001", "bad")  # before the second version was made
    assert versions(ann)[1:] == [(2, "superseded", both), (3, "due", ("r0002",))]
    untag(ann, "r0002", "apo")
    untag(ann, "r0001", "bad")  # as in version 1, which is made
    assert [state for _, state, _ in versions(ann)] == ["made", "superseded", "superseded"]
    assert not dataset(ann).is_due


def test_a_version_number_is_given_out_once(ann: Editor):
    tag(ann, "r0001", "apo")
    assert taken(ann, "key1", ["r0001"]) == 1
    assert taken(ann, "key2", ["r0001"]) == 2  # other files or settings
    assert taken(ann, "key3", ["r0001"], above=7) == 8  # folders that the catalog never saw
    tag(ann, "r0002", "apo")
    assert versions(ann)[-1][0] == 9
    made(ann, 9, "meanwhile", ["r0001"])  # by somebody who could not ask the catalog
    assert versions(ann)[-2:] == [(9, "made", ("r0001",)), (10, "due", ("r0001", "r0002"))]


def test_a_version_that_a_later_one_overtakes_is_no_longer_due(ann: Editor):
    tag(ann, "r0001", "apo")
    assert taken(ann, "key1", ["r0001"]) == 1  # and never made
    assert taken(ann, "key2", ["r0001"]) == 2
    made(ann, 2, "key2", ["r0001"])
    assert [state for _, state, _ in versions(ann)] == ["superseded", "made"]


def test_the_later_of_two_editors_is_told(ann: Editor):
    bob = Editor(ann.catalog, "mfx01", "bob")
    with ann.catalog.reading() as session:
        seen = queries.runs(session, "mfx01")[0].revision
    assert tag(ann, "r0001", "apo", seen) == seen + 1
    with pytest.raises(ConflictError, match="run r0001: somebody else has changed it meanwhile"):
        untag(bob, "r0001", "apo", seen)
    with pytest.raises(ConflictError, match="has the tag apo already"):
        tag(bob, "r0001", "apo")
    seen = dataset(ann).revision
    change_dataset(ann, "000", "apo", Selection(any=("holo",)), seen)
    with pytest.raises(ConflictError, match="dataset apo of trial 000: somebody else"):
        change_dataset(bob, "000", "apo", Selection(), seen)
    new_trial(ann, changed(ann, "000", {"merge": {"n_cycles": 4}}), parent="000", number=1)
    other = changed(bob, "000", {"merge": {"n_cycles": 5}})
    with pytest.raises(ConflictError, match="trial 001: somebody else has made it meanwhile"):
        new_trial(bob, other, parent="000", number=1)
    assert new_trial(bob, other, parent="000") == "002"


def test_a_trial_without_change_or_with_a_wrong_setting_is_refused(ann: Editor):
    with pytest.raises(CatalogError, match="trial 000 has just these parameters"):
        new_trial(ann, changed(ann, "000", {}), parent="000")
    with pytest.raises(SettingsError, match=r"merge.n_cycle: unknown setting"):
        changed(ann, "000", {"merge": {"n_cycle": 3}})
    with pytest.raises(SettingsError, match="runs: no section of a trial"):
        changed(ann, "000", {"runs": {"r1": ["x"]}})
    new_trial(ann, changed(ann, "000", {}, ["merge.n_cycles=4"]), parent="000", comment="fewer")
    with ann.catalog.reading() as session:
        first, second = queries.trials(session, "mfx01")
    assert [(d.key, d.after) for d in queries.differences(first, second)] == [("merge.n_cycles", 4)]
    assert (second.parent, second.comment, second.actor) == ("000", "fewer", "ann")


WRONG_NAMES = ["<b>x</b>", "x'; drop table runs; --", "../../etc", "", "a b", "x" * 65, "ä", "x\n"]


def test_names_that_are_html_sql_or_paths_are_refused(ann: Editor):
    for name in WRONG_NAMES:
        for refused in (
            lambda name=name: tag(ann, "r0001", name),
            lambda name=name: new_dataset(ann, "000", name, Selection()),
            lambda name=name: new_dataset(ann, "000", "fine", Selection(any=(name,))),
            lambda name=name: add_run(ann, name, ["/data/x.h5"]),
            lambda name=name: Editor(ann.catalog, "mfx01", name),
        ):
            with pytest.raises(CatalogError, match="a name begins with a letter or digit"):
                refused()
    with ann.catalog.reading() as session:
        assert queries.tags(session, "mfx01") == {"apo": 0, "bad": 0}
        assert len(queries.runs(session, "mfx01")) == 2


def test_every_edit_leaves_who_and_what(ann: Editor):
    tag(ann, "r0001", "apo")
    untag(Editor(ann.catalog, "mfx01", "bob"), "r0001", "apo")
    with ann.catalog.reading() as session:
        last, before, *others = queries.audit(session, "mfx01")
    assert (last.actor, last.action, last.subject) == ("bob", "untag", "r0001")
    assert (last.before, last.after) == (["apo"], [])
    assert (before.actor, before.action, before.after) == ("ann", "tag", ["apo"])
    assert [row.action for row in others] == ["new", "new", "add", "add"]


def test_what_is_not_there_is_named_with_what_is(ann: Editor):
    with pytest.raises(CatalogError, match=r"run 'r9': not in the catalog; known: r0001, r0002"):
        tag(ann, "r9", "apo")
    with pytest.raises(CatalogError, match=r"tag of run r0001 'apo': .* known: none"):
        untag(ann, "r0001", "apo")
    with pytest.raises(CatalogError, match=r"trial '7': not in the catalog; known: 000"):
        new_dataset(ann, "7", "x", Selection())
    with pytest.raises(CatalogError, match=r"experiment 'other': not in the catalog; known: mfx01"):
        tag(Editor(ann.catalog, "other", "ann"), "r0001", "apo")


def test_groups_of_runs_are_found_by_the_order_of_names(ann: Editor):
    add_run(ann, "r0010", ["/data/r0010.h5"])
    new_group(ann, "day1", ("r0002", "r0010"), {"distance_mm": 120.5})
    with pytest.raises(SettingsError, match="distance: unknown setting"):
        new_group(ann, "day2", ("r0002", "r0010"), {"distance": 1})
    with pytest.raises(CatalogError, match="group day1 has runs of it already: r0002 to r0010"):
        new_group(ann, "day2", ("r0010", "r0011"), {})
    with pytest.raises(CatalogError, match="comes after its last"):
        new_group(ann, "day2", ("r0010", "r0002"), {})
    with ann.catalog.reading() as session:
        assert [(run.name, run.group) for run in queries.runs(session, "mfx01")] == [
            ("r0001", ""),
            ("r0002", "day1"),
            ("r0010", "day1"),
        ]


def at_once(edits: list[Callable[[], object]]) -> list[object]:
    """Return what edits that begin together return, or their conflicts."""
    begin = threading.Barrier(len(edits))

    def one(edit: Callable[[], object]) -> object:
        begin.wait()
        try:
            return edit()
        except ConflictError as err:
            return err

    with ThreadPoolExecutor(len(edits)) as pool:
        return list(pool.map(one, edits))


def test_of_editors_at_the_same_time_one_wins(ann: Editor):
    new_dataset(ann, "000", "every", Selection())
    with ann.catalog.reading() as session:
        seen = queries.runs(session, "mfx01")[0].revision
    said = at_once([lambda n=n: tag(ann, "r0001", f"t{n}", seen) for n in range(6)])
    assert sorted(type(answer).__name__ for answer in said) == ["ConflictError"] * 5 + ["int"]
    tries = [changed(ann, "000", {"index": {"tries": 10 + n}}) for n in range(4)]
    names = at_once([lambda p=p: new_trial(ann, p, "000") for p in tries])
    assert sorted(map(str, names)) == ["001", "002", "003", "004"]
    runs = [f"r{n:04d}" for n in range(10, 14)]
    at_once([lambda r=r: add_run(ann, r, [f"/data/{r}.h5"]) for r in runs])
    at_once([lambda r=r: tag(ann, r, "apo") for r in runs])
    assert dataset(ann).runs == tuple(runs)
    assert versions(ann)[-1] == (4, "due", tuple(runs))
    numbers = at_once([lambda k=k: taken(ann, f"key{k % 2}", runs) for k in range(6)])
    assert sorted(numbers) == [4, 4, 4, 5, 5, 5]


def test_all_or_nothing_of_an_edit_is_kept(ann: Editor):
    def work(session):
        session.execute(text("delete from run_tags"))
        session.execute(text("delete from no_such_table"))

    tag(ann, "r0001", "apo")
    with pytest.raises(CatalogError, match="no_such_table"):
        ann.change(work)
    assert dataset(ann).runs == ("r0001",)
