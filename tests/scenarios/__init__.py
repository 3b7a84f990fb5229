"""What crosses rooms: a team, a machine, and git at work."""
