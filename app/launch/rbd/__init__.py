"""The target `rbd`: images in a Ceph pool, kept up to date with a snapshot for each checkpoint, or published."""
