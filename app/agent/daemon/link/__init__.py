"""The connection to the service: where it is, how it is trusted, requests and their repetition."""
