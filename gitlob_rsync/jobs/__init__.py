"""The work of the commands, without options, printing, and exit codes."""
