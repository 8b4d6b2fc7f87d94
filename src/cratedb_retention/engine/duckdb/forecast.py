"""How much space tables take in a DuckDB file, and its disk, for forecasts."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.forecast import Disks, Storage

# Tables share blocks, so that the number of blocks of a smaller table says little.
_LEAST_BLOCKS = 8


def read_storage(database: Database, tables: Collection[TableName]) -> Mapping[TableName, Storage]:
    """The bytes of the blocks of tables. Rows that are only in the write-ahead log take as much as the others."""
    ((block_size,),) = database.rows(_table_function("pragma_database_size", "block_size"))
    found = {}
    for table in tables:
        name = ".".join('"{}"'.format(part.replace('"', '""')) for part in table)
        about = sa.func.pragma_storage_info(sa.literal(name, literal_execute=True))
        info = about.table_valued("block_id", "persistent", "count").c
        stored = sa.func.sum(sa.case((info.persistent, info["count"]), else_=0))
        blocks = sa.func.count(sa.distinct(sa.case((info.persistent, info.block_id))))
        ((count, of_stored, of_all),) = database.rows(sa.select(blocks, stored, sa.func.sum(info["count"])))
        if count >= _LEAST_BLOCKS and of_stored:
            found[table] = Storage(size=round(count * block_size * int(of_all) / int(of_stored)))
    return found


def _table_function(function: str, column: str) -> sa.Select[tuple[int]]:
    return sa.select(getattr(sa.func, function)().table_valued(column).c[column])


def read_disks(path: Path) -> Disks | None:
    """What the file can grow to."""
    try:
        size, free = path.stat().st_size, shutil.disk_usage(path.absolute().parent).free
    except OSError:
        return None
    return Disks(total=size + free, used=size)
