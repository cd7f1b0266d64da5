"""The target `qemu`: a machine on this node, isolated, on copy-on-write overlays of its volumes.

The machine belongs to its run folder and not to the process that launched it: it goes on when that process
ends, and any later process finds, checks and terminates it there.
"""
