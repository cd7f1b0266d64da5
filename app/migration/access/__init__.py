"""Who may do what: users, sessions, API tokens, install tokens, agent credentials and the audit trail."""
