"""The proof of boot: what a machine's serial line, screen and services say about how far it came."""
