"""Training of the bundled models from Debian and npm packages alone; not installed with the program."""
