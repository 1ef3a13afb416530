"""pero-worker: scans into text with PERO OCR, on one machine or on many."""

__version__ = "0.1.0"
