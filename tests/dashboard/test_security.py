"""What is refused: strangers, foreign sites, what is too large."""

import json
import stat

import pytest

from tests.dashboard.conftest import BASE
from xfel_apps.dashboard.results import below
from xfel_apps.dashboard.tokens import TokenError, hashes_file, make_token, owner
from xfel_apps.errors import SettingsError


def sign_in(client, token):
    return client.post("/login", json={"token": token}, headers={"Origin": BASE})


def test_only_the_owner_reads_a_token_and_the_server_keeps_no_token(results, tmp_path):
    path = make_token(results, "bob", tmp_path / "bob.token")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(hashes_file(results).stat().st_mode) == 0o600
    token = path.read_text().strip()
    assert token not in hashes_file(results).read_text()
    assert owner(results, token) == "bob"
    make_token(results, "bob", path)
    assert owner(results, token) is None


def test_hashes_that_others_may_write_are_refused(results, token):
    hashes_file(results).chmod(0o666)
    with pytest.raises(TokenError, match="others may write"):
        owner(results, token)


@pytest.mark.parametrize("name", ["", "../x", "a b", "<b>", "x" * 41])
def test_names_that_are_no_names(results, tmp_path, name):
    with pytest.raises(TokenError, match="not possible"):
        make_token(results, name, tmp_path / "t")


def test_a_token_signs_in_and_a_forged_one_does_not(client, token):
    assert sign_in(client, token[:-1] + "!").status_code == 401
    assert sign_in(client, "x" * 5000).status_code == 401
    answer = sign_in(client, token)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert token not in cookie
    assert ">alice<" in client.get("/now").text


def test_a_session_ends_with_its_token(client, token, results, tmp_path):
    sign_in(client, token)
    make_token(results, "alice", tmp_path / "new.token")
    assert ">alice<" not in client.get("/now").text


def test_pages_of_other_sites_are_refused(client, token):
    body = {"token": token}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/login", json=body, headers=headers).status_code == 403
    assert client.get("/now", headers={"Host": "evil.example"}).status_code == 400
    form = client.post("/login", data={"token": token}, headers={"Origin": BASE})
    assert form.status_code == 415


def test_requests_that_are_too_large_are_refused(client):
    def stream():
        yield b'{"token": "'
        for _ in range(100):
            yield b"x" * 1024
        yield b'"}'

    assert client.post("/login", json={"token": "x" * 70_000}).status_code == 413
    headers = {"Content-Type": "application/json"}
    assert client.post("/login", content=stream(), headers=headers).status_code == 413
    assert client.get("/now", params={"x": "y" * 3000}).status_code == 414


def test_headers_of_every_answer(client):
    for path in ("/now", "/static/dashboard.js", "/nothing"):
        headers = client.get(path).headers
        script = next(x for x in headers["content-security-policy"].split("; ") if "script" in x)
        assert script == "script-src 'self'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "link/passwd", "a\0b"])
def test_paths_out_of_the_results_are_refused(results, path):
    (results / "link").symlink_to("/etc")
    with pytest.raises(SettingsError):
        below(results, path)


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/server.py"]
)
def test_nothing_but_static_files_is_served(client, path):
    assert client.get(path).status_code == 404


def test_an_unknown_page_says_so_to_people_and_programs(client):
    assert "<h1>404" in client.get("/nope", headers={"Accept": "text/html"}).text
    assert json.loads(client.get("/nope").text) == {"detail": "Not Found"}
