"""Replication: sessions, possession, packs and leaves, commit as compare-and-set, checkpoints."""
