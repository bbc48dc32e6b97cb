"""From merged intensities and pixels to the lattices that explain every pixel."""
