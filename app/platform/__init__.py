"""The dashboard edge: session cookie, proxy to the API and the start page."""
