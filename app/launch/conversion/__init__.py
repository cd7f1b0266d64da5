"""Making a replicated Linux boot on other hardware: files of overlays are edited, no line of the guest is run.

`inspecting` reads the disks in libguestfs' appliance, `planning` decides what to change and touches nothing,
`applying` does it. The node's kernel never sees a filesystem of a guest.
"""
