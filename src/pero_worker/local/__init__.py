"""One machine, no servers: the worker of the cluster on a broker and a coordinator in memory."""
