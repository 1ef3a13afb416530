"""Workers of a cluster on this machine: what one is put together from, and what restarts it."""
