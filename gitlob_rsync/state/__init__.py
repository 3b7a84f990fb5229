"""What a clone remembers between runs: small files in .git/git-lob/state, each of which may be deleted."""
