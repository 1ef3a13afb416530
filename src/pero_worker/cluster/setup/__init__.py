"""A new cluster of machines: certificates, passwords, configuration files."""
