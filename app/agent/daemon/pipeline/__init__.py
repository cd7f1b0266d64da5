"""From disk to service: read, hash, compare, pack and send in bounded threads."""
