"""The HTTP gateway: the PERO API as old clients know it, and DocAPI's v1 with what we add, over one database."""
