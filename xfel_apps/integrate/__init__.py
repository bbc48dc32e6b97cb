"""From lattices and frames to integrated intensities."""
