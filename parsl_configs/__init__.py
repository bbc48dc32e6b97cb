"""One module a site, each with a function that returns Parsl's configuration."""
