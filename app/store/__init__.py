"""The store: immutable, content-named objects, the ways to read, write, check and collect them."""
