"""How a disk is read: capture methods behind one interface, and what of the disk is free."""
