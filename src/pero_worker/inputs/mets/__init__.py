"""METS of six traditions: reading (`read.py`), and which picture is a page's (`pages.py`)."""
