"""The password of a database server: from the environment or a file that only its owner reads."""

import os
import stat
from pathlib import Path

from xfel_apps.errors import SettingsError

PASSWORD = "XFELFLOW_DB_PASSWORD"
PASSWORD_FILE = "XFELFLOW_DB_PASSWORD_FILE"
DEFAULT_FILE = Path(".xfelflow/db_password")
"""Relative to the home folder."""


def db_password() -> str | None:
    """Return the password; None where none is given (a server may want none).

    Raises
    ------
    SettingsError : the file with it is missing, or others can read it
    """
    if (given := os.environ.get(PASSWORD)) is not None:
        return given
    named = os.environ.get(PASSWORD_FILE)
    path = Path(named) if named else Path.home() / DEFAULT_FILE
    if not named and not path.exists():
        return None
    try:
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise SettingsError(f"{path}: others can read this password; run `chmod 600 {path}`")
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as err:
        raise SettingsError(f"{path}: cannot read the database password ({err})") from err
