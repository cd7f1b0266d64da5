"""Waves and applications: servers that are tested and cut over together, in order, so many at once."""
