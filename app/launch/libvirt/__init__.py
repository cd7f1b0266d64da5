"""The target `libvirt`: machines as domains of the libvirt on this node, by its program `virsh`."""
