"""dashboard: the control room's web page, for all who steer an experiment."""
