"""Models behind servers: the client, the endpoint, what its replies say, what it serves."""
