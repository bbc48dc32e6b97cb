"""Real MariaDB and PostgreSQL servers on free ports of the loopback interface, for tests.

Each has one account, whose password is drawn anew, and whose clients have to give it. As root the
servers run as the users of their Debian packages; otherwise as whoever starts them.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from tests.slurm import packages
from tests.slurm.daemons import ClusterError, Daemon, free_ports, wait_until

ACCOUNT = "xfelflow"
START_S = 120.0
PACKAGES = ("mariadb-server", "postgresql")
PATH = os.pathsep.join(
    (
        *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
        os.environ.get("PATH", "/usr/bin:/bin"),
        "/usr/sbin",
        "/sbin",
    )
)


class Server(ABC):
    """A database server in a folder of its own: up in a `with` statement, gone afterwards.

    Parameters
    ----------
    is_durable : commits reach the disk, as on a server that counts (for benchmarks); else they
        outlive the server, not the machine
    """

    name: ClassVar[str]
    user: ClassVar[str]
    programs: ClassVar[Sequence[str]]
    scheme: ClassVar[str]

    def __init__(self, *, is_durable: bool = False) -> None:
        self.is_durable = is_durable
        self.password = secrets.token_hex(16)
        (self.port,) = free_ports(1)
        self._daemon: Daemon | None = None

    @classmethod
    def reason_against(cls) -> str | None:
        """Return why it cannot be started on this machine as it is; None if it can."""
        absent = [name for name in cls.programs if _find(name) is None]
        if absent:
            return f"no {', '.join(absent)}: apt-get install {' '.join(PACKAGES)}"
        return None

    def __enter__(self) -> Self:
        self.root = Path(tempfile.mkdtemp(prefix=f"xf.{self.name}.", dir="/tmp"))
        try:
            if os.geteuid() == 0:
                entry = pwd.getpwnam(self.user)
                os.chown(self.root, entry.pw_uid, entry.pw_gid)
            self._make()
            self.start()
            self._make_account()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def url(self, database: str) -> str:
        """Return the URL of a database, without password."""
        return f"{self.scheme}://{ACCOUNT}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, or start it again, and return when it takes statements."""
        log = Path(f"{self.root}.log")
        for _ in range(10):
            self._daemon = Daemon(self.name, self._as_user(*self._command(), ends=True), log, _ENV)
            self._daemon.start()
            try:
                wait_until(lambda: self._succeeds("select 1"), START_S, self.name, self._daemon)
            except ClusterError as error:
                self._daemon.stop()
                said = error  # what was killed may hold the folder for another moment
            else:
                return
        raise said

    def kill(self) -> None:
        """End it without warning."""
        if self._daemon is not None:
            self._daemon.stop(signal.SIGKILL)

    def create(self, database: str) -> str:
        """Make an empty database and return its URL."""
        self.execute(f"create database {database}")
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, also one that is in use."""
        self.execute(self._drop.format(database))

    def execute(self, statement: str) -> str:
        """Run a statement as administrator and return what it gives, without headings."""
        done = self._client(statement)
        if done.returncode:
            raise ClusterError(f"{self.name}: {statement.split()[:3]}: {done.stderr}")
        return done.stdout.strip()

    @abstractmethod
    def connections(self) -> int:
        """Return how many connections the account holds now."""

    _drop: ClassVar[str]

    @abstractmethod
    def _make(self) -> None:
        """Fill the folder of the server."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command line that runs the server in the foreground."""

    @abstractmethod
    def _make_account(self) -> None:
        """Make the account, which may make databases."""

    @abstractmethod
    def _client(self, statement: str) -> subprocess.CompletedProcess[str]:
        """Run a statement as administrator."""

    def _succeeds(self, statement: str) -> bool:
        return self._client(statement).returncode == 0

    def _as_user(self, *command: str, ends: bool = False) -> list[str]:
        """Return a command line run as the server's user; one that `ends` with its starter."""
        become = ["setpriv", *(["--pdeathsig", "INT"] if ends else [])]
        if os.geteuid() == 0:
            group = str(pwd.getpwnam(self.user).pw_gid)
            become += ["--reuid", self.user, "--regid", group, "--clear-groups"]
        program = _find(command[0])
        return [*become, str(program), *command[1:]]

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._as_user(*command),
            env=_ENV,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )

    def _must(self, *command: str) -> None:
        done = self._run(*command)
        if done.returncode:
            raise ClusterError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def _remove(self) -> None:
        if self._daemon is not None:
            self._daemon.stop(signal.SIGINT if self.name == "postgresql" else signal.SIGTERM)
        shutil.rmtree(self.root, ignore_errors=True)
        Path(f"{self.root}.log").unlink(missing_ok=True)


class Mariadb(Server):
    """MariaDB."""

    name = "mariadb"
    user = "mysql"
    programs = ("mariadbd", "mariadb-install-db", "mariadb", "setpriv")
    scheme = "mysql+pymysql"
    _drop = "drop database {}"

    def connections(self) -> int:
        """Return how many connections the account holds now."""
        query = f"select count(*) from information_schema.processlist where user='{ACCOUNT}'"
        return int(self.execute(query))

    def _make(self) -> None:
        self._must(
            "mariadb-install-db", "--no-defaults", f"--datadir={self.root}/db",
            f"--auth-root-socket-user={_owner(self.user)}",
            "--auth-root-authentication-method=socket", "--skip-test-db",
            "--innodb-log-file-size=32M", "--innodb-buffer-pool-size=64M",
        )  # fmt: skip

    def _command(self) -> list[str]:
        return [
            "mariadbd", "--no-defaults", f"--datadir={self.root}/db", f"--socket={self.root}/sock",
            f"--pid-file={self.root}/pid", "--bind-address=127.0.0.1", f"--port={self.port}",
            "--skip-name-resolve", "--innodb-log-file-size=32M", "--innodb-buffer-pool-size=256M",
            "--innodb-buffer-pool-load-at-startup=0",
            f"--innodb-flush-log-at-trx-commit={1 if self.is_durable else 2}",
        ]  # fmt: skip

    def _make_account(self) -> None:
        # No string holds the password where `ps` shows it: statements come by the socket.
        self.execute(
            f"create user {ACCOUNT}@'127.0.0.1' identified by '{self.password}';"
            f"grant all on *.* to {ACCOUNT}@'127.0.0.1'"
        )

    def _client(self, statement: str) -> subprocess.CompletedProcess[str]:
        owner = _owner(self.user)
        command = ["mariadb", "--no-defaults", "-S", f"{self.root}/sock", "-u", owner, "-BN"]
        return subprocess.run(
            self._as_user(*command),
            env=_ENV,
            input=statement,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )


class Postgresql(Server):
    """PostgreSQL."""

    name = "postgresql"
    user = "postgres"
    programs = ("initdb", "postgres", "psql", "setpriv")
    scheme = "postgresql+psycopg"
    _drop = "drop database {} with (force)"

    def connections(self) -> int:
        """Return how many connections the account holds now."""
        query = f"select count(*) from pg_stat_activity where usename = '{ACCOUNT}'"
        return int(self.execute(query))

    def _make(self) -> None:
        self._must(
            "initdb", "-D", f"{self.root}/db", "-U", _owner(self.user), "-E", "UTF8",
            "--locale=C.UTF-8", "--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync",
        )  # fmt: skip

    def _command(self) -> list[str]:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.root}",
            f"fsync={'on' if self.is_durable else 'off'}",
        ]
        return [
            "postgres",
            "-D",
            f"{self.root}/db",
            *(x for setting in settings for x in ("-c", setting)),
        ]

    def _make_account(self) -> None:
        self.execute(f"create role {ACCOUNT} login createdb password '{self.password}'")

    def create(self, database: str) -> str:
        """Make an empty database of the account's and return its URL."""
        self.execute(f"create database {database} owner {ACCOUNT}")
        return self.url(database)

    def _client(self, statement: str) -> subprocess.CompletedProcess[str]:
        command = ["psql", "-h", str(self.root), "-p", str(self.port), "-U", _owner(self.user)]
        return subprocess.run(
            self._as_user(*command, "-d", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1"),
            env=_ENV,
            cwd=self.root,
            input=statement,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )


SERVERS: dict[str, type[Server]] = {kind.name: kind for kind in (Mariadb, Postgresql)}

_ENV = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/tmp"}


def _owner(user: str) -> str:
    """Return the user that a server of `user` runs as here."""
    return user if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _find(program: str) -> str | None:
    return shutil.which(program, path=PATH)


def install() -> None:
    """Install the packages of both servers."""
    packages.install(PACKAGES)
