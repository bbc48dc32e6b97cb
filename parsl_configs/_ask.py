"""What Slurm says about blocks before any is asked for."""

import getpass
import re
import subprocess
from collections.abc import Callable, Sequence

from parsl_configs._blocks import CappedSlurmProvider, Node, refusal

LIMIT_S = 20


def check(provider: CappedSlurmProvider) -> None:
    """Raise a ValueError that names the valid choices, if Slurm would refuse a provider's blocks.

    Where Slurm cannot be asked, nothing is checked.
    """
    done = _run("sbatch", "--test-only", *provider.options, "--wrap", "true")
    if done is None or done.returncode == 0:
        return
    reason = refusal(done.stderr)
    for pattern, explain in EXPLANATIONS.items():
        if reason and re.search(pattern, reason) and (text := explain(provider)):
            raise ValueError(f"{text} (Slurm says: {reason})")


def largest_node() -> Node | None:
    """Return the most that a node of the cluster has; None where Slurm cannot be asked."""
    found = [line.split() for line in _lines("sinfo", "--noheader", "--exact", "--format=%c %m")]
    if not found:
        return None
    return Node(max(int(cores) for cores, _ in found), max(int(mb) for _, mb in found))


def _account(provider: CappedSlurmProvider) -> str:
    return f"no account {provider.account}; yours: {_of_user('account')}"


def _qos(provider: CappedSlurmProvider) -> str:
    account = [f"account={provider.account}"] if provider.account else []
    valid = _of_user("qos", *account)
    return f"no QOS {provider.qos}; yours: {valid}" if provider.qos else f"no QOS; yours: {valid}"


def _reservation(provider: CappedSlurmProvider) -> str:
    wanted = next(x for x in provider.options if x.startswith("--reservation="))
    lines = _lines("scontrol", "--oneliner", "show", "reservation")
    names = [found[1] for line in lines if (found := re.match(r"ReservationName=(\S+)", line))]
    valid = ", ".join(names) or "none"
    return f"no reservation {wanted.partition('=')[2]} for you; there are: {valid}"


def _constraint(provider: CappedSlurmProvider) -> str:
    kinds = _lines("sinfo", "--noheader", "--format=%f")
    return f"no nodes of kind {provider.constraint}; there are: {_sorted(kinds)}"


def _nodes(provider: CappedSlurmProvider) -> str | None:
    """Return what to say if there are too few nodes: they may also only be reserved."""
    count = sum(int(line) for line in _lines("sinfo", "--noheader", "--exact", "--format=%D"))
    if provider.nodes_per_block <= count:
        return None
    return f"no blocks of {provider.nodes_per_block} nodes: the cluster has {count}"


EXPLANATIONS: dict[str, Callable[[CappedSlurmProvider], str | None]] = {
    "account": _account,
    "qos": _qos,
    "reservation": _reservation,
    "feature": _constraint,
    "node configuration|[Nn]ode count": _nodes,
}
"""By what is in Slurm's reason; the first that has something to say is taken."""


def _of_user(field: str, *where: str) -> str:
    """Return a field of the user's associations: each value once."""
    query = ("show", "associations", f"user={getpass.getuser()}", *where, f"format={field}")
    return _sorted(_lines("sacctmgr", "--noheader", "--parsable2", *query))


def _sorted(lines: Sequence[str]) -> str:
    names = {name for line in lines for name in line.split(",") if name not in ("", "(null)")}
    return ", ".join(sorted(names)) or "none"


def _lines(*command: str) -> list[str]:
    """Return the lines that a command of Slurm prints; none if it fails."""
    done = _run(*command)
    return done.stdout.splitlines() if done and done.returncode == 0 else []


def _run(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Run a command of Slurm; None if there is none or it does not answer in time."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
