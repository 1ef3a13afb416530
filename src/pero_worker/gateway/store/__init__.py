"""What the database holds and how it changes: one module per noun, made of functions that take an open transaction."""
