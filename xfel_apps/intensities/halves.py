"""The halves of the data, for CC1/2."""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def half_of(shot_id: "pd.Series[str]", lattice: "pd.Series[int]") -> NDArray[np.int8]:
    """Return 0 or 1 for each crystal: the half of the data it belongs to.

    A bit of a hash of the shot's identity and the lattice's number, so that it never depends on
    the order of processing or on what else is merged.
    """
    return np.array(
        [
            hashlib.blake2b(f"{shot}#{number}".encode(), digest_size=1).digest()[0] & 1
            for shot, number in zip(shot_id, lattice, strict=True)
        ],
        dtype=np.int8,
    )
