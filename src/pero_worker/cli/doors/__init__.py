"""Upstream's command lines, flag by flag, as doors to what `pero-worker` does (contract, section d)."""
