"""The last way of a server: cutover, the way back, and the end of its replication."""
