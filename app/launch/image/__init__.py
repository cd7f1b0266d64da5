"""The target `image`: files that other platforms import, in a folder, with checksums and a manifest."""
