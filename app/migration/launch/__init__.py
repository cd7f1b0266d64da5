"""Launching servers: their launch settings, test boots with the proof, and the way to ready for cutover."""
