"""A store on a disk of this machine: its layout, and all that reads, writes and checks it."""
