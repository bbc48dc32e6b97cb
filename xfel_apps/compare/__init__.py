"""Compare what was found with what is known: orientations, cells, merged intensities."""
