"""The target `rbd`: images in a Ceph pool, a snapshot for each checkpoint, or published."""
