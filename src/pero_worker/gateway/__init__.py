"""The HTTP gateway: the PERO API as old clients know it, and DocAPI's v1 with our additions, on one database."""
