"""How a chunk ends: what is said of it, and the claim let go."""

import json
import sys
import time
from dataclasses import asdict

from xfel_apps.containers.manifest import write_text
from xfel_apps.live.queue import Claim
from xfel_apps.live.tally import Tally


def close_chunk(claim: Claim, crew: str, tally: Tally, start_s: float, problem: str = "") -> None:
    """Say that a chunk is done, unless it was taken from the crew.

    Parameters
    ----------
    claim : of the chunk
    crew : name of the crew
    tally : how the shots ended
    start_s : when the crew took it [s since 1970]
    problem : why shots were left to the sealing of the run; empty if none were
    """
    if not claim.is_held:
        return
    said = {
        "crew": crew,
        "n_shots": claim.chunk.n_shots,
        **asdict(tally),
        "start_s": start_s,
        "end_s": time.time(),
    }
    if problem:
        print(f"warning: chunk {claim.path.name}: {problem}", file=sys.stderr, flush=True)
        said["problem"] = problem
    write_text(claim.chunk.folder / "done.json", json.dumps(said) + "\n")
    claim.done()
