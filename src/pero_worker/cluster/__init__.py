"""What people do with a cluster of workers: set it up, monitor it, send pages in and fetch results."""
