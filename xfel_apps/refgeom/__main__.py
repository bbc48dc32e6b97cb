"""Refine the detector's geometry from indexed spots: `python -m xfel_apps.refgeom`."""

import argparse
import sys
from collections.abc import Sequence

from xfel_apps import app, mpi
from xfel_apps.containers.geometry import GeometryManifest
from xfel_apps.refgeom.run import refine_geometry
from xfel_apps.refgeom.settings import RefgeomSettings

NAMES_SHOWN = 6


def body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    """Refine the geometry of the runs named on the command line."""
    settings = RefgeomSettings.from_json(args.settings)
    manifest = refine_geometry(comm, args.crystals, args.geometry, settings)
    if comm.rank == 0:
        print("\n".join(summary(manifest)))


def summary(manifest: GeometryManifest) -> list[str]:
    """Return lines for the log: what came out, and what was kept."""
    before, after = manifest.rms_px_before["both"], manifest.rms_px_after["both"]
    lines = [
        f"refgeom: {before:.3f} -> {after:.3f} px rms over {manifest.n_spots} spots of "
        f"{manifest.n_crystals} crystals, distance {manifest.distance_mm_before:.3f} -> "
        f"{manifest.distance_mm_after:.3f} mm"
    ]
    if not manifest.distance_refined:
        lines.append(
            "the distance is kept: the cell was found in these data; "
            "give a known one with refgeom.cell"
        )
    kept = [panel for panel in manifest.panels if panel["kept_with"]]
    if kept:
        shown = ", ".join(f"{p['name']} ({p['n_spots']})" for p in kept[:NAMES_SHOWN])
        more = f" and {len(kept) - NAMES_SHOWN} more" if len(kept) > NAMES_SHOWN else ""
        lines.append(
            f"{len(kept)} of {len(manifest.panels)} panels have too few spots "
            f"(refgeom.min_spots) and moved with what they belong to: {shown}{more}"
        )
    if not manifest.converged:
        lines.append(f"panels still moved after {manifest.n_cycles} cycles: raise refgeom.n_cycles")
    return lines


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app; return its exit code."""
    arguments = app.parser(
        "refgeom",
        "Refine where the detector's panels lie from the crystals of one run or more; events.json "
        "and spots.json are read from beside each crystals.json.",
        ["crystals"],
        "geometry",
        many=True,
    )
    return app.run(body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
