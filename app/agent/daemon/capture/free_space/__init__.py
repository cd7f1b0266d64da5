"""What filesystems report explicitly free: one reader a format, and the rules of when to trust it."""
