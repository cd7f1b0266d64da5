"""Targets: drivers with their settings, by project."""
