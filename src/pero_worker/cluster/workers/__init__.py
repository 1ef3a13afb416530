"""A cluster's workers on this machine: how one is put together, and what restarts it."""
