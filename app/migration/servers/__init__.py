"""Source servers and their disks: enrolment, identity, lease of the agent, lifecycle."""
