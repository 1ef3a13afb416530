"""Payloads outside the broker: fetched when a page needs them, stored when it produces them, removed when it is
done."""
