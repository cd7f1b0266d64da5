"""Proofs of what is stored: scrubs of the packs, and comparisons of whole disks with their replicas."""
