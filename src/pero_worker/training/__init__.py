"""Trains recognisers: what `pero-worker train` and the project's own training have in common."""
