"""Work in parts that one step can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[tuple[T, int]], most: int, most_rows: int) -> Iterator[tuple[list[T], int]]:
    """
    Put items together, in their order; one that has too many rows is alone.

    :param items: Each with its rows.
    :param most: How many of them at once.
    :param most_rows: How many rows at once.
    :return: The items of each batch, and their rows.
    """
    batch: list[T] = []
    total = 0
    for item, rows in items:
        if batch and (len(batch) == most or total + rows > most_rows):
            yield batch, total
            batch, total = [], 0
        batch.append(item)
        total += rows
    if batch:
        yield batch, total
