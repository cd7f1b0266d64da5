"""The reading side: servers, disks and checkpoints as the contract shows them."""
