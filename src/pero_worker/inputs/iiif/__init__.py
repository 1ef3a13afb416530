"""IIIF: how manifests are read (`presentation.py`) and pictures requested (`image.py`). Nothing is fetched here."""
