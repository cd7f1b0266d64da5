"""Filesystems held still for the moment of a cut, by a process that outlives whoever asked for it."""
