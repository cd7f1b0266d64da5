"""The schema of the database and its versions ("migration" in this project always means moving a server)."""
