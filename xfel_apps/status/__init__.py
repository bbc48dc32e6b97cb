"""status: what is done, what is running and what failed, read while the apps write."""
