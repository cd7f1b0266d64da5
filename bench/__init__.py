"""The bench: go2cloud against what a user would type instead, on the same disks, in one run."""
