"""REST resources as pydantic models, one module per noun; JSON is camelCase, times are UTC."""
