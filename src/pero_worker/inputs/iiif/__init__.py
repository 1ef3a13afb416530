"""IIIF: reading manifests (`presentation.py`), and how a picture is asked for (`image.py`). Nothing is fetched here."""
