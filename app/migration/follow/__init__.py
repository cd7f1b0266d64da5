"""Targets that follow servers: volumes that are brought to each new checkpoint."""
