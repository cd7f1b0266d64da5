"""Callbacks: events on their way out, to the platform and to webhooks, at least once each."""
