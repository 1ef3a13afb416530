"""`ocrd-pero-worker`: a processor of OCR-D. Only `processor.py` imports ocrd (`pero-worker[ocrd]`)."""
