"""What git is asked: repositories, refs, remotes and configuration, by git itself."""
