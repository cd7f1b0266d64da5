"""One module a version of the schema, each with its way up and its way down."""
