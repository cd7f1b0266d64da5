"""What an agent is told in answer to its poll: the orders of all features, put together."""
