"""Which blocks of a disk were written since when: dirty sets, fed by the kernel's own block events."""
