"""Tables as Markdown and as a page."""

import re

from ancf_jax.reports import page

SECTIONS = [
    page.Section("Test metrics", ["model", "n"], [["best <b>", "0.5"], ["worse, and with a longer name", "-"]]),
    page.Section("Words", [], [], "x\n\nrun `y <z>`"),
]


def test_markdown_is_aligned_and_has_the_tables_alone():
    text = page.markdown("T", SECTIONS, ["note"])
    lines = [line for line in text.splitlines() if "|" in line]
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert "## Test metrics" in text and "Words" not in text and text.endswith("- note\n")


def test_the_page_needs_no_other_file_and_escapes_names():
    made = page.page("T <1>", SECTIONS, {"Words": [("a <caption>", b"<svg/>")]}, ["a <note>", "run `x <y>`"])
    assert "best &lt;b&gt;" in made and "T &lt;1&gt;" in made and "a &lt;note&gt;" in made
    assert re.findall(r'(?:src|href)="([^"]{,26})', made) == ["#Test-metrics", "#Words", "data:image/svg+xml;base64,"]
    assert (
        made.index("<h2>Words</h2><p>x</p><p>run <code>y &lt;z&gt;</code></p>")
        < made.index("<figcaption>a &lt;caption&gt;")
        < made.index("<img ")
    )
    assert "run <code>x &lt;y&gt;</code>" in made and not re.search("<(b|1|caption|note|y)>", made)


def test_columns_of_text_are_told_from_numbers():
    table = page.html_table(["name", "n", "why"], [["a", "-", "-"], ["b", "2", "x"]])
    assert re.findall(r"<t[hd]( class=\"text\")?>(\w+)<", table)[:3] == [
        ("", "name"),
        ("", "n"),
        (' class="text"', "why"),
    ]
