"""What DIALS integrates where nothing is: for DIALS' own interpreter, see `benchmarks.dials_run`.

Turns every crystal of an experiment list about the beam, predicts and integrates as
`dials.stills_process` does, and writes one line a reflection: still, panel, fast, slow [pixel],
intensity, variance.
"""

import sys

from dials.algorithms.integration.integrator import create_integrator
from dials.array_family import flex
from dials.command_line.stills_process import phil_scope
from dxtbx.model.experiment_list import ExperimentListFactory
from libtbx.phil import parse
from scitbx import matrix


def main(experiments_path: str, phil_path: str, out: str, *angles_deg: str) -> None:
    """Integrate every still with its crystal turned by each angle."""
    with open(phil_path) as text:  # noqa: PTH123 - pathlib would do as well, and no better
        params = phil_scope.fetch(parse(text.read())).extract()
    with open(out, "w") as lines:  # noqa: PTH123
        for angle in angles_deg:
            experiments = ExperimentListFactory.from_json_file(experiments_path)
            turn = matrix.col((0, 0, 1)).axis_and_angle_as_r3_rotation_matrix(
                float(angle), deg=True
            )
            for experiment in experiments:
                experiment.crystal.set_U(turn * matrix.sqr(experiment.crystal.get_U()))
            predicted = flex.reflection_table.from_predictions_multi(
                experiments, margin=params.prediction.margin
            )
            found = create_integrator(params, experiments, predicted).integrate()
            found = found.select(found.get_flags(found.flags.integrated_sum))
            fast, slow, _ = found["xyzcal.px"].parts()
            columns = (
                found["id"],
                found["panel"],
                fast,
                slow,
                found["intensity.sum.value"],
                found["intensity.sum.variance"],
            )
            for row in zip(*columns, strict=True):
                print(*row, file=lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
