"""Retention of what tests and jobs leave behind. Checkpoints have their own, with garbage collection."""
