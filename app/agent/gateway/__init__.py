"""The in-cluster half of the agent tier: it speaks the wire with agents, and they with nothing else."""
