"""Integration against what is known: repeated measurements, background, mosaic models.

Stills are simulated again and again with the same crystals and new noise, by a photon counter and
by an integrating detector with gain and readout noise: chi-squared of the repeats by mean
intensity. The mosaic model is compared with what was simulated, one still alone and all together.
Real stills: `benchmarks.real`.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice
from xfel_apps.integrate.predicted import Shot
from xfel_apps.integrate.rows import best_estimate, flags_of
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.shot import Integrated, integrate_shot
from xfel_apps.integrate.spread import pooled
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.simulate.shot import (
    Experiment,
    detect,
    draw_truth,
    make_experiment,
    mean_photons,
    shot_rng,
)

Array = NDArray[np.float64]
GROUP = "P 43 21 2"
DETECTORS: dict[str, dict[str, object]] = {
    "counter": {},
    "counter, next to no background": {
        "background": {"water_photons": 0.2, "air_photons": 0.1},
    },
    "integrating, noise of 2 photons": {"detector": {"gain": 10.0, "read_noise_adu": 20.0}},
    "integrating, noise of 0.2": {
        "detector": {"gain": 41.0, "read_noise_adu": 8.0},
        "background": {"water_photons": 0.5, "air_photons": 0.2},
    },
}
EDGES = np.array([-1e9, 2.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e9])
"""Mean intensities that part the bins [photon]."""
BACKGROUNDS = (0.1, 0.3, 1.0, 5.0)
"""Water scattering of the stills whose background is looked at [photons a pixel]."""
MOSAICS = ((0.0, 1550.0), (0.05, 1550.0), (0.12, 1550.0), (0.12, 3000.0), (0.3, 1550.0))
"""Mosaic spread [degree] and size of blocks [Angstrom] that are simulated."""


@dataclass(frozen=True)
class Still:
    """A simulated still whose noise is yet to come."""

    experiment: Experiment
    photons: Array
    lattice: Lattice
    wavelength_ang: float

    @classmethod
    def draw(cls, experiment: Experiment, number: int) -> "Still":
        """Return one still of a run; its mosaic model is expected a third too wide."""
        settings = experiment.settings
        truth = draw_truth(experiment, number, shot_rng(settings.seed, number))
        crystal = settings.crystal
        expected = Mosaic(crystal.mosaicity_deg + 0.02, crystal.block_ang / 1.3)
        lattice = Lattice(truth.a_matrices[0], GROUP, expected)
        return cls(experiment, mean_photons(experiment, truth), lattice, truth.wavelength_ang)

    def integrate(self, repeat: int) -> tuple[Integrated, NDArray[np.uint8]]:
        """Return what integration makes of it with one draw of the noise, and the flags."""
        rng = np.random.default_rng([repeat, int(self.wavelength_ang * 1e6)])
        frame = detect(self.experiment, self.photons, rng).astype(np.int32)
        good, beam = np.ones(frame.shape, dtype=bool), self.experiment.beam
        gain = self.experiment.settings.detector.gain
        beam = beam.with_wavelength(self.wavelength_ang)
        shot = Shot(frame, good, self.experiment.detector, beam, 2.5, gain)
        settings = IntegrateSettings()
        done = integrate_shot(shot, [self.lattice], [2.5], settings)
        return done, flags_of(done.sums, settings)


def stills(changes: dict[str, object], n: int) -> Iterator[Still]:
    """Yield n simulated stills."""
    settings = SimulateSettings.checked({"hit_fraction": 1.0, "weak_fraction": 0.0, **changes})
    experiment = make_experiment(None, settings)
    return (Still.draw(experiment, number) for number in range(n))


def repeated(still: Still, n: int) -> pd.DataFrame:
    """Return every usable measurement of a still's reflections in n draws of the noise."""
    parts = []
    for repeat in range(n):
        done, flags = still.integrate(repeat)
        best, variance = best_estimate(done)
        columns = {
            "fit": best,
            "fit_variance": variance,
            "sum": done.sums.intensity_sum,
            "sum_variance": done.sums.variance_sum,
        }
        index = pd.MultiIndex.from_arrays(done.found.hkl.T, names=["h", "k", "l"])
        parts.append(pd.DataFrame(columns, index)[flags == 0])
    return pd.concat(parts)


def chi2_by_bin(measured: list[pd.DataFrame], kind: str) -> list[tuple[int, float]]:
    """Return reflections and chi-squared a degree of freedom in each bin of mean intensity."""
    rows = []
    for table in measured:
        groups = table.groupby(level=[0, 1, 2])
        mean, count = groups[kind].transform("mean"), groups[kind].transform("size")
        misfit = (table[kind] - mean) ** 2 / table[f"{kind}_variance"]
        each = pd.DataFrame({"mean": mean, "n": count, "misfit": misfit})
        by_index = each[count >= 5].groupby(level=[0, 1, 2])
        rows.append(by_index.agg({"mean": "first", "n": "first", "misfit": "sum"}))
    whole = pd.concat(rows)
    which = np.digitize(whole["mean"], EDGES) - 1
    found = []
    for number in range(len(EDGES) - 1):
        own = whole[which == number]
        free = (own["n"] - 1).sum()
        found.append((len(own), float(own["misfit"].sum() / free) if free else float("nan")))
    return found


def print_chi2(n_stills: int, n_repeats: int) -> dict[str, dict[str, list[float]]]:
    """Print chi-squared of repeated measurements; return it by detector and kind."""
    print(f"chi-squared of {n_repeats} measurements of {n_stills} stills, by mean photons (number)")
    print(" " * 38 + "".join(f"   > {edge:<8g}" for edge in [-np.inf, *EDGES[1:-1]]))
    result: dict[str, dict[str, list[float]]] = {}
    for name, changes in DETECTORS.items():
        measured = [repeated(still, n_repeats) for still in stills(changes, n_stills)]
        for kind in ("sum", "fit"):
            found = chi2_by_bin(measured, kind)
            row = "".join(f"{chi2:6.2f} ({n:3d})" for n, chi2 in found)
            print(f"  {name:32s} {kind} {row}", flush=True)
            result.setdefault(name, {})[kind] = [round(chi2, 3) for _, chi2 in found]
    return result


def print_background() -> float:
    """Print the bias of the background; return the largest of all levels."""
    worst = 0.0
    for level in BACKGROUNDS:
        changes: dict[str, object] = {
            "background": {"water_photons": level, "water_spread": 0.0, "air_photons": 0.0}
        }
        found, true = [], []
        for still in stills(changes, 3):
            empty = replace(still, photons=still.experiment.background.water.astype(float))
            done, flags = empty.integrate(0)
            fast, slow = done.found.fast_px.astype(int), done.found.slow_px.astype(int)
            found.append(done.sums.background[flags == 0])
            true.append(empty.photons[slow, fast][flags == 0])
        off = np.concatenate(found) / np.concatenate(true) - 1.0
        bias, error = float(off.mean()), float(off.std() / np.sqrt(len(off)))
        print(f"background {level} photons a pixel: off by {bias:+.2%} +- {error:.2%}", flush=True)
        worst = max(worst, abs(bias))
    return worst


def print_mosaics(n_stills: int) -> list[dict[str, float]]:
    """Print the mosaic models that were simulated and found; return them."""
    result = []
    for spread_deg, block_ang in MOSAICS:
        crystal = {
            "mosaicity_deg": spread_deg,
            "block_ang": block_ang,
            "domains": 60 if spread_deg else 1,
        }
        fits = [still.integrate(0)[0].widths[0] for still in stills({"crystal": crystal}, n_stills)]
        spread, error = pooled(np.array([fit.log_likelihood for fit in fits]))
        single = np.array([fit.mosaic.mosaicity_deg for fit in fits])
        block = np.array([fit.mosaic.block_size_ang for fit in fits])
        print(
            f"mosaic spread {spread_deg:.2f} degrees, blocks {block_ang:.0f} A: together "
            f"{spread:.3f} +- {error:.3f}, alone {single.mean():.3f} +- {single.std():.3f}; "
            f"blocks {np.median(block):.0f} +- {block.std():.0f}",
            flush=True,
        )
        result.append(
            {
                "spread_deg": spread_deg,
                "block_ang": block_ang,
                "found_deg": round(spread, 4),
                "found_ang": round(float(np.median(block)), 1),
            }
        )
    return result


def main() -> None:
    """Print the tables, then one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stills", type=int, default=6, help="simulated stills of each kind")
    parser.add_argument("--repeats", type=int, default=12, help="draws of the noise")
    args = parser.parse_args()
    figures: dict[str, object] = {
        "chi2_edges": EDGES[1:-1].tolist(),
        "chi2_by_bin": print_chi2(args.stills, args.repeats),
        "background_bias": round(print_background(), 5),
        "mosaic": print_mosaics(4 * args.stills),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
