"""Sets of intensities: unique reflections, their table, agreement, statistics and files."""
