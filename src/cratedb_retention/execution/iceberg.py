"""
Keeps archived tables in an Iceberg catalog up to date: a table there has the rows that `query` reads from archives.

The toolkit's own tables and the archives are the truth, and the catalog follows them. What a table should have is read
after the table itself, and the commit fails if another process changed the table in between, so an old view never wins.
What an update does not do, since it fails or is killed, the next one does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.iceberg import IcebergCatalog, Overtaken
from cratedb_retention.errors import Conflict, DatabaseError, NoAnswer, RetentionError, Unsupported
from cratedb_retention.execution.query import choose_archives
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.reasons import failure
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.words import plural
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.store import Store

logger = logging.getLogger(__name__)
_ATTEMPTS = 5
_NAMED = 3  # Reasons that a result names.
Keys = Collection[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """The result of an update for one table, or for all of them if the catalog cannot be used."""

    table: TableName | None
    added: int = 0  # Archives.
    removed: int = 0
    refused: tuple[str, ...] = ()  # Why archives cannot be in the catalog; the others are.
    error: RetentionError | None = None  # Why the table is not up to date.
    policies: tuple[str, ...] = ()  # Of a run: those that archive the table.

    @property
    def changes(self) -> str:
        return f"{plural(self.added, 'archive')} added, {self.removed:,} removed"

    @property
    def is_worth_telling(self) -> bool:
        return bool(self.added or self.removed or self.refused or self.error)

    @property
    def entry(self) -> Entry:
        """How the audit log records it."""
        left = Unsupported("Iceberg catalog", "; ".join(self.refused)) if self.refused else None
        cause, (schema, name) = self.error or left, self.table or (None, None)
        return Entry(
            event=Event.CATALOG_UPDATED,
            outcome=Outcome.FAILED if self.error else Outcome.BLOCKED if left else Outcome.DONE,
            table_schema=schema,
            table_name=name,
            message=self.changes,
            why=failure(cause) if cause else None,
            partitions=self.added + self.removed,
        )


class Mirror:
    """
    Archived tables in a catalog.

    :param name: The catalog's name in the configuration of pyiceberg.
    """

    def __init__(self, engine: Engine, store: Store, name: str) -> None:
        self._engine, self._store, self._name = engine, store, name

    def update(self, tables: Iterable[TableName], without: Keys = ()) -> Iterator[Mirrored]:
        """
        Bring tables up to date. If the catalog cannot be used, the last result is about all tables.

        :param without: Archives that are about to be deleted, by repository and name.
        """
        return self._each(lambda catalog: tables, without)

    def update_all(self, fits: Callable[[TableName], bool], dry_run: bool = False) -> Iterator[Mirrored]:
        """
        Bring all archived tables that fit up to date, also those in the catalog that have no archives any more.

        :param dry_run: Only count what would change.
        """

        def find(catalog: IcebergCatalog) -> set[TableName]:
            archived = self._store.snapshots.tables()
            own, policies = self._engine.capabilities.default_schema, self._store.policies.all()[0]
            schemas = {each.policy.table_schema or own for each in policies if each.policy.strategy.traits.archives}
            schemas = {each for each in schemas if not is_pattern(each)} | {table.schema for table in archived}
            known = {table for schema in sorted(schemas) for table in catalog.tables(schema)}
            return {table for table in archived | known if fits(table)}

        return self._each(find, (), dry_run)

    def _each(
        self, find: Callable[[IcebergCatalog], Iterable[TableName]], without: Keys, dry_run: bool = False
    ) -> Iterator[Mirrored]:
        try:
            with IcebergCatalog(self._name) as catalog:
                for table in sorted(set(find(catalog))):
                    try:
                        yield self._update(catalog, table, without, dry_run)
                    except NoAnswer:  # The next table would have to wait as long.
                        raise
                    except Unsupported as error:
                        yield Mirrored(table=table, refused=(str(error),))
                    except RetentionError as error:
                        yield Mirrored(table=table, error=error)
        except RetentionError as error:
            yield Mirrored(table=None, error=error)

    def _update(self, catalog: IcebergCatalog, table: TableName, without: Keys, dry_run: bool) -> Mirrored:
        for _ in range(_ATTEMPTS):
            there = catalog.read(table)
            found = choose_archives(self._engine, self._store, table)
            staying = [each for each in found.archived if (each.repository, each.name) not in without]
            files = self._engine.archive.locate(staying)
            gone = there.files.keys() - files.keys()
            missing = [each for location, each in files.items() if location not in there.files]
            foreign = [error for _, error in found.unread]
            if others := len(staying) - len(files):
                reason = f"{plural(others, 'archive')} in repositories of CrateDB, which only CrateDB can read"
                foreign.append(Unsupported(f"table {table}", reason, "name an address as target_repository_name"))
            if dry_run or not (gone or missing):
                return _result(table, len(missing), len(gone), foreign)
            plain, unread = self._engine.archive.open_plain(missing)
            try:
                refused = there.update(plain, gone)
            except Overtaken:
                continue
            errors = [*foreign, *(error for _, error in [*unread, *refused])]
            return _result(table, len(plain) - len(refused), len(gone), errors)
        raise Conflict(
            f"table {table}", "is changed in the Iceberg catalog all the time", "let nothing else write to it"
        )


def _result(table: TableName, added: int, removed: int, errors: Iterable[RetentionError]) -> Mirrored:
    """A result with what stands in the way of archives, each reason once."""
    refused, failed = list[str](), list[str]()
    for each in errors:
        (refused if isinstance(each, Unsupported | Conflict) else failed).append(str(each))
    left = (
        f"{plural(len(failed), 'archive')} cannot be added to the Iceberg catalog; the first: {failed[0]}"
        if failed
        else ""
    )
    error = DatabaseError(f"table {table}", left) if left else None
    reasons = tuple(dict.fromkeys(refused))
    if len(reasons) > _NAMED:
        reasons = (*reasons[:_NAMED], f"and {plural(len(reasons) - _NAMED, 'more reason')}")
    return Mirrored(table=table, added=added, removed=removed, refused=reasons, error=error)


def follow(mirror: Mirror, store: Store, tables: Iterable[TableName], without: Keys = ()) -> None:
    """Bring tables up to date after, or right before, a change of archives, which does not fail because of that."""
    for found in mirror.update(tables, without):
        if found.error or found.refused:
            logger.warning("%s", found.error or "; ".join(found.refused))
        if found.is_worth_telling:
            try:
                store.journal.write(found.entry)
            except RetentionError as error:
                logger.warning("the audit log was not written: %s", error)
