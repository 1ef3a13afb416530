"""One machine without servers: the cluster's worker on a broker and a coordinator in memory."""
