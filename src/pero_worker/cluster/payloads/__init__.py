"""Payloads beside the broker: brought when a page needs them, put when it has made them, removed when it is done."""
