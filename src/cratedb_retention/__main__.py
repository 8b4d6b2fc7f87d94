"""Runs the command as ``python -m cratedb_retention``."""

from cratedb_retention.cli.main import main

if __name__ == "__main__":
    main()
