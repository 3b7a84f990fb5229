"""rsync as a transport: what is asked of it, and what its words mean."""
