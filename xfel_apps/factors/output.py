"""Write what was refined: MTZ file and plot, then the manifest."""

from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps import __version__
from xfel_apps.compute.wilson import wilson_prior
from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.factors.dataset import Dataset
from xfel_apps.factors.final import Final
from xfel_apps.factors.refine import Model
from xfel_apps.intensities.agreement import correlation
from xfel_apps.intensities.mtz import Header, write_merged
from xfel_apps.intensities.scatter import Scatter
from xfel_apps.intensities.statistics import shell_edges_ang, shell_of, statistics
from xfel_apps.intensities.table import Limits, Merged, build

Array = NDArray[np.float64]


def table_of(dataset: Dataset, final: Final) -> tuple[Merged, Scatter]:
    """Return the table of unique reflections, and how repeated spots scatter."""
    unique, settings = dataset.unique, dataset.settings
    each = unique.slots_each
    prior = wilson_prior(
        final.whole,
        np.maximum(final.informing, 1e-300),
        dataset.s2,
        np.repeat(unique.epsilon, each),
        np.repeat(unique.centric, each),
    )
    merged = build(
        unique,
        (final.whole, final.counts, final.informing),
        final.halves,
        prior,
        Limits(1, settings.max_relative_sigma),
    )
    square, count = (x.reshape(-1, each).sum(axis=1) for x in (final.square, final.repeated))
    return merged, Scatter(square, count)


def write_all(
    path: Path,
    dataset: Dataset,
    found: tuple[Model, Final],
    iterations: list[dict[str, Any]],
    rejected: dict[str, str],
) -> FactorsManifest:
    """Write everything beside the manifest at `path`, and the manifest last."""
    # These load matplotlib, which only one rank needs.
    from xfel_apps.plots.factors import progress
    from xfel_apps.plots.style import save_svg

    model, final = found
    settings = dataset.settings
    merged, scattered = table_of(dataset, final)
    stats = statistics(merged, scattered, settings.n_shells, dataset.reference).as_dict()
    files = {"mtz": "refined.mtz", "plot": f"{path.stem}.svg"}
    before = dataset.merged.statistics
    manifest = FactorsManifest(
        digest=dataset.digest,
        settings=settings.model_dump(mode="json"),
        inputs=dataset.inputs,
        cell=dataset.merged.cell,
        space_group=dataset.merged.space_group,
        d_max_ang=float(dataset.unique.d_ang.max()),
        d_min_ang=float(dataset.unique.d_ang.min()),
        n_lattices=dataset.n_lattices,
        rejected=rejected,
        iterations=iterations,
        model_error=tuple(np.sqrt(model.errors).tolist()),
        statistics=stats,
        merged_statistics={name: before[name] for name in ("overall", "shells") if name in before},
        compared=compared(dataset, merged),
        files=files,
    )
    cell = gemmi.UnitCell(*dataset.merged.cell)
    header = Header(cell, gemmi.SpaceGroup(manifest.space_group), dataset.wavelength_ang)
    write_merged(path.with_name(files["mtz"]), merged, header, history(manifest))
    save_svg(progress(manifest), path.with_name(files["plot"]))
    manifest.write(path)
    return manifest


def compared(dataset: Dataset, merged: Merged) -> list[dict[str, Any]]:
    """Return how merged and refined intensities agree with the reference, by shell."""
    reference = dataset.reference
    if reference is None:
        return []
    d_ang, start, refined = dataset.unique.d_ang, dataset.start, merged.mean.intensity
    edges = shell_edges_ang(d_ang, dataset.settings.n_shells)
    number = shell_of(d_ang, edges)
    limits = [(edges[0], edges[-1], np.ones(len(d_ang), dtype=bool))]
    limits += [(edges[i], edges[i + 1], number == i) for i in range(len(edges) - 1)]
    rows = []
    for d_max, d_min, inside in limits:
        both = inside & np.isfinite(start) & np.isfinite(refined) & np.isfinite(reference)
        rows.append(
            {
                "d_max_ang": float(d_max),
                "d_min_ang": float(d_min),
                "n": int(both.sum()),
                "cc_merged": correlation(start[both], reference[both]),
                "cc_refined": correlation(refined[both], reference[both]),
                "n_refined": int((inside & np.isfinite(refined)).sum()),
                "cc_all_refined": correlation(refined[inside], reference[inside]),
            }
        )
    return rows


def history(manifest: FactorsManifest) -> list[str]:
    """Return lines for the history of the MTZ file, latest first as CCP4 has them."""
    used = manifest.n_lattices - len(manifest.rejected)
    return [
        f"xfelflow {__version__} refine-structure-factors, digest {manifest.digest}",
        f"{used} of {manifest.n_lattices} lattices, {len(manifest.iterations)} iterations",
        *(f"{name}, digest {digest}" for name, digest in manifest.inputs.items()),
        "F by French & Wilson (1978); IHALF1, IHALF2: halves of the lattices",
    ]
