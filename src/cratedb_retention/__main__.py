"""``python -m cratedb_retention`` is the command."""

from cratedb_retention.cli.main import main

if __name__ == "__main__":
    main()
