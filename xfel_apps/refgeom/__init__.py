"""refgeom: the detector's geometry from the indexed spots of a dataset."""
