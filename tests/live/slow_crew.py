"""A crew whose shots take a while longer, so that tests can stop and kill it in the middle.

It is less patient than others with workers that are silent.

usage: python -m mpi4py slow_crew.py SECONDS_A_SHOT CREW_ARGUMENTS...
"""

import sys
import time

from xfel_apps.containers.product import ShotResult
from xfel_apps.live.crew import onepass, ranks
from xfel_apps.live.crew.__main__ import main


class SlowFinder(onepass.SpotFinder):
    seconds = 0.0

    def process(self, event: int) -> ShotResult:
        time.sleep(self.seconds)
        return super().process(event)


if __name__ == "__main__":
    SlowFinder.seconds = float(sys.argv[1])
    ranks.SPARE_S = 1.0
    onepass.SpotFinder = SlowFinder  # type: ignore[misc]  # what the test is about
    sys.exit(main(sys.argv[2:]))
