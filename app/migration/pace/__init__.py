"""Pace: what each agent may send now, from the limits of its server, its project and the fleet."""
