"""The public contract, shared by the REST API and its clients: resources, states and reasons."""
