"""The work of the commands, without option parsing, printing and exiting."""
