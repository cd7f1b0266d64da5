"""What a replication of this host will meet: one check a file, all of them listed in `registry`."""
