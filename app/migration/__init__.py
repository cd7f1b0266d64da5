"""The domain, one package a feature: what servers and replication are and what may happen to them."""
