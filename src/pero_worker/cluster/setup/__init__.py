"""A new cluster on several machines: certificates, passwords, configuration files."""
