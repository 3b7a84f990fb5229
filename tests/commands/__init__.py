"""What people type, run as they do."""
