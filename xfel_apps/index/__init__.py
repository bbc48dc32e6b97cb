"""index: spots to lattices. Reads spots, writes crystals."""
