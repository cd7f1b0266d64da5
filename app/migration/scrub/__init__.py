"""Reading the store's packs again, round by round, so that rot is found while the source can heal it."""
