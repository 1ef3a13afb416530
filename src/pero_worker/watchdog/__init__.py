"""Decides which worker serves which stage."""
