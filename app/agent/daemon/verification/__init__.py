"""Online verification: re-read the disks in the background and compare them with the head."""
