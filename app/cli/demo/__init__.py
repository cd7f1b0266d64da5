"""The main job, end to end, on this machine: a real disk image, a real service, a real agent, a proof."""
