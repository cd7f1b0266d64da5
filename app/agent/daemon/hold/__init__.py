"""The hold: during a cutover the host's services are stopped, kept stopped, and given back."""
