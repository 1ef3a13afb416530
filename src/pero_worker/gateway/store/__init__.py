"""What the database holds and how it changes; one module a noun, functions over an open transaction."""
