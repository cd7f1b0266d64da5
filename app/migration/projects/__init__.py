"""Projects: the boundary of tenancy that servers, tokens and quotas belong to."""
