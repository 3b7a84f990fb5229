"""The system's rsync: the only folder that knows one of its flags or exit codes, and the only user of `sh`.

What the flags (flags.py) are for was found out by experiment, with versions from 3.1.3 to 3.5.0:
- names go in as a NUL-separated list on standard input, a real file, so that no thread feeds it and nothing can deadlock;
- --trust-sender, because newer clients check each name that comes against the whole list, which is quadratic; what comes
  goes into a staging folder, without links or devices, and is believed only after it was hashed;
- --partial-dir keeps a chunk that was cut off for the next run, where --partial or --inplace would leave it under its
  final name; a relative one, since a receiver with the fix of CVE-2024-12086 resumes from no other; and
  --no-whole-file, without which rsync does not resume between two folders of one machine;
- --size-only mends a file of a wrong size and leaves one of the right size alone (sizes are checked here);
- --no-perms --chmod=ugo=rwX lets the umask of the receiving side rule; --fsync has what a push reports survive a crash.
"""
