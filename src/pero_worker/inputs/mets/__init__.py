"""METS of six traditions: how it is read (`read.py`), and which picture belongs to a page (`pages.py`)."""
