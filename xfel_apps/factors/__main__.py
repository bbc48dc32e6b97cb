"""Refine structure factors: `python -m mpi4py -m xfel_apps.factors --refined R ... --factors F`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xfel_apps import app, mpi
from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.factors.run import Inputs, refine_factors
from xfel_apps.factors.settings import FactorsSettings


def body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    """Refine the dataset on all ranks."""
    settings = FactorsSettings.from_json(args.settings)
    inputs = Inputs(args.events, args.refined, args.merged)
    manifest = refine_factors(comm, inputs, args.factors, settings)
    if comm.rank == 0:
        print("\n".join(summary(manifest)))


def summary(manifest: FactorsManifest) -> list[str]:
    """Return lines for the log: what was used, and statistics by shell beside the merge's."""
    used = manifest.n_lattices - len(manifest.rejected)
    lines = [f"factors: {used} of {manifest.n_lattices} lattices used"]
    lines += [f"factors: {name} not used: {reason}" for name, reason in manifest.rejected.items()]
    new, old = manifest.statistics, manifest.merged_statistics
    if old:
        pairs = zip(
            [new["overall"], *new["shells"]], [old["overall"], *old["shells"]], strict=False
        )
        lines += [f"factors: {_row(now, before)}" for now, before in pairs]
    for row in manifest.compared:
        lines.append(
            f"factors: {row['d_max_ang']:.2f}-{row['d_min_ang']:.2f} A: CC to reference over "
            f"{row['n']}: merged {_number(row['cc_merged'])}, refined {_number(row['cc_refined'])}"
        )
    return lines


def _row(now: dict[str, float], before: dict[str, float]) -> str:
    text = f"{now['d_max_ang']:.2f}-{now['d_min_ang']:.2f} A: CC1/2 {_number(now['cc_half'])}"
    text += f" (merged {_number(before['cc_half'])}), reflections {now['n_unique']}"
    return text + f" ({before['n_unique']})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app; return its exit code."""
    arguments = app.parser(
        "factors",
        "Refine structure factors against the pixels of all shots together.",
        ["events", "refined"],
        "factors",
        many=True,
    )
    arguments.add_argument(
        "--merged", type=Path, required=True, help="manifest of the merged data to start from"
    )
    return app.run(body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
