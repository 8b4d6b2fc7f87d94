"""
The draft of a policy: what a form says, and what it began with. All of it is in the form, so that the process remembers
nothing, and any service on the database can go on with it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property

from starlette.datastructures import FormData

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.policies.attributes import Form
from cratedb_retention.model.policies.command import write_create, write_edit
from cratedb_retention.model.policies.file import dump_policies, parse_policies, write_yaml
from cratedb_retention.model.policies.form import FIELDS, Values, find_mistakes_in, is_shown, to_attributes, to_values
from cratedb_retention.model.policies.policy import Policy, changes_of, make_policy, read_policy

VIEWS = {"form": "Form", "yaml": "YAML", "command": "Command"}
FORM, YAML = "form", "yaml"
# The field for schema and name of the table; and what is written in rows of two fields, with what separates them.
TABLE = "table"
ROWS = {"levels": ":", **{name: "=" for name, field in FIELDS.items() if field.form is Form.PAIRS}}
_THING = "the YAML"
Row = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """
    A draft.

    :param initial: The fields as they were at first; ``base``: the policy that they were filled with, if any.
    :param identifier: That of the stored policy, and ``version`` the one that it had; empty: it is a new policy.
    :param view: How it is shown; ``text``: YAML as it was written that is no policy, ``error``: why it is none.
    """

    values: Values
    initial: Values
    base: Policy | None = None
    identifier: str = ""
    version: int = 0
    view: str = FORM
    text: str = ""
    error: RetentionError | None = None

    @cached_property
    def mistakes(self) -> dict[str, str]:
        """By field, see :func:`find_mistakes_in`."""
        found = find_mistakes_in(self.values, self.base)
        changed = self.values["where"] != self.initial["where"]
        if changed and "where" not in found and is_shown(FIELDS["where"], self.values):
            empty = [column for column, value in self.rows("where") if not value]
            found |= {"where": f"{', '.join(empty)} has no value; NULL means SQL's NULL"} if empty else {}
        return found

    @property
    def policy(self) -> Policy:
        """The policy that it says; raises InvalidInput if it is none."""
        if self.error is not None:
            raise self.error
        for name, mistake in self.mistakes.items():
            raise InvalidInput(FIELDS[name].called if name in FIELDS else "policy", mistake)
        return make_policy(**to_attributes(self.values, self.base))

    @property
    def dirty(self) -> bool:
        """Whether leaving it would lose something."""
        return bool(self.text) or self.values != self.initial

    @property
    def table(self) -> str:
        """Schema and name of the table, as they are written in one field."""
        return _show_table(self.values)

    def rows(self, name: str) -> list[Row]:
        """What a field with rows says."""
        return _rows(name, str(self.values[name]))

    @cached_property
    def yaml(self) -> str:
        """The policy as a file, or as much of it as is written; empty if that is not possible."""
        if self.text:
            return self.text
        try:
            return dump_policies([self.policy])
        except InvalidInput:
            pass
        try:
            plain = to_attributes(to_values(None))
            given = to_attributes(self.values, self.base).items()
        except InvalidInput:
            return ""
        return write_yaml({"policies": [{k: v for k, v in given if k == "strategy" or plain.get(k) != v}]})

    @property
    def command(self) -> str:
        """The command that does the same as saving; empty if there is nothing to do. Raises InvalidInput as policy."""
        if not self.identifier:
            return write_create(self.policy)
        return write_edit(self.identifier, changes_of(self.base or self.policy, self.policy), self.version)


def begin(base: Policy | None, table: str = "", period: str = "", version: int = 0) -> Draft:
    """
    A draft as a page shows it at first.

    :param base: A stored policy with its version, or one to copy, without its identifier; None: an empty form.
    :param table: Which table a new policy is for; ``period``: its retention period at first.
    """
    values = _initial(base, table, period)
    return Draft(values=values, initial=values, base=base, identifier=(base and base.id) or "", version=version)


def _initial(base: Policy | None, table: str, period: str) -> Values:
    values = to_values(base)
    if base is None:
        values |= _read_table(table, values) if table else {}
        values |= {"retention_period": period} if period else {}
    return values


def read_draft(form: FormData, identifier: str = "", table: str = "", period: str = "", names: bool = False) -> Draft:
    """
    The draft in a form that was sent.

    :param identifier: That of the stored policy; empty: it is a new one.
    :param table: As in :func:`begin`, likewise ``period``; ``names``: whether a new policy may get an identifier.
    :raises InvalidInput: if the form is not one of these pages.
    """
    left, version = _text(form, "left"), _text(form, "version")
    if left not in VIEWS:
        raise _foreign()
    base = _read_base(_text(form, "base"))
    initial = _initial(base, table, period)
    values = {**_read_fields(form, to_values(base)), "id": identifier or (_text(form, "id") if names else "")}
    found = Draft(
        values=values,
        initial=initial,
        base=base,
        identifier=identifier,
        version=int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0,
        view=view if (view := _text(form, "view")) in VIEWS else left,
    )
    text = _text(form, "yaml").replace("\r\n", "\n")
    if left != YAML or text == found.yaml:
        return found
    try:
        values = to_values(_read_yaml(text, identifier, names))
    except InvalidInput as error:
        return replace(found, view=YAML, text=text, error=error)
    return replace(found, values={**values, "id": identifier or values["id"]})


def _read_fields(form: FormData, before: Values) -> Values:
    values: Values = {}
    for name, field in FIELDS.items():
        if field.form is Form.FLAG:
            values[name] = name in form
        elif name in ROWS:
            values[name] = _read_rows(form, name, str(before[name]))
        else:
            text, several = _text(form, name).replace("\r\n", "\n"), name == "description"
            values[name] = text if several else _kept(text, str(before[name]))
    values |= _read_table(_text(form, TABLE), before)
    for name, _, value in (str(each).partition("=") for each in form.getlist("put")):
        values |= {name: value} if isinstance(values.get(name), str) else {}
    return values


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _kept(text: str, before: str) -> str:
    """A text as it was before, if it only lost its line ends, as in a field of one line."""
    return before if text == re.sub(r"[\r\n]", "", before) else text


def _read_table(text: str, before: Values) -> Values:
    """Schema and name; the first dot ends the schema, unless a name with dots was there already."""
    known = _show_table(before)
    if _kept(text, known) == known:
        return {name: before[name] for name in ("table_schema", "table_name")}
    first, dot, rest = text.strip().partition(".")
    return {"table_schema": first if dot else "", "table_name": rest if dot else first}


def _show_table(values: Values) -> str:
    schema, name = str(values["table_schema"]), str(values["table_name"])
    return f"{schema}.{name}" if schema else name


def _rows(name: str, text: str) -> list[Row]:
    parts = text.split(",") if name == "levels" else text.splitlines()
    split = (part.strip().partition(ROWS[name]) if name == "levels" else part.partition(ROWS[name]) for part in parts)
    return [(first, second) for first, _, second in split if first.strip() or second.strip()]


def _read_rows(form: FormData, name: str, before: str) -> str:
    keys, values = ([str(each) for each in form.getlist(f"{name}:{end}")] for end in ("key", "value"))
    rows = [row for row in zip(keys, values, strict=False) if any(part.strip() for part in row)]
    if rows == _rows(name, before):
        return before
    return ("," if name == "levels" else "\n").join(ROWS[name].join(row) for row in rows)


def _read_base(text: str) -> Policy | None:
    if not text:
        return None
    try:
        attributes = json.loads(text)
        return read_policy(attributes, stored=attributes.keys())
    except (ValueError, AttributeError, RecursionError):
        raise _foreign() from None


def _foreign() -> InvalidInput:
    return InvalidInput("form", "is not one of this page", "load the page again")


def write_base(base: Policy | None) -> str:
    """The policy that a form was filled with, for the form."""
    return json.dumps(base.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False) if base else ""


def _read_yaml(text: str, identifier: str, names: bool) -> Policy:
    found = parse_policies(text, _THING)
    if len(found) != 1:
        raise InvalidInput(_THING, f"has {len(found)} policies", "write one; the list of policies imports several")
    if found[0].id and found[0].id != identifier and (identifier or not names):
        raise InvalidInput(f"{_THING}, attribute id", "the identifier cannot be changed", "remove it")
    return found[0]
