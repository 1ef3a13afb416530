"""`ocrd-pero-worker`, a processor for OCR-D. Only `processor.py` imports ocrd (`pero-worker[ocrd]`)."""
