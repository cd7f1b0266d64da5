"""From a replica to a running machine: what that takes, beside what a user would type instead."""
