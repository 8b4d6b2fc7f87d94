"""
Runs the SQL of a page's block on the database that ``CRATEDB_URI`` names: ``python -m support.run_sql < statements``.
Statements end with a semicolon at the end of a line.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

import sqlalchemy as sa


def statements(text: str) -> Iterator[str]:
    """Each statement, without its semicolon."""
    for part in re.split(r";\s*(?:--.*)?$", text, flags=re.MULTILINE):
        if part.strip():
            yield part.strip()


def main() -> None:
    """Run what comes by the standard input."""
    engine = sa.create_engine(os.environ["CRATEDB_URI"])
    with engine.begin() as connection:
        for statement in statements(sys.stdin.read()):
            connection.exec_driver_sql(statement)


if __name__ == "__main__":
    main()
