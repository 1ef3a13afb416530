"""Model files: safe unpacking of archives, and pipelines made of them."""
