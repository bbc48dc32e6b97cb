"""Answers of a server that makes what takes long in the background."""

import time
from typing import Any

from fastapi.testclient import TestClient

PATIENCE_S = 120.0


def settled(client: TestClient, path: str, **given: Any) -> Any:
    """Return a page's text, or a figure, once what it shows is made."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        answer = client.get(path, params=given)
        assert answer.status_code == 200, answer.text
        is_text = answer.headers["content-type"].startswith("text")
        found = answer.text if is_text else answer.json()
        if "being read" not in found and not (not is_text and found.get("pending")):
            return found
        assert time.monotonic() < until_s, found
        time.sleep(0.1)
