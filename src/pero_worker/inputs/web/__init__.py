"""Asking servers of libraries: at their pace, within bounds, nothing twice, and only where it may."""
