"""The commands that people type: one module each, with its options and what it prints."""
