"""Fetches from libraries' servers: at their pace, within bounds, nothing twice, and only from allowed addresses."""
