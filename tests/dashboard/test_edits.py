"""Changes by several people: what is made, what conflicts, what is refused, and who did it."""

import pytest

from tests.dashboard.conftest import BASE
from xfel_apps.catalog import queries


@pytest.fixture
def alice(catalog, client, token):
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def revision(catalog, run):
    with catalog.reading() as session:
        return next(row.revision for row in queries.runs(session, "exp") if row.name == run)


def test_a_tag_is_put_on_and_taken_off_and_it_is_known_who_did(alice, catalog):
    seen = revision(catalog, "r0001")
    answer = alice.post("/runs/r0001/tags", json={"add": "late", "revision": seen})
    assert answer.status_code == 200
    assert ">late<" in alice.get("/runs/part").text
    again = {"remove": "late", "revision": answer.json()["revision"]}
    assert alice.post("/runs/r0001/tags", json=again).status_code == 200
    assert ">late<" not in alice.get("/runs/part").text
    with catalog.reading() as session:
        newest = queries.audit(session, "exp")[0]
    assert (newest.actor, newest.action, newest.subject) == ("alice", "untag", "r0001")


def test_the_later_of_two_editors_of_a_tag_is_told(alice, catalog):
    seen = revision(catalog, "r0001")
    first = alice.post("/runs/r0001/tags", json={"add": "one", "revision": seen})
    later = alice.post("/runs/r0001/tags", json={"add": "two", "revision": seen})
    assert (first.status_code, later.status_code) == (200, 409)
    assert "somebody else" in later.json()["detail"]
    assert ">two<" not in alice.get("/runs/part").text


def test_a_trial_is_made_with_other_settings_and_the_later_of_two_is_told(alice, catalog):
    asked = {"base": "000", "number": 1, "comment": "<b>more</b>"}
    first = alice.post("/trials", json={**asked, "changes": {"spotfind": {"min_snr": 6.0}}})
    assert first.json()["trial"] == "001"
    page = alice.get("/trials", params={"trial": "001"}).text
    assert "spotfind.min_snr" in page
    assert "&lt;b&gt;more" in page
    assert "<b>more" not in page
    later = alice.post("/trials", json={**asked, "changes": {"spotfind": {"min_snr": 7.0}}})
    assert later.status_code == 409


@pytest.mark.parametrize(
    "changes",
    [{}, {"spotfind": {"min_snr": -1}}, {"spotfind": {"min_srn": 5}}, {"nothing": {"x": 1}}],
)
def test_settings_that_are_wrong_make_no_trial(alice, catalog, changes):
    answer = alice.post("/trials", json={"base": "000", "number": 1, "changes": changes})
    assert answer.status_code == 400
    with catalog.reading() as session:
        assert len(queries.trials(session, "exp")) == 1


def test_a_dataset_is_made_and_the_later_of_two_who_change_it_is_told(alice):
    made = alice.post("/trials/000/datasets", json={"name": "both", "any": ["apo", "holo"]})
    assert made.status_code == 200
    assert alice.post("/trials/000/datasets", json={"name": "both"}).status_code == 409
    change = {"any": ["apo"], "revision": 1}
    assert alice.put("/trials/000/datasets/both", json=change).status_code == 200
    later = alice.put("/trials/000/datasets/both", json={"none": ["apo"], "revision": 1})
    assert later.status_code == 409


INJECTED = ("'; DROP TABLE tags; --", "<script>alert(1)</script>", "a\0b", "../../etc", "x" * 150)


@pytest.mark.parametrize("text", INJECTED)
def test_names_with_sql_or_html_are_refused(alice, catalog, text):
    seen = revision(catalog, "r0001")
    tag = alice.post("/runs/r0001/tags", json={"add": text, "revision": seen})
    dataset = alice.post("/trials/000/datasets", json={"name": text})
    rule = alice.post("/trials/000/datasets", json={"name": "d", "any": [text]})
    assert {tag.status_code, dataset.status_code, rule.status_code} == {400}
    with catalog.reading() as session:
        assert set(queries.tags(session, "exp")) == {"apo", "holo"}
    page = alice.get("/runs", params={"text": text}).text
    assert "<script>alert" not in page


def test_changes_need_a_token_of_this_server(catalog, client, token):
    body = {"add": "late", "revision": 2}
    for headers in ({}, {"Authorization": "Bearer " + token[::-1]}, {"Authorization": token}):
        answer = client.post("/runs/r0001/tags", json=body, headers=headers)
        assert answer.status_code == 401
        assert "token" in answer.json()["detail"]
    client.post("/login", json={"token": token}, headers={"Origin": BASE})
    assert client.post("/runs/r0001/tags", json=body).status_code == 403  # no Origin
    foreign = {"Origin": "http://evil.example"}
    assert client.post("/runs/r0001/tags", json=body, headers=foreign).status_code == 403
    own = client.post("/runs/r0001/tags", json=body, headers={"Origin": BASE})
    assert own.status_code == 200


def test_pages_say_what_is_missing_where_there_is_no_catalog_yet(client):
    for path in ("/runs", "/trials"):
        answer = client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 400
        assert "no experiment yet" in answer.text
