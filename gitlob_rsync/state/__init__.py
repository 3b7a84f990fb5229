"""What a clone remembers between two runs: small files in .git/git-lob/state, each of which may vanish."""
