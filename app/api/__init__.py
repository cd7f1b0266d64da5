"""The migration REST API: one module per noun under v1, authorisation and request conventions beside it."""
