"""How a disk is read: ways of reading behind one interface, and what of the disk is free."""
