"""Making a replicated Linux boot on other hardware: overlays are edited, nothing of the guest is run.

`inspecting` reads the disks in libguestfs' appliance, `planning` decides what to change and touches nothing,
`applying` does it. The node's kernel never sees a filesystem of a guest.
"""
