"""merge: scale the crystals of a dataset and average what they measured of each reflection."""
