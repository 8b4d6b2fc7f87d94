"""The views of the page of a table, one of which it shows: data, policies, runs, archive, holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.overview import Cutoff
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.words import capitalized, write_pairs
from cratedb_retention.store.audit import place_after
from cratedb_retention.ui import audit, holds, links
from cratedb_retention.ui.archive.columns import COLUMNS
from cratedb_retention.ui.archive.operations import recent_operations
from cratedb_retention.ui.columns import Bit, Cell, Column, state
from cratedb_retention.ui.links import Query, address, tag_bit
from cratedb_retention.ui.overview.forms import offer_accepting, place_form, restore_form
from cratedb_retention.ui.overview.spans import LIFECYCLES, MEANINGS, SPANS, expires, next_words, unplaced
from cratedb_retention.ui.overview.visit import Visit
from cratedb_retention.ui.plan import Lists, blocked_columns, task_columns
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Child, el


def _data(visit: Visit) -> Iterator[Child]:
    """What the next run does, what is blocked, and what is where."""
    found, lists = visit.timeline, Lists(links.table(visit.name), visit.query)
    of_others = any(change.first.table != visit.name for change in found.changes)
    policies = _policies_by_id(visit)
    columns = [each for each in task_columns(policies) if each.label != "Table" or of_others]
    none = parts.note("Nothing: nothing of this table is due, or what is due is blocked.")
    changes, ways = lists.part("changes", found.changes)
    yield parts.section("Next run", parts.table(columns, changes, "Next run") if changes else none, ways)
    if found.blocked:
        blocked, ways = lists.part("blocked", found.blocked)
        caption = "Blocked: due, but must not happen now"
        yield parts.section("Blocked", parts.table(blocked_columns(policies), blocked, caption), ways)
    lane, wanted = visit.get("lane"), visit.get("state")
    every = [(each, span) for each in found.lanes for span in each.stretches]
    matching = [
        (each, span)
        for each, span in every
        if lane in ("", each.title)
        and wanted in ("", str(span.state))
        and (visit.chosen is None or span.time.overlaps(visit.chosen))
    ]
    places = {"": "everywhere", **{each.title: each.title for each in found.lanes}}
    states = {"": "any", **{str(span.state): span.state.words for _, span in every}}
    form = visit.filters(
        "data", parts.select("lane", "Where", places, lane), parts.select("state", "State", states, wanted)
    )
    shown, pager = visit.part(matching)
    rows = parts.table(SPANS, shown, "Data by time") if shown else parts.note("No data matches.")
    said = [parts.note(f"{each.title}: {unplaced(each.unplaced)}") for each in found.lanes if each.unplaced]
    yield parts.section("Data by time", form if every else None, rows if every else None, pager, said)
    yield from offer_accepting(visit)


def _policies_by_id(visit: Visit) -> Mapping[str, Policy]:
    wanted = Selection(policy_ids=frozenset(each.policy_id for each in visit.timeline.cutoffs))
    return {item.id: item.policy for item in visit.scoped.policies(wanted)[0]}


def _policies(visit: Visit) -> Iterator[Child]:
    """The policies on the table, and on the levels of its cascade."""
    policies = _policies_by_id(visit)
    listing = visit.scoped.listing(Selection(policy_ids=frozenset(policies)))
    states = {line.policy.id: line.state for line in (visit.line.lines if visit.line else ())}
    run = "Run now …" if visit.may(Role.OPERATOR) else "Preview"
    versions = {item.id: item.version for item in listing.policies} if visit.may(Role.EDITOR) else {}

    def of_policy(show: Callable[[Policy], Cell]) -> Callable[[Cutoff], Cell]:
        return lambda cutoff: show(policies[cutoff.policy_id]) if cutoff.policy_id in policies else ""

    def shown_state(cutoff: Cutoff) -> Cell:
        known = states.get(cutoff.policy_id, "") if cutoff.enabled else "disabled"
        return state(known, MEANINGS[known]) if known else ""

    def next_run(policy: Policy) -> Cell:
        time = listing.times.get(policy.id or "")
        return Bit(text=next_words(time, listing.now), hint=f"{words.exact(time)} UTC") if time else ""

    def schedule(policy: Policy) -> Cell:
        return Bit(text=policy.schedule, tone="mono") if policy.schedule else Bit(text="by hand", tone="muted")

    def name(cutoff: Cutoff) -> Cell:
        policy, words_of_it = policies.get(cutoff.policy_id), capitalized(cutoff.words)
        named = policy.name if policy and policy.name else ""
        hint = "\n".join(filter(None, (words_of_it if named else "", f"Policy {cutoff.policy_id}")))
        return Bit(text=named or words_of_it, href=links.policy(cutoff.policy_id), hint=hint)

    # Levels of a cascade have rows of their own.
    first = {each.policy_id: each for each in reversed(visit.timeline.cutoffs)}

    def actions(cutoff: Cutoff) -> Child:
        identifier = cutoff.policy_id
        if first[identifier] is not cutoff:
            return None
        if not cutoff.enabled:  # What the next run would do is shown there.
            return el("a", "Enable …", href=links.policy(identifier)) if identifier in versions else None
        version = versions.get(identifier)
        given = {"do": "disable", "policy": identifier, "version": str(version)}
        button = el("form", parts.hidden(given), el("button", "Disable", type="submit", class_="link"), method="post")
        return el("a", run, href=address("/plan", {"policy": identifier})), button if version else None

    columns: Sequence[Column[Cutoff]] = (
        Column("State", shown_state),
        Column("Policy", name),
        Column("Only where", of_policy(lambda policy: Bit(text=write_pairs(policy.where, "\n"), tone="many"))),
        Column("Table", lambda cutoff: "" if cutoff.table == visit.name else cutoff.table.name),
        Column("Expired data (UTC)", expires),
        Column("Schedule", of_policy(schedule)),
        Column("Next run", of_policy(next_run)),
        Column("Tags", of_policy(lambda policy: [tag_bit(each) for each in policy.tags])),
        Column("Description", of_policy(lambda policy: policy.description or "")),
    )
    if visit.timeline.lifecycles:
        lives, ways = Lists(links.table(visit.name), visit.query).part("lives", visit.timeline.lifecycles)
        yield parts.section("As data ages", parts.table(LIFECYCLES, lives, "As data ages"), ways)
    shown, pager = visit.part(visit.timeline.cutoffs)
    none = parts.note("No policy applies to this table.")
    new = parts.action("New policy", links.new_policy(table=visit.name)) if visit.may(Role.EDITOR) else None
    yield parts.section(
        "Policies", parts.table(columns, shown, "Policies on this table", actions) if shown else none, pager, new
    )


_ENTRIES = [column for column in audit.ENTRIES if column.label != "Table"]


def _runs(visit: Visit) -> Iterator[Child]:
    """What runs and users did with the table, by the audit log."""
    outcomes = {"": "any", **{str(each): str(each) for each in Outcome}}
    form = visit.filters(
        "runs",
        parts.select("outcome", "Outcome", outcomes, visit.get("outcome")),
        parts.field("since", "Since (UTC)", visit.get("since"), "-7d"),
        parts.field("before", "Before (UTC)", visit.get("before"), "2024-07-02"),
    )
    # What the audit log calls the choices of this view; from and until are about the time of the data.
    asked = {"outcome": "outcome", "since": "since", "until": "before", "after": "after"}
    given = {
        "table": str(visit.name),
        "limit": str(parts.ROWS),
        **{name: visit.get(own) for name, own in asked.items()},
    }
    try:
        wanted = audit.read_query(Query({name: value for name, value in given.items() if value}), visit.now)
    except InvalidInput as error:
        yield parts.section("Runs", form, parts.problem(error))
        return
    rows = visit.scoped.journal(wanted)
    newest, older = visit.again(after="") if wanted.after else "", ""
    if len(rows) == wanted.limit:
        older = visit.again(after=audit.write_place(place_after(rows, wanted.after)))
    caption, none = "Runs and changes of this table, newest first", parts.note("No matching entries in the audit log.")
    pager = parts.pager((("Newest", newest), ("Older", older)))
    yield parts.section(
        "Runs", form, parts.table(_ENTRIES, rows, caption, below=audit.details) if rows else none, pager
    )


def _archive(visit: Visit) -> Iterator[Child]:
    """The snapshots of the table, in the time range; and what restoring them would do."""
    found = visit.scoped.snapshots(visit.of_archive, parts.ROWS + 1, visit.first)
    shown = [line for line in found[: parts.ROWS] if line.record.archived.table == visit.name]
    if not shown:
        yield parts.section("Archive", parts.note("No snapshots match." if visit.chosen else "No snapshots."))
        return
    operator = visit.may(Role.OPERATOR)
    there = address("/archive", {"table": str(visit.name), **visit.ends("to")})
    what = "Restore this time range …" if visit.chosen else "Restore all …"
    actions = (
        parts.action(what, visit.to("archive", restore="preview")) if operator else None,
        parts.action("Verify or delete …" if operator else "Show in the archive", there),
    )
    columns = [column for column in COLUMNS if column.label != "Table"]
    rows = parts.table(columns, shown, "Snapshots of this table")
    pager = parts.pages(visit.first, len(shown), visit.at, more=len(found) > parts.ROWS)
    operations = recent_operations(visit.scoped.jobs(visit.guest.context.operations), operator)
    yield parts.section("Archive", el("div", actions, class_="actions"), rows, pager, operations)
    if operator and visit.get("restore"):
        yield restore_form(visit)


def _holds(visit: Visit) -> Iterator[Child]:
    """The holds on the table, and forms to place and release them."""
    operator = visit.may(Role.OPERATOR)

    def release(hold: LegalHold) -> Child:
        return el("a", "Release …", href=visit.to("holds", hold=hold.id))

    if operator and visit.get("done") == "released":
        yield holds.undo_form([visit.get("hold")])
    shown, pager = visit.part(visit.timeline.holds)
    rows = parts.table(holds.COLUMNS, shown, "Holds on this table", release if operator else None)
    yield parts.section("Holds", rows if shown else parts.note("No holds."), pager)
    asked = next((hold for hold in visit.timeline.holds if hold.id == visit.get("hold")), None)
    if operator and asked and not visit.get("done"):
        yield holds.release_form(visit.scoped, [asked], visit.to("holds"))
    if operator:
        yield place_form(visit)


VIEWS: Mapping[str, tuple[str, Callable[[Visit], Iterator[Child]]]] = {
    "data": ("Data", _data),
    "policies": ("Policies", _policies),
    "runs": ("Runs", _runs),
    "archive": ("Archive", _archive),
    "holds": ("Holds", _holds),
}
