"""Bring up the test cluster, say how to use it, and take it down on Ctrl-C: `make slurm`."""

import os
import signal
import sys

from tests.slurm import packages
from tests.slurm.cluster import QOS, USER, Cluster

USAGE = """
A Slurm cluster of {nodes} nodes is up. In another terminal:

  source {root}/env.sh      # as root
  sinfo; squeue; sacct
  become sbatch --wrap hostname   # as the user {user}, in {home}

QOS: {qos}; account: xfel. Logs: {root}/log.
It stops, with all its jobs, on Ctrl-C here (or: kill {pid}).
"""


def main() -> int:
    """Run the cluster in the foreground."""
    if packages.missing():
        packages.install()
    if reason := packages.reason_against():
        print(f"no cluster: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        with Cluster() as cluster:
            print(describe(cluster), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 130
    return 0


def describe(cluster: Cluster) -> str:
    """Write env.sh and return how to use the cluster."""
    lines = [f"export {name}='{cluster.environment[name]}'" for name in ("PATH", "SLURM_CONF")]
    as_user = " ".join(cluster.become())
    lines.append(f'become() {{ (cd {cluster.home} && HOME={cluster.home} {as_user} "$@"); }}')
    (cluster.root / "env.sh").write_text("\n".join(lines) + "\n")
    return USAGE.format(
        nodes=len(cluster.nodes), root=cluster.root, user=USER, home=cluster.home,
        qos=", ".join(QOS), pid=os.getpid(),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
