"""HTTP/1.1 for where HTTP/2 does not get through: a connection on asyncio over the `h11` library."""
