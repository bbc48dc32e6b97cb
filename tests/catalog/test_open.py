"""Opening a catalog: new, with a password, of another schema, or not at all."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from xfel_apps.catalog import CatalogError, open_catalog
from xfel_apps.catalog.models import Base
from xfel_apps.catalog.secret import PASSWORD, PASSWORD_FILE, db_password
from xfel_apps.catalog.url import checked_url
from xfel_apps.errors import SettingsError


def test_new_sqlite_file_has_the_tables_of_the_models(tmp_path: Path):
    catalog = open_catalog(f"sqlite:///{tmp_path}/catalog.db")
    with catalog.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:s3cret@host/db",
        "postgresql+psycopg://me:s3cret@host/db",
        "postgresql://me@host/db?password=s3cret",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_shown(url: str):
    with pytest.raises(SettingsError, match="a password stands in the URL") as refused:
        open_catalog(url)
    assert "s3cret" not in str(refused.value)
    assert PASSWORD in str(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("oracle://host/db", "oracle is not served"),
        ("postgresql://me@host", "names no database"),
        ("://", "not a URL"),
        ("", "no URL is given"),
        ("sqlite:////no/such/folder/c.db", "there is no folder /no/such/folder"),
    ],
)
def test_a_wrong_url_is_refused_in_one_line(url: str, said: str):
    with pytest.raises((SettingsError, CatalogError), match=said) as refused:
        open_catalog(url)
    assert "\n" not in str(refused.value)


def test_short_urls_get_their_drivers():
    assert checked_url("mysql://me@h/d").drivername == "mysql+pymysql"
    assert checked_url("postgres://me@h/d").drivername == "postgresql+psycopg"


def test_password_comes_from_the_environment_or_a_private_file(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.delenv(PASSWORD_FILE, raising=False)
    assert db_password() is None
    path = tmp_path / "secret"
    path.write_text("from file\n")
    path.chmod(0o644)
    monkeypatch.setenv(PASSWORD_FILE, str(path))
    with pytest.raises(SettingsError, match="chmod 600"):
        db_password()
    path.chmod(0o600)
    assert db_password() == "from file"
    monkeypatch.setenv(PASSWORD, "from environment")
    assert db_password() == "from environment"


def test_a_file_that_is_no_catalog_is_left_alone(tmp_path: Path):
    path = tmp_path / "notes.db"
    path.write_text("these are my notes, not a database\n" * 50)
    with pytest.raises(CatalogError, match="not a database"):
        open_catalog(str(path))
    assert path.read_text().startswith("these are my notes")


def test_an_unknown_schema_asks_for_a_newer_code(tmp_path: Path):
    url = str(tmp_path / "catalog.db")
    with open_catalog(url).engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(CatalogError, match="9999 is unknown to this code"):
        open_catalog(url)
