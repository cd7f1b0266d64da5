"""The program on the source host: it reads disks, speaks the wire, and knows nothing else of ours."""
