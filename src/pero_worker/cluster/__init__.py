"""What people do with a cluster of workers: set it up, look at it, send pages in and take results out."""
