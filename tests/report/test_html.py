import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from chipmend.report import page, write_report
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


def test_the_page_names_the_weights_that_are_not_placed(outcome):
    assert "weight shadow registers." in page(outcome)
    with_others = replace(outcome, assumed_healthy=["up.weight", "<table>.weight"])
    assert "weight shadow registers, up.weight, &lt;table&gt;.weight." in page(with_others)


def test_the_same_outcome_gives_the_same_bytes(outcome, tmp_path):
    first = write_report(outcome, tmp_path / "a.html").read_bytes()
    assert write_report(outcome, tmp_path / "b.html").read_bytes() == first


def test_a_run_without_analysis_says_so(outcome):
    assert "No policy of this run needed an analysis" in page(replace(outcome, table=None))


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
        assert html.count("<svg") == 2 + 2 + 4

    def test_a_click_sorts_and_a_word_filters(self, outcome, tmp_path):
        clicks = (
            "<script>document.querySelector('[data-column=\"7\"]').click();"
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
