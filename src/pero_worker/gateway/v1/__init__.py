"""Version 1: jobs, images, leases and keys as DocAPI has them, and what we add."""
