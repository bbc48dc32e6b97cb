"""A real Slurm cluster of pretend nodes on this machine, for tests and to play with.

munged, MariaDB, slurmdbd, slurmctld and a slurmd for every node, all on the loopback interface,
without systemd. It needs root. Everything lies in one folder with a short name under /tmp, for
the paths of UNIX sockets are short.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.slurm.daemons import ClusterError, Daemon, free_ports, wait_until

HERE = Path(__file__).parent
USER = "nobody"
"""The user that tests submit as; it has the account `xfel` and all four QOS."""
# Name, priority, whom it preempts. Preempted jobs have ten seconds to end.
QOS = {
    "preempt": "Priority=0 PreemptMode=requeue GraceTime=10",
    "regular": "Priority=100 Preempt=preempt",
    "realtime": "Priority=500 Preempt=preempt",
    "urgent": "Priority=1000 Preempt=preempt,regular",
}
TRIES = 3
OWN_FOLDERS = """
mount --bind "$1" "$2" && mount -t tmpfs -o mode=1777 tmpfs /dev/shm && shift 2 && exec "$@"
"""
"""Shell commands that start a node's daemon with folders of its own under names that all have.

/dev/shm: MPICH names its memory there by the numbers of job and step, which clusters share.
"""
COMMANDS = (
    "sbatch", "srun", "salloc", "scancel", "squeue", "sinfo", "sacct", "sacctmgr", "scontrol",
    "sbcast", "sattach", "sprio", "sstat",
)  # fmt: skip


class Cluster:
    """Four nodes, `nid001` to `nid004`, of four processors each.

    Use it in a `with` statement: it is up inside and gone afterwards.
    """

    def __init__(self, nodes: int = 4, cpus: int = 4, memory_mb: int = 16000) -> None:
        self.nodes = [f"nid{number:03d}" for number in range(1, nodes + 1)]
        self.cpus = cpus
        self.memory_mb = memory_mb
        self.daemons: dict[str, Daemon] = {}

    def __enter__(self) -> Self:
        said = []
        for _ in range(TRIES):
            self.root = Path(tempfile.mkdtemp(prefix="xfs.", dir="/tmp"))
            try:
                self._start()
            except (ClusterError, subprocess.SubprocessError) as error:
                said.append(f"{error} {getattr(error, 'stderr', None) or ''}")
                self._remove()
            except BaseException:
                self._remove()
                raise
            else:
                return self
        raise ClusterError(f"no cluster after {TRIES} tries\n" + "\n".join(said))

    def __exit__(self, *_: object) -> None:
        try:
            self.drain()
        finally:
            self._remove()

    @property
    def environment(self) -> dict[str, str]:
        """Environment that commands of the cluster's users run in."""
        return {
            "PATH": f"{self.root}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin",
            "SLURM_CONF": str(self.root / "conf" / "slurm.conf"),
            "HOME": str(self.home),
            "USER": USER,
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
        }

    @property
    def home(self) -> Path:
        """Folder of the cluster's user, seen by all nodes."""
        return self.root / "home"

    @property
    def local(self) -> Path:
        """Folder of each node's own, under one name on all nodes, as /tmp is on a real cluster.

        What lies there on nid001 is in `root/tmp/nid001` for the tests.
        """
        return self.root / "local"

    def run(
        self,
        *command: str,
        user: str = USER,
        limit_s: float = 60.0,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user of the cluster and return what it said."""
        return subprocess.run(
            [*self.become(user), *command],
            env={**self.environment, **(environment or {})},
            cwd=folder or self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=check,
        )

    @staticmethod
    def become(user: str = USER) -> list[str]:
        """Return the command line that runs another one as `user`."""
        group = pwd.getpwnam(user).pw_gid
        return ["setpriv", "--reuid", user, "--regid", str(group), "--clear-groups"]

    def say(self, *command: str, limit_s: float = 60.0) -> str:
        """Run a command as root and return what it prints."""
        return self.run(*command, user="root", limit_s=limit_s).stdout.strip()

    def reserve(self, name: str, nodes: Sequence[str], user: str = USER) -> None:
        """Reserve nodes from now on for an hour; preemptible jobs may enter (--signal=R:...)."""
        self.say(
            "scontrol", "create", "reservation", f"ReservationName={name}", "StartTime=now",
            "Duration=60", f"Nodes={','.join(nodes)}", f"Users={user}", "MaxStartDelay=2",
        )  # fmt: skip

    def drain(self, limit_s: float = 90.0) -> None:
        """Cancel all jobs, wait until none is left and delete the reservations."""
        end = time.monotonic() + limit_s
        while jobs := self.say("squeue", "-h", "-o", "%A").split():
            if time.monotonic() > end:
                raise ClusterError(f"jobs are still there after {limit_s} s: {jobs}")
            self.run("scancel", "-f", *sorted(set(jobs)), user="root", check=False)
            time.sleep(0.2)
        for line in self.say("scontrol", "-o", "show", "reservation").splitlines():
            if line.startswith("ReservationName="):
                self.say("scontrol", "delete", line.split()[0])

    def restart(self, name: str, how: signal.Signals = signal.SIGTERM, pause_s: float = 0) -> None:
        """End a daemon by a signal, wait and start it again."""
        self.daemons[name].stop(how)
        time.sleep(pause_s)
        self.daemons[name].start()

    def _start(self) -> None:
        self._make_folders()
        self._start_munge()
        self._start_database()
        self._start_accounts()
        self._start_nodes()
        self.drain()

    def _make_folders(self) -> None:
        self.root.chmod(0o755)
        for name in ("bin", "conf", "control", "home", "local", "log", "munge", "run", "sock"):
            (self.root / name).mkdir(mode=0o755)
        for node in self.nodes:
            (self.root / "spool" / node).mkdir(parents=True)
            (self.root / "tmp" / node).mkdir(parents=True)
            (self.root / "tmp" / node).chmod(0o1777)
        os.chown(self.home, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
        self.sql_port, *ports = free_ports(3 + len(self.nodes))
        self.password = secrets.token_hex(16)
        self._write_configuration(ports)
        # Some programs drop SLURM_CONF from the environment: these commands bring it back.
        for command in COMMANDS:
            script = self.root / "bin" / command
            conf = self.environment["SLURM_CONF"]
            script.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec /usr/bin/{command} "$@"\n')
            script.chmod(0o755)

    def _write_configuration(self, ports: Sequence[int]) -> None:
        control, accounts, *nodes = ports
        host = socket.gethostname().split(".")[0]
        lines = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={self.cpus} RealMemory={self.memory_mb} State=UNKNOWN"
            for node, port in zip(self.nodes, nodes, strict=True)
        ]
        values = {
            "ROOT": str(self.root), "HOST": host, "NODES": "\n".join(lines),
            "CONTROL_PORT": control, "ACCOUNTS_PORT": accounts,
            "FIRST_JOB": 1000 + secrets.randbelow(60_000_000),
            "SQL_PORT": self.sql_port, "SQL_PASSWORD": self.password,
        }  # fmt: skip
        for name in ("slurm.conf", "slurmdbd.conf"):
            text = (HERE / f"{name}.in").read_text()
            for key, value in values.items():
                text = text.replace(f"@{key}@", str(value))
            (self.root / "conf" / name).write_text(text)
        (self.root / "conf" / "slurmdbd.conf").chmod(0o600)

    def _daemon(self, name: str, *command: str) -> Daemon:
        environment = {**self.environment, "HOME": "/root", "USER": "root"}
        self.daemons[name] = Daemon(name, command, self.root / "log" / f"{name}.log", environment)
        self.daemons[name].start()
        return self.daemons[name]

    def _start_munge(self) -> None:
        folder = self.root / "munge"
        folder.chmod(0o700)
        (folder / "key").write_bytes(os.urandom(128))
        (folder / "key").chmod(0o600)
        files = ("key", "seed", "pid")
        daemon = self._daemon(
            "munged", "munged", "--foreground", "--num-threads=2",
            f"--socket={self.root}/sock/munge", *(f"--{x}-file={folder}/{x}" for x in files),
        )  # fmt: skip
        wait_until((self.root / "sock" / "munge").exists, 20, "munge's socket", daemon)

    def _start_database(self) -> None:
        data = self.root / "db"
        small = ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M"]
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}",
             "--auth-root-authentication-method=socket", "--skip-test-db", *small],
            check=True, timeout=120, capture_output=True, env=self.environment,
        )  # fmt: skip
        daemon = self._daemon(
            "mariadbd", "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}",
            f"--socket={self.root}/run/sql", "--bind-address=127.0.0.1", f"--port={self.sql_port}",
            "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0",
            "--innodb-lock-wait-timeout=900", *small,
        )  # fmt: skip
        sql = ["mariadb", "--no-defaults", "-S", f"{self.root}/run/sql", "-uroot", "-e"]
        wait_until(lambda: self._succeeds(*sql, "select 1"), 60, "MariaDB", daemon)
        self.say(
            *sql,
            "create database slurm_acct; grant all on slurm_acct.* to slurm@'127.0.0.1' "
            f"identified by '{self.password}'",
        )

    def _start_accounts(self) -> None:
        daemon = self._daemon("slurmdbd", "slurmdbd", "-D")
        wait_until(lambda: self._succeeds("sacctmgr", "-n", "list", "qos"), 60, "slurmdbd", daemon)
        for name, options in QOS.items():
            self.say("sacctmgr", "-i", "add", "qos", name, *options.split())
        self.say("sacctmgr", "-i", "load", f"file={HERE}/accounts.dump")

    def _start_nodes(self) -> None:
        control = self._daemon("slurmctld", "slurmctld", "-D")
        wait_until(self.is_up, 60, "slurmctld", control)
        for node in self.nodes:
            self._daemon(
                f"slurmd-{node}", "unshare", "--mount", "sh", "-c", OWN_FOLDERS, "sh",
                f"{self.root}/tmp/{node}", str(self.local), "slurmd", "-D", "-N", node,
            )  # fmt: skip
        wait_until(self._all_idle, 60, "all nodes idle", control)

    def is_up(self) -> bool:
        """Return whether the controller answers."""
        return " is UP" in self.run("scontrol", "ping", user="root", check=False).stdout

    def _all_idle(self) -> bool:
        idle = self.say("sinfo", "-hN", "-t", "idle", "-o", "%N").split()
        return set(idle) == set(self.nodes)

    def _succeeds(self, *command: str) -> bool:
        return self.run(*command, user="root", check=False).returncode == 0

    def _remove(self) -> None:
        for name in reversed(list(self.daemons)):
            self.daemons.pop(name).stop()
        for process in self._left_over():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    def _left_over(self) -> list[int]:
        """Return the processes of jobs that their node did not end."""
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            # Processes come and go while one looks.
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return [process for process in found if process != os.getpid()]
