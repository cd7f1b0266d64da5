"""Measurements of a source host and of the way to it, and the verdict whether it can be migrated."""
