"""The command lines of DCGM/pero-worker, flag by flag, on top of what `pero-worker` does."""
