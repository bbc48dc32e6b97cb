"""Stage 2 of diffBragg: structure factors of a dataset from every pixel of all its shots."""
