"""What the source host is: one collector a file, all of them listed in `registry`."""
