"""
What faults may break: the ten laws of docs/explanation/guarantees.md, the guards of a run, the rules of access. Each
has at least three faults, see `tests/test_mutants.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

LAWS: Mapping[str, str] = {
    "law 1": "Only expired data is removed.",
    "law 2": "Archived before dropped.",
    "law 3": "Rolled up before dropped.",
    "law 4": "Sealed windows are final.",
    "law 5": "Rows are conserved.",
    "law 6": "Unhealthy tables are not touched.",
    "law 7": "The next run completes a killed run.",
    "law 8": "One run per policy at a time.",
    "law 9": "Failures are reported.",
    "law 10": "A run executes the plan that is shown.",
}
GUARDS: Mapping[str, str] = {
    "guard: policy": "A policy that was changed, disabled or deleted since the plan is not carried out.",
    "guard: hold": "A legal hold keeps data whatever the policies say, also one that is placed during a run.",
    "guard: change token": "Data that was written since the plan is planned for again, or left for the next run.",
    "guard: lease": "A run that lost its lease stops before its next step and touches nothing any more.",
    "guard: own tables": "Where one of the toolkit's own tables lacks shards, nothing is done at all.",
    "guard: expected_max": "A run that goes beyond the limits of a policy removes nothing and says so.",
    "guard: budget": "By size, the least that is too much goes: the oldest, and none younger than the floor.",
    "guard: unusual": "What earlier runs and the elapsed time do not explain is blocked until a person accepts it.",
    "guard: freeze": "What is frozen is noted before, and thawed after a failure or by the next run.",
    "guard: clock": "Data of the future, a table expired as a whole, and clocks that were set are noticed.",
    "guard: contradictions": "check-policies finds policies that contradict each other.",
    "guard: coverage": "Tables without a policy and older data are found; suggestions delete nothing unasked.",
    "guard: missing": "A table, column, repository or node that does not exist is a problem.",
    "guard: quoting": "SQL is built, never pasted together: any name and value means itself.",
    "guard: input": "An expression, duration or policy that could mean something else is refused.",
    "guard: exit code": "0 done, 1 failed or problem, 2 wrong input, 3 check-policies found something.",
    "guard: reading": "Each row is read once, from its table or an archive, and a query reads nothing else.",
    "guard: secrets": "Whatever is printed, logged or answered has passwords and tokens removed.",
}
ACCESS: Mapping[str, str] = {
    "access: roles": "viewer, operator, editor, admin: each may do what those before it may, and no more.",
    "access: policies": "A policy is seen, created and changed only within the limit of a token.",
    "access: holds": "A hold is seen and placed only where an own policy covers it, and released by its own.",
    "access: plans": "A plan and a run show and do only what is within the limit.",
    "access: jobs": "Runs and the audit log show only what is within the limit.",
    "access: snapshots": "Snapshots are seen, verified and restored only within the limit.",
    "access: reading": "Data is read only where an own policy covers it.",
    "access: tokens": "A token that is unknown, expired or revoked is refused at once.",
    "access: hidden": "What is not seen does not exist, and reasons do not tell of others.",
    "access: versions": "A change names the version that it is based on; an outdated one changes nothing.",
    "access: rate": "Each caller has a bucket of requests, and a body has a size.",
    "access: origin": "Requests by another name, or of another page, are refused.",
    "access: log-in": "Pages are for those who have logged in, until the session or the token ends.",
    "access: bind": "Beyond this machine tokens are always asked for.",
}
PROMISES: Mapping[str, str] = {**LAWS, **GUARDS, **ACCESS}
