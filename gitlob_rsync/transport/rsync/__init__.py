"""The system's rsync: the only folder that knows its flags and exit codes, and the only user of `sh`.

The choice of flags (flags.py) rests on experiments with versions 3.1.3 to 3.5.0:
- names are passed as a NUL-separated list on standard input, from a real file: no thread feeds it, so nothing can deadlock;
- --trust-sender, because newer clients check each incoming name against the whole list, which is quadratic; received files
  go into a staging folder, without links or devices, and are trusted only once they are hashed;
- --partial-dir keeps an interrupted chunk for the next run, where --partial or --inplace would leave it under its final
  name; it is relative, since a receiver with the fix for CVE-2024-12086 resumes from no other; and --no-whole-file, without
  which rsync does not resume between two folders of one machine;
- --size-only replaces a file of a wrong size and leaves one of the right size alone (sizes are checked by our code);
- --no-perms --chmod=ugo=rwX leaves permissions to the receiving side's umask; with --fsync, what a push reports survives a
  crash.
"""
