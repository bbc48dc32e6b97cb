"""figures: every plot as a file, from the containers alone; no database, no server."""
