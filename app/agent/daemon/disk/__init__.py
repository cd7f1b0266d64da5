"""Source disks: which there are, how they are read, and what stands on them."""
