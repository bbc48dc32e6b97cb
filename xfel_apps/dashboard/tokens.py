"""Tokens that allow changes: the user has the token, the server only its hash.

`RESULTS/.dashboard/tokens.json` holds name -> SHA-256 of the token. A token is 256 random bits, so
that its hash needs no salt and no slow function.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import XfelError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
TOKEN_BYTES = 32


class TokenError(XfelError):
    """A token cannot be made or read."""


def hashes_file(results: Path) -> Path:
    """Return the file with the hashes of the tokens for some results."""
    return results / ".dashboard" / "tokens.json"


def token_file(name: str) -> Path:
    """Return the file that a user's token is written to unless another is given."""
    return Path.home() / ".config" / "xfelflow" / f"dashboard-{name}.token"


def make_token(results: Path, name: str, out: Path | None = None) -> Path:
    """Write a new token for `name` to a file of mode 600 and return where it is.

    A token that the name had before is no longer taken.
    """
    if not NAME.fullmatch(name):
        raise TokenError(
            f"name {name!r}: not possible; use up to 40 letters, digits, dots, dashes, underscores"
        )
    if not results.is_dir():
        raise TokenError(f"{results}: no such folder; give that of the results with --results")
    path = out or token_file(name)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    _write_private(path, token + "\n")
    known = dict(read_hashes(results))
    known[name] = hashed(token)
    _write_private(hashes_file(results), json.dumps(known, indent=1) + "\n")
    return path


def _write_private(path: Path, text: str) -> None:
    """Write a text that only its owner may read, at no time by others."""
    before = os.umask(0o077)
    try:
        write_text(path, text)
    except XfelError as err:
        raise TokenError(str(err)) from err
    finally:
        os.umask(before)


def read_hashes(results: Path) -> Mapping[str, str]:
    """Return name -> hash of its token; none where no token was ever made."""
    path = hashes_file(results)
    try:
        mode = path.stat().st_mode
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise TokenError(f"{path}: not readable ({err}); make a new token") from err
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TokenError(f"{path}: others may write it; chmod 600 it, then make new tokens")
    if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
        raise TokenError(f"{path}: not names and hashes; remove it and make new tokens")
    return found


def hashed(token: str) -> str:
    """Return the hash that the server keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def owner(results: Path, token: str) -> str | None:
    """Return whose token this is; None if it is nobody's. Takes as long either way."""
    given, found = hashed(token), None
    for name, known in read_hashes(results).items():
        if hmac.compare_digest(given, known):
            found = name
    return found
