"""Databases of RRDtool become policies: those of Munin, Cacti and collectd, each form of input, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.rollups.cascade import parse_levels
from cratedb_retention.model.translation import Translation, Wanted, write_policies
from cratedb_retention.model.translation.rrdtool import translate_rrdtool


def create(*archives: str, step: int = 300, sources: str = "DS:x:GAUGE:600:U:U", functions: str = "AVERAGE") -> str:
    """The command that creates a database, with an archive of ``steps:rows`` for each function."""
    found = [f"RRA:{function}:0.5:{archive}" for archive in archives for function in functions.split()]
    return " \\\n  ".join([f"rrdtool create /var/lib/rrd/some-host.rrd --step {step}", sources, *found])


ALL = "AVERAGE MIN MAX"
MUNIN = create("1:576", "6:432", "24:540", "288:450", sources="DS:42:GAUGE:600:U:U", functions=ALL)
CACTI = create("1:600", "6:700", "24:775", "288:797", sources="DS:traffic_in:COUNTER:600:0:U", functions=f"{ALL} LAST")
COLLECTD = create("1:1200", "7:1235", "50:1210", "223:1202", "2635:1201", step=10, functions=ALL)
INFO = """
filename = "/var/lib/rrd/some-host.rrd"
rrd_version = "0003"
step = 300
last_update = 1570708202
ds[x].index = 0
ds[x].type = "GAUGE"
ds[x].min = NaN
rra[0].cf = "AVERAGE"
rra[0].rows = 576
rra[0].pdp_per_row = 1
rra[0].xff = 5.0000000000e-01
rra[0].cdp_prep[0].value = NaN
rra[1].cf = "MAX"
rra[1].rows = 432
rra[1].cur_row = 7
rra[1].pdp_per_row = 6
rra[1].xff = 5.0000000000e-01
"""
DUMP = f"""<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE rrd SYSTEM "https://oss.oetiker.ch/rrdtool/rrdtool.dtd">
<rrd>
    <version>0003</version>
    <step>300</step> <!-- Seconds -->
    <ds>
        <name> x </name>
        <type> GAUGE </type>
        <min>NaN</min>
    </ds>
    <rra>
        <cf>AVERAGE</cf>
        <pdp_per_row>1</pdp_per_row> <!-- 300 seconds -->
        <params><xff>5.0000000000e-01</xff></params>
        <cdp_prep><ds><primary_value>NaN</primary_value></ds></cdp_prep>
        <database>{"<row><v>NaN</v></row>" * 576}</database>
    </rra>
    <rra>
        <cf>MAX</cf>
        <pdp_per_row>6</pdp_per_row>
        <params><xff>5.0000000000e-01</xff></params>
        <database>{"<row><v>NaN</v></row>" * 432}</database>
    </rra>
</rrd>
"""


def translate(text: str, step: str | None = None, **wanted: Any) -> Translation:
    """A translation of a file."""
    return translate_rrdtool(text, Wanted(**wanted), "file", step)


def policies(translation: Translation) -> list[dict[str, Any]]:
    """The policies as the file has them, without descriptions; `apply` can read them."""
    text = write_policies(translation, "Title")
    found = yaml.safe_load(text)["policies"]
    assert len(parse_policies(text, "policies.yaml")) == len(found)
    for policy in found:
        assert policy.pop("description").startswith("RRDtool ")
    return list(found)


def one(text: str, step: str | None = None, **wanted: Any) -> dict[str, Any]:
    """The only policy."""
    found = policies(translate(text, step, **wanted))
    assert len(found) == 1
    return found[0]


def test_munin() -> None:
    """Archives of one length are one level with several aggregates."""
    assert one(MUNIN) == {
        "strategy": "downsample",
        "table_name": "some_host",
        "retention_period": "2d",
        "levels": "30m:9d,2h:45d,1d:450d",
        "metrics": ["42"],
        "aggregates": {"*": ["min", "max", "avg"]},
    }
    assert translate(MUNIN).all_warnings == ()


def test_cacti() -> None:
    """A counter is one; that its rates are not kept is said."""
    assert one(CACTI) == {
        "strategy": "downsample",
        "table_name": "some_host",
        "retention_period": "2d2h",
        "levels": "30m:14d14h,2h:64d14h,1d:797d",
        "metrics": ["traffic_in"],
        "counters": ["traffic_in"],
    }
    (warning,) = translate(CACTI).all_warnings
    assert "traffic_in: a counter: RRDtool stores its rate" in warning


def test_collectd() -> None:
    """Its archives are of lengths that only rounding makes levels."""
    with pytest.raises(InvalidInput, match=r"file, line 1, RRA:AVERAGE:0\.5:7:1235: 1m10s does not divide a day"):
        translate(COLLECTD)
    found = one(COLLECTD, rounding=True)
    assert found["retention_period"] == "3h20m"
    assert found["levels"] == "1m:1d50s,5m:7d3m20s,30m:31d34m20s,6h:366d6h39m10s"
    assert len(translate(COLLECTD, rounding=True).all_warnings) == 4


@pytest.mark.parametrize("text", [INFO, DUMP], ids=["info", "dump"])
def test_what_rrdtool_writes(text: str) -> None:
    """The output of `rrdtool info` and of `rrdtool dump` say the same as the command."""
    found = one(text, table_name="some_host")
    assert found == one(create("1:576", "6:432", functions="MAX"))
    assert "0.5" in write_policies(translate(text), "Title").splitlines()[1]


def test_several_databases() -> None:
    """Each command and each database of `rrdtool info` becomes a policy."""
    names = [policy["table_name"] for policy in policies(translate(f"#!/bin/sh\n{MUNIN}\ncd /tmp\n\n{CACTI} # x\n"))]
    assert names == ["some_host"] * 2
    assert len(policies(translate(INFO + INFO))) == 2
    with pytest.raises(InvalidInput, match="2 databases cannot have one table"):
        translate(INFO + INFO, table_name="x")


def test_durations() -> None:
    """Steps and rows may be durations, with months of 31 days and years of 366: the example of rrdcreate(1)."""
    short = one("rrdtool create power.rrd -s 1s RRA:AVERAGE:0.5:1s:10d RRA:AVERAGE:0.5:1h:18M RRA:AVERAGE:0.5:1d:10y")
    long = "RRA:AVERAGE:0.5:1:864000 RRA:AVERAGE:0.5:3600:13392 RRA:AVERAGE:0.5:86400:3660"
    assert short == one(f"rrdtool create power.rrd --step=1 {long}")
    assert (short["retention_period"], short["levels"]) == ("10d", "1h:558d,1d:3660d")


def test_lists_of_archives() -> None:
    """Arguments may stand in a program, as in Munin's; the step may be given, and a name must be filled in."""
    text = """
        "RRA:AVERAGE:0.5:1:576",   # resolution 5 minutes
        'RRA:MIN:0.5:6:432',
        # "RRA:MIN:0.5:7:432",
        push (@args, "RRA:MAX:0.5:6:500");
    """
    assert one(text) == {
        "strategy": "downsample",
        "table_name": "FILL_IN_THE_TABLE",
        "retention_period": "2d",
        "levels": "30m:10d10h",
        "aggregates": {"*": ["min", "max"]},
    }
    assert one(text, "1m", table_name="t")["levels"] == "6m:2d2h"


def test_a_step_that_nothing_says() -> None:
    """A list of archives alone does not say how long they are; the default is taken, and that is said."""
    (warning,) = translate("RRA:MAX:0.5:1:9", table_name="x").all_warnings
    assert warning == "the database: its step is unknown; 5m is RRDtool's default, --step sets another one"
    for text, step in (("RRA:MAX:0.5:1:9", "5m"), ("--step 300\nRRA:MAX:0.5:1:9", None)):
        assert translate(text, step, table_name="x").all_warnings == ()


def test_without_levels() -> None:
    """Where only single steps are kept, nothing is downsampled."""
    assert one(create("1:115200", functions=ALL)) == {
        "strategy": "delete",
        "table_name": "some_host",
        "retention_period": "400d",
    }


def test_single_steps_for_several_times() -> None:
    """Raw rows stay as long as the longest archive of single steps, a level as long as the longest of its length."""
    archives = "RRA:MAX:0.5:1:288 RRA:AVERAGE:0.5:1:576 RRA:MIN:0.5:1:300 RRA:MIN:0.5:12:720 RRA:MAX:0.5:12:480"
    found = one(archives, table_name="x")
    assert (found["retention_period"], found["levels"]) == ("2d", "1h:30d")


def test_without_single_steps() -> None:
    """Raw rows stay a while where RRDtool keeps none."""
    found = translate(create("6:432"))
    assert policies(found)[0]["retention_period"] == "1d"
    assert found.all_warnings == (
        "/var/lib/rrd/some-host.rrd: has no archive of single steps; raw rows are kept for 1d",
    )


@pytest.mark.parametrize(
    ("kind", "minimum", "expected", "warning"),
    [
        ("GAUGE", "0", {"aggregates": {"*": ["max", "avg"]}}, ""),
        ("COUNTER", "U", {"counters": ["x"]}, "a counter"),
        ("DCOUNTER", "U", {"counters": ["x"]}, "a counter"),
        ("DERIVE", "0", {"counters": ["x"]}, "a counter"),
        ("DERIVE", "U", {"aggregates": {"x": ["first", "last"]}}, "a difference"),
        ("DDERIVE", "-1", {"aggregates": {"x": ["first", "last"]}}, "a difference"),
        ("ABSOLUTE", "0", {"aggregates": {"x": ["sum", "max", "avg"]}}, "counted since the last reading"),
    ],
)
def test_sources(kind: str, minimum: str, expected: dict[str, Any], warning: str) -> None:
    """What RRDtool stores as a rate is kept so that the rate can be computed."""
    text = create("1:600", "6:700", sources=f"DS:x:{kind}:600:{minimum}:U", functions="AVERAGE MAX")
    found = one(text)
    assert {key: found[key] for key in ("counters", "aggregates") if key in found} == expected
    assert warning in "".join(translate(text).all_warnings)


def test_mixed_sources() -> None:
    """Gauges and counters have aggregates of their own; what is computed from others is left out."""
    sources = "DS:t:GAUGE:600:U:U DS:n=m[1]:COUNTER:600:U:U DS:c:COMPUTE:t,n,+"
    found = translate(create("1:600", "6:700", sources=sources))
    (policy,) = policies(found)
    assert (policy["metrics"], policy["counters"]) == (["t", "n"], ["n"])
    assert policy["aggregates"] == {"t": ["avg"]}
    assert "/var/lib/rrd/some-host.rrd, c: computed from others: omitted" in "".join(found.all_warnings)


def test_forecasts_and_templates() -> None:
    """What has no counterpart is said."""
    text = create("1:600") + " -t other.rrd RRA:HWPREDICT:1440:0.1:0.0035:288 RRA:FAILURES:288:7:9:5"
    assert translate(text).all_warnings == (
        "/var/lib/rrd/some-host.rrd: HWPREDICT, FAILURES omitted, since forecasts are not supported",
        "/var/lib/rrd/some-host.rrd: its --template was not read",
    )


@pytest.mark.parametrize(
    ("file", "table"),
    [
        ("power.rrd", "power"),
        ("/a/b/Web-load.g.rrd", "web_load_g"),
        ('"quoted.rrd"', "quoted"),
        ("$HOST.rrd", "FILL_IN_THE_TABLE"),
        ("-b now -O x", "x"),
        ("x.rrd --daemon unix:/x.sock", "x"),
    ],
)
def test_names(file: str, table: str) -> None:
    """The table is named like the file, where that is a plain name."""
    assert one(f"rrdtool create {file} RRA:MAX:0.5:1:9")["table_name"] == table


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "file: has no round-robin archive"),
        ("rrdtool create x.rrd DS:x:GAUGE:600:U:U", "file: has no round-robin archive"),
        ("\nRRA:AVERAGE:0.5:1", "file, line 2, RRA:AVERAGE:0.5:1: not of the form RRA:CF:xff:steps:rows"),
        ("RRA:MEDIAN:0.5:1:9", "'MEDIAN' is not a consolidation function. Available: AVERAGE, MIN, MAX, LAST"),
        ("RRA:$cf:0.5:1:9", "'$cf' is not a consolidation function"),
        ("RRA:MAX:0.5:$steps:9", "'$steps' is neither a count nor a duration"),
        ("RRA:MAX:0.5:0:9", "0 is not positive"),
        ("RRA:MAX:0.5:1:-9", "'-9' is neither a count"),
        ("RRA:MAX:0.5:7m:9", "7m is not a multiple of 300s"),
        ("--step 0\nRRA:MAX:0.5:1:9", "file, line 1, --step: 0 is not positive"),
        ("DS:x:BAR:600:U:U RRA:MAX:0.5:1:9", "DS:x:BAR:600:U:U: not a data source"),
        ("DS:x:GAUGE RRA:MAX:0.5:1:9", "DS:x:GAUGE: not a data source"),
        ('step = 300\nrra[0].cf = "MAX"\nrra[0].pdp_per_row = 1', "file, rra[0], MAX: rows is missing"),
        ('rra[0].cf = "MAX"', "file: step is missing"),
        ("<rrd><step>x</step></rrd>", "file: step is 'x'"),
        ("<rrd><step>300</step></rrd>", "file: has no round-robin archive"),
        (create("1:600", "7:600"), "35m does not divide a day, and is not a calendar unit. --round makes it 30m"),
        (
            create("1:600", "2:600", "3:700"),
            "10m does not divide 15m. --round omits it, and keeps 10m for as long",
        ),
    ],
)
def test_bad_input(text: str, complaint: str) -> None:
    """One line names what is wrong, and where."""
    with pytest.raises(InvalidInput) as caught:
        translate(text)
    assert complaint in str(caught.value)


def test_a_bad_step() -> None:
    """A step that is none is refused."""
    with pytest.raises(InvalidInput, match="--step: 'x' is neither a count"):
        translate("RRA:MAX:0.5:1:9", "x")


archives = st.lists(
    st.tuples(st.sampled_from(["AVERAGE", "MIN", "MAX", "LAST"]), st.integers(1, 3000), st.integers(1, 9000)),
    min_size=1,
    max_size=8,
)


@given(st.sampled_from([1, 10, 60, 300, 900, 86_400]), archives)
def test_each_cascade_survives_the_round_trip(step: int, found: list[tuple[str, int, int]]) -> None:
    """Whatever a database could have, the levels can be read, and the whole time is covered."""
    text = " ".join(f"RRA:{function}:0.5:{steps}:{rows}" for function, steps, rows in found)
    policy = one(text, str(step), rounding=True)
    levels = parse_levels(policy.get("levels", ""))
    periods = [parse_duration(policy["retention_period"]), *(level.retention_period for level in levels)]
    assert max(period.approximate_seconds() for period in periods) >= max(n * step * rows for _, n, rows in found)


@given(st.text(), st.sampled_from(["", "rrdtool create ", "RRA:", "<rrd>", "DS:", "step = 300\nrra[0].cf = "]))
def test_any_text_is_read_or_refused(text: str, start: str) -> None:
    """Nothing but our own error ever comes of a text."""
    try:
        translate(start + text)
    except InvalidInput as error:
        assert str(error)
