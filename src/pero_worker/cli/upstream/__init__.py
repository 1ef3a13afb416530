"""The command lines of DCGM/pero-worker, flag by flag, on top of the functions of `pero-worker`."""
