"""Reports: what other features know of a server, put together, signed and drawn as a page. It only reads."""
