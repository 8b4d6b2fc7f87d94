"""The command line: one command, one file. No logic of its own."""
