"""The target `device`: block devices and files that are written in place and kept up to date."""
