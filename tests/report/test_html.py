import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from chipmend.bundle import Verified
from chipmend.faults.picture import COLOURS
from chipmend.fleet.ledger import MEANINGS, Bin, ShippedBundle
from chipmend.repairs import Cost
from chipmend.report import page, write_report
from chipmend.steps import Assess, Compensate, Measure, OneShot, Prune
from report.conftest import WICKED

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=4000",
]


class Text(HTMLParser):
    """The text of a page, and the addresses that it would load."""

    def __init__(self, html):
        super().__init__()
        self.texts, self.addresses, self.tags = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action", "data")]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_says_the_numbers_of_the_outcome(outcome):
    text = " ".join(Text(page(outcome)).texts)
    for said in ("92.5 %", "91 %", "0.362", "Reduce-max", "no clock", "2.13.0", "0.750 EE"):
        assert said in text


def test_nothing_is_loaded_from_outside(outcome):
    parsed = Text(page(outcome))
    assert all(address.startswith("data:") for address in parsed.addresses)
    assert "link" not in parsed.tags
    assert not re.search(r"@import|url\(", page(outcome))


def test_names_of_chips_are_text_wherever_they_stand(outcome):
    html = page(outcome)
    assert "<script>alert" not in html
    assert "<b>bad" not in html
    assert Text(html).tags.count("script") == 2
    assert WICKED in " ".join(Text(html).texts)


def cells(html, heading):
    """The numbers of the row of a table of the page, by the heading of their column."""
    tables = html.split("<table")[1:]
    table = next(t for t in tables if f'<th scope="col">{heading}</th>' in t)
    headings = re.findall(r'<th scope="col">(.*?)</th>', table)
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", table)
    ]
    return {row[0]: dict(zip(headings, row, strict=True)) for row in rows[1:]}


def test_the_ledger_says_each_cost_under_its_own_heading(outcome):
    """Two of three chips cost 0.5 + 0.0125 + 0.03 EE and 12 s; the analysis 6 EE."""
    ledger = cells(page(outcome), "retraining")
    assert ledger["Reduce-max"] == {
        "policy": "Reduce-max",
        "retraining": f"{2 * 0.5 / 3:.3f}",
        "recalibration": f"{2 * 0.0125 / 3:.3f}",
        "closed forms": "0.000",
        "looks": f"{2 * 0.03 / 3:.3f}",
        "in all": f"{2 * 0.5425 / 3:.3f}",
        "analysis (total)": "6.0",
        "shared (total)": "0.0",
        **{
            f"with all, {fleet:,} chips": f"{2 * 0.5425 / 3 + 6 / fleet:.3f}"
            for fleet in (100, 1000, 5000)
        },
        "overspent": f"{0.5425 - 0.2625:.3f}",
        "seconds": f"{2 * 12 / 3:.1f}",
    }
    assert ledger["Fixed(0.5)"]["with all, 100 chips"] == f"{2 * 0.5425 / 3:.3f}"


def test_chips_are_counted_by_what_was_done_to_them(outcome):
    climbed = (Prune(), Assess(), Compensate(form=OneShot()), Measure())
    done = replace(outcome.records[1], bin=Bin.REPAIRED, steps=climbed, accuracy=0.9, met=False)
    html = page(replace(outcome, records=[outcome.records[0], done, *outcome.records[2:]]))
    table = html.split("<h2>What was done</h2>")[1].split("</table>")[0]
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", r) for r in re.findall("<tr>(.*?)</tr>", table)
    ]
    assert rows[1][:4] == ["Fixed(0.5)", "retrain", "1", "1"]
    assert rows[2][:4] == ["Fixed(0.5)", "one-shot", "1", "0"]
    assert rows[1][5:] == ["91.00 %", "0.542", "12.0"]
    assert [row[:2] for row in rows[3:]] == [["Reduce-max", "retrain"]]


def test_closed_forms_and_the_calibration_they_share_are_on_the_bill(outcome):
    """A policy's closed forms take 0.25 + 0.5 EE for its chips, and 1.5 EE for all of them."""
    costs = [Cost(algebra=0.25), Cost(retrain=1.0, algebra=0.5), Cost()]
    records = [
        replace(r, cost=cost) for r, cost in zip(outcome.records[:3], costs, strict=True)
    ] + outcome.records[3:]
    calibrated = Cost(recalibrate=1.0, algebra=0.5)
    made = replace(outcome, records=records, shared={**outcome.shared, "Fixed(0.5)": calibrated})
    html = page(made)
    row = cells(html, "closed forms")["Fixed(0.5)"]
    assert (row["closed forms"], row["in all"]) == ("0.250", f"{1.75 / 3:.3f}")
    assert (row["analysis (total)"], row["shared (total)"]) == ("0.0", "1.5")
    assert row["with all, 100 chips"] == f"{1.75 / 3 + 1.5 / 100:.3f}"
    assert "(0.500 of them for calibration, clean scores)" in html
    both = page(replace(made, tables={"Fixed(0.5)": outcome.table}))
    assert "(2.500 of them for analysis, calibration, clean scores)" in both


def test_the_header_sums_up_what_was_analysed_each_thing_once(outcome):
    def analysed(tables):
        html = page(replace(outcome, tables=tables))
        return re.search("<dt>analysis</dt><dd>(.*?)</dd>", html).group(1)

    table = outcome.table
    dearer = tuple(replace(t, ee=3.0) for t in table.trajectories)
    other = replace(table, trajectories=dearer)
    assert analysed({"Reduce-max": table}) == "6 EE"
    assert analysed({"Reduce-max": table, "Fixed(0.5)": replace(table)}) == "6 EE"
    assert analysed({"Reduce-max": table, "Fixed(0.5)": other}) == "18 EE"
    assert analysed({}) == "none"


def test_the_page_says_whose_analysis_it_shows(outcome):
    other = replace(outcome.table, clean_accuracy=0.92)
    tables = {"Reduce-max": outcome.table, "Fixed(0.5)": replace(outcome.table), "third": other}
    assert "What Reduce-max, Fixed(0.5) went by." in page(replace(outcome, tables=tables))


def test_the_bin_table_counts_chips(outcome):
    bins = cells(page(outcome), "retrained")
    row = bins["Fixed(0.5)"]
    assert (row["retrained"], row["scrapped"], row["unrepairable"]) == (*"111",)
    assert not {"pruned", "repaired", "failed"} & set(row)
    shipped = replace(outcome, records=[*outcome.records[:-1], pruned(outcome.records[-1])])
    rows = cells(page(shipped), "retrained")
    assert [row["pruned"] for row in rows.values()] == ["·", "1"]
    assert row["met"].startswith("<strong>1</strong>")


def pruned(record):
    return replace(record, bin=Bin.PRUNED, accuracy=0.9)


def test_every_bin_that_is_shown_is_explained(outcome):
    note = re.search('<p class="note">(<b>retrained.*?)</p>', page(outcome)).group(1)
    assert re.findall("<b>(.*?)</b>", note) == ["retrained", "scrapped", "unrepairable"]
    assert set(MEANINGS) == set(Bin)


def test_the_colours_of_fault_maps_are_explained(outcome):
    for name in ("faulty PE", "dead row", "dead column"):
        assert f'<i style="background: rgb{COLOURS[name]}"></i>{name}' in page(outcome)


def cheaper(outcome, policy, **changes):
    records = [
        replace(r, **changes) if (r.policy, r.chip) == (policy, "a") else r for r in outcome.records
    ]
    return replace(outcome, records=records)


def test_the_verdict_is_who_meets_most_then_who_is_cheapest_with_the_analysis(outcome):
    def verdict(made):
        return re.search('<p class="verdict">(.*?)</p>', page(made)).group(1)

    tied = verdict(outcome)
    assert "1 ship under Fixed(0.5)" in tied
    assert f"at {2 * 0.5425 / 3:.3f} epoch-equivalents per chip." in tied
    dearer = f"Reduce-max at {2 * 0.5425 / 3 + 6 / 3:.3f} (2.000 of them for analysis)."
    assert tied.endswith(f"On as many, at no lower cost: {dearer}")
    missed = verdict(cheaper(outcome, "Fixed(0.5)", met=False))
    assert "1 ship under Reduce-max" in missed
    assert f"at {2 * 0.5425 / 3 + 6 / 3:.3f} epoch-equivalents per chip (2.000 of them" in missed
    assert missed.endswith("Every other policy meets it on fewer chips.")
    nobody = cheaper(cheaper(outcome, "Fixed(0.5)", met=False), "Reduce-max", met=False)
    expected = f"No policy gives any of the 3 chips a network that meets '{outcome.constraint}'."
    assert unescape(verdict(nobody)) == expected


def test_the_page_names_the_weights_that_are_not_placed(outcome):
    assert "weight shadow registers." in page(outcome)
    with_others = replace(outcome, assumed_healthy=["up.weight", "<table>.weight"])
    assert "weight shadow registers, up.weight, &lt;table&gt;.weight." in page(with_others)


def shipping(outcome, *verified):
    """The same outcome, with bundles of which some were verified."""
    bundles = [
        ShippedBundle(
            folder=f"bundles/{n}", digest="0" * 64, bytes=30 + n, full=100, verified=found
        )
        for n, found in enumerate(verified)
    ]
    records = [
        replace(record, bundle=bundles.pop(0) if bundles else None) for record in outcome.records
    ]
    return replace(outcome, records=records)


HOLDS = Verified(chip="a<b", accuracy=0.9123, recorded=0.9123, agreement=0.9995, reason="")


def test_what_ships_is_told_with_what_was_verified(outcome):
    assert "What ships" not in page(outcome)
    told = page(shipping(outcome, HOLDS, None))
    assert "2 bundles, 30.5 % of whole copies of the network" in told
    assert "1 of them were run on a model" in told
    assert "and do there what was recorded" in told
    assert "a&lt;b" in told
    assert "99.95 %" in told
    live = replace(HOLDS, agreement=None)
    assert "<td>-</td><td>yes</td>" in page(shipping(outcome, live))


def test_a_bundle_that_does_not_hold_stands_out(outcome):
    broken = replace(HOLDS, reason="accuracy <0.9> on the chip")
    told = page(shipping(outcome, HOLDS, broken))
    assert "<strong>1 do not hold</strong>" in told
    assert "accuracy &lt;0.9&gt; on the chip" in told


def test_live_faults_stand_beside_the_fault_map(outcome):
    assert "datapaths" not in page(outcome)
    chips = [replace(chip, stuck_mac_bits=7) for chip in outcome.chips]
    assert "7 bits of datapaths stuck" in page(replace(outcome, chips=chips))


def test_the_same_outcome_gives_the_same_bytes(outcome, tmp_path):
    first = write_report(outcome, tmp_path / "a.html").read_bytes()
    assert write_report(outcome, tmp_path / "b.html").read_bytes() == first


def test_a_run_without_analysis_says_so(outcome):
    assert "No policy of this run needed an analysis" in page(replace(outcome, tables={}))


@pytest.mark.parametrize("kept", [slice(0, 3), slice(1, 3), slice(1, 2)])
def test_one_policy_or_nothing_shipped_makes_a_page(outcome, kept):
    records = outcome.records[kept]
    chips = outcome.chips[kept]
    alone = replace(outcome, policies={"Fixed(0.5)": {}}, records=records, chips=chips, paths={})
    assert "Fixed(0.5)" in page(alone)


def dom(path, tmp_path):
    """A page as headless Chromium has it after its scripts have run, and its complaints."""
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
    ]
    ended = subprocess.run(
        [*command, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    complaints = [line for line in ended.stderr.splitlines() if ":CONSOLE" in line]
    return ended.stdout, complaints


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
class TestInChromium:
    def test_the_chip_table_is_filled_and_nothing_is_complained_of(self, outcome, tmp_path):
        html, complaints = dom(write_report(outcome, tmp_path / "r.html"), tmp_path)
        table = html[html.index('id="chips"') : html.index("</table>", html.index('id="chips"'))]
        assert complaints == []
        assert table.count("<tr>") == 1 + 6
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;" in table
        assert html.count("<svg") == 4 + 2 + 4

    def test_a_click_sorts_and_a_word_filters(self, outcome, tmp_path):
        clicks = (
            "<script>document.querySelector('[data-column=\"8\"]').click();"
            "document.querySelector('[data-column=\"1\"]').click();"
            "document.querySelector('[data-column=\"1\"]').click();"
            "const f = document.getElementById('filter'); f.value = 'reduce';"
            "f.dispatchEvent(new Event('input'));</script></body>"
        )
        path = tmp_path / "r.html"
        path.write_text(page(outcome).replace("</body>", clicks))
        html, complaints = dom(path, tmp_path)
        table = html[html.index('id="chips"') : html.index("</table>", html.index('id="chips"'))]
        chips = re.findall(r"<tr><td>Reduce-max</td><td>(.*?)</td>", table)
        assert complaints == []
        assert chips == ["dead", "a", "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"]
        assert 'aria-sort="descending"' in table
        assert "3 rows" in html

    @pytest.mark.parametrize(
        ("clicks", "order"), [(1, ["-9", "2.5", "10", "-"]), (2, ["10", "2.5", "-9", "-"])]
    )
    def test_numbers_are_sorted_as_numbers_and_nothing_comes_last(
        self, outcome, tmp_path, clicks, order
    ):
        accuracies = [0.1, None, -0.09, 0.025]
        records = [
            replace(outcome.records[0], chip=f"c{n}", accuracy=a) for n, a in enumerate(accuracies)
        ]
        script = "document.querySelector('[data-column=\"8\"]').click();" * clicks
        path = tmp_path / "r.html"
        made = page(replace(outcome, records=records, policies={"Fixed(0.5)": {}}))
        path.write_text(made.replace("</body>", f"<script>{script}</script></body>"))
        html, complaints = dom(path, tmp_path)
        table = html[html.index('id="chips"') : html.index("</table>", html.index('id="chips"'))]
        rows = [re.findall("<td[^>]*>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
        assert complaints == []
        shown = [row[8].removesuffix(" %").removesuffix("0").removesuffix(".0") for row in rows]
        assert shown == order

    @pytest.mark.parametrize("width", [360, 1600])
    def test_no_screen_scrolls_sideways(self, outcome, tmp_path, width):
        inner = json.dumps(page(outcome)).replace("</", "<\\/")
        path = tmp_path / "frame.html"
        path.write_text(
            f"<title></title><iframe width={width} height=900 style='border:0'></iframe><script>"
            "const frame = document.querySelector('iframe'); frame.onload = () => {"
            "const page = frame.contentDocument.documentElement;"
            "document.title = `${page.scrollWidth} of ${page.clientWidth}`; };"
            f"frame.srcdoc = {inner};</script>"
        )
        html, _ = dom(path, tmp_path)
        needed, given = map(int, re.search(r"<title>(\d+) of (\d+)</title>", html).groups())
        assert needed == given >= width - 20
