"""Following a host: what was written since its head, rounds until little of it is left, then the cut."""
