"""The replication protocol, both ends: messages, frames, chunks, codec, patches and the tree of hashes."""
