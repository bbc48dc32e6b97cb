"""ingest: the index of a run's shots, without reading pixels."""
