"""Write what merging made: MTZ files and plot, then the manifest."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from xfel_apps import __version__, mpi
from xfel_apps.config import digest
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.merge_state import MergeState
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.intensities.asu import operator_name
from xfel_apps.intensities.mtz import Header, write_merged, write_mtz
from xfel_apps.intensities.statistics import Statistics, statistics
from xfel_apps.merge.ambiguity import BEYOND_CHANCE
from xfel_apps.merge.crystals import Verdict, dataset_digest
from xfel_apps.merge.modulation import amplitudes
from xfel_apps.merge.pipeline import Result, unmerged_columns
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.merge.state import state_of


def write_all(
    comm: mpi.Comm,
    path: Path,
    result: Result,
    inputs: Sequence[Path],
    settings: MergeSettings,
    key: str = "",
) -> Statistics:
    """Write everything beside the manifest at `path`, and the manifest last; it keeps `key`.

    Returns the statistics, on every rank.
    """
    files = {"mtz": f"{path.stem}.mtz", "plot": f"{path.stem}.svg", "state": f"{path.stem}.h5"}
    unmerged = unmerged_columns(result) if settings.write_unmerged else None
    if unmerged is not None:
        files["unmerged"] = "unmerged.mtz"

    def write() -> Statistics:
        # These load matplotlib, which only one rank needs.
        from xfel_apps.plots.merging import curves
        from xfel_apps.plots.style import save_svg

        stats = statistics(result.merged, result.scatter, settings.n_shells, result.reference)
        state = state_of(result)
        manifest = describe(result, state, settings, stats, (inputs, files))
        dataset = result.dataset
        header = Header(dataset.cell, dataset.space_group, state.wavelength_ang)
        lines = history(manifest)
        write_merged(path.with_name(files["mtz"]), result.merged, header, lines)
        if unmerged is not None:
            hkl = result.unique.hkl[unmerged["slot"] // result.unique.slots_each]
            columns = [
                ("M/ISYM", "Y", 1 + unmerged["slot"] % result.unique.slots_each),
                ("BATCH", "B", unmerged["crystal"] + 1),
                ("I", "J", unmerged["intensity"]),
                ("SIGI", "Q", unmerged["sigma"]),
                ("FRACTIONCALC", "R", unmerged["partiality"]),
            ]
            write_mtz(path.with_name(files["unmerged"]), hkl, columns, header, lines)
        save_svg(curves(stats.as_dict()), path.with_name(files["plot"]))
        state.write(path.with_name(files["state"]))
        replace(manifest, key=key).write(path)
        return stats

    found: Statistics = mpi.agree(comm, write)
    return found


def describe(
    result: Result,
    state: MergeState,
    settings: MergeSettings,
    stats: Statistics,
    paths: tuple[Sequence[Path], dict[str, str]],
) -> MergedManifest:
    """Return the manifest of a result.

    Parameters
    ----------
    state : all that was merged, before and now
    paths : manifests of the inputs, and what lies beside this one
    """
    inputs, files = paths
    manifests = [Manifest.read(path, REFLECTIONS) for path in inputs]
    older = result.older
    digests = dict(older.manifest.inputs if older else {})
    digests = dict(sorted({**digests, **{one.run: one.digest for one in manifests}}.items()))
    verdict, mode = state.crystals.verdict, state.crystals.mode
    modes = np.bincount(mode[verdict == Verdict.USED.code], minlength=len(result.operators))
    d_ang = result.unique.d_ang
    found = dataset_digest(digests, settings)
    return MergedManifest(
        digest=digest(found, older.manifest.digest) if older else found,
        settings=settings.model_dump(mode="json"),
        inputs=digests,
        cell=tuple(result.dataset.cell.parameters),
        space_group=str(result.dataset.space_group.hm),
        d_max_ang=float(d_ang.max()),
        d_min_ang=float(d_ang.min()),
        n_crystals=len(verdict),
        crystals={str(v): int((verdict == v.code).sum()) for v in Verdict},
        modes={
            operator_name(operator): int(n)
            for operator, n in zip(result.operators, modes, strict=True)
        },
        modes_chosen=modes_chosen(result),
        n_observations=stats.overall.n_observations,
        n_rejected=state.n_rejected,
        error_model=asdict(result.state.model),
        modulation=dict(zip(("fast", "slow"), amplitudes(result.state.modulation), strict=True)),
        statistics=stats.as_dict(),
        files=files,
        growth=older.growth(result.added) if older else {},
    )


def modes_chosen(result: Result) -> str:
    """Return in words how the ways of indexing were chosen; empty if there is one only."""
    if len(result.operators) == 1:
        return ""
    ways = result.ways
    if ways is None:
        return "by correlation with " + (
            "what was merged before" if result.older else "the reference"
        )
    agree = f"the crystals agree {ways.agreement:.1f} sigma better than shuffled ones"
    if not ways.is_decided:
        return (
            f"undecided, all are as they were indexed: {agree}, {BEYOND_CHANCE:g} needed; "
            "merge more crystals or give merge.reference"
        )
    left = int(ways.is_open.sum())
    return f"by how the crystals agree: {agree}" + (
        f"; {left} have too few reflections in common with others and are as they were indexed"
        if left
        else ""
    )


def history(manifest: MergedManifest) -> list[str]:
    """Return lines for the history of MTZ files, latest first as CCP4 has them."""
    used = manifest.crystals[str(Verdict.USED)]
    return [
        f"xfelflow {__version__} merge, digest {manifest.digest}",
        f"{used} of {manifest.n_crystals} crystals, {manifest.n_observations} observations",
        *([f"added to {manifest.growth['onto']}"] if manifest.growth else []),
        *(f"run {run}, reflections {digest}" for run, digest in manifest.inputs.items()),
        "F by French & Wilson (1978); IHALF1, IHALF2: halves of the crystals",
    ]
