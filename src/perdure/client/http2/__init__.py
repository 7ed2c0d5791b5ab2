"""HTTP/2 for a client that sends and receives in bulk: as much of RFC 9113 as a client without pushes needs."""
