"""Run by Debian's Python: print as JSON how DIALS' own models see what we wrote.

Argument: a folder with imported, strong, indexed and integrated files. DIALS is loaded where it is
used, for other Pythons to be able to look at this file.
"""

import json
import sys


def largest_offset(experiments, table):
    """Return how far from the table's predictions the models predict, at most [pixel]."""
    from scitbx.matrix import col, sqr

    farthest = 0.0
    for row in table.rows():
        experiment, hkl, wanted = experiments[row["id"]], row["miller_index"], row["xyzcal.px"]
        s0, a_matrix = col(experiment.beam.get_s0()), sqr(experiment.crystal.get_A())
        s1 = (a_matrix * col(hkl) + s0).normalize() * s0.length()
        found = experiment.detector[row["panel"]].get_ray_intersection_px(s1)
        farthest = max(farthest, abs(found[0] - wanted[0]), abs(found[1] - wanted[1]))
    return farthest


def angles_off(experiments, table):
    """Return how far DIALS' own stills predictor is from the angles to the sphere [rad]."""
    from dials.algorithms.refinement.prediction.managed_predictors import StillsExperimentsPredictor
    from dials.array_family import flex

    again = flex.reflection_table()
    for name in ("id", "miller_index", "panel", "entering", "xyzobs.px.value"):
        again[name] = table[name]
    again["flags"] = flex.size_t(len(table), 0)
    StillsExperimentsPredictor(experiments)(again)
    return float(flex.max(flex.abs(again["delpsical.rad"] - table["delpsical.rad"])))


def main(folder):
    """Print what came out."""
    from dials.array_family import flex
    from dxtbx.model.experiment_list import ExperimentListFactory

    result = {}
    for name in ("imported", "indexed", "integrated"):
        path = f"{folder}/{name}.expt"
        experiments = ExperimentListFactory.from_json_file(path, check_format=True)
        table = flex.reflection_table.from_file(
            f"{folder}/{'strong' if name == 'imported' else name}.refl"
        )
        table.assert_experiment_identifiers_are_consistent(experiments)
        last = experiments[len(experiments) - 1]
        raw = last.imageset.get_raw_data(0)
        found = {
            "experiments": len(experiments),
            "rows": len(table),
            "panels": [[float(x) for x in part.as_numpy_array().ravel()[:400:7]] for part in raw],
            "frame": int(last.imageset.indices()[0]),
            "wavelength": last.beam.get_wavelength(),
            "gain": last.detector[0].get_gain(),
            "masked": [list(rectangle) for rectangle in last.detector[0].get_mask()],
        }
        if name != "imported":
            found["angle_off_rad"] = angles_off(experiments, table)
            found["space_group"] = last.crystal.get_space_group().type().lookup_symbol()
        if name == "integrated":
            found["off_px"] = largest_offset(experiments, table)
        result[name] = found
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
