"""What carries the client's requests."""
