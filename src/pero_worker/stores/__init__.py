"""Files by URL, for model archives: where a store is, how it is reached, and what it may answer."""
