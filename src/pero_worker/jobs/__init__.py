"""A run over documents: which pages, who does them, what is written; the same on one machine and in a cluster."""
