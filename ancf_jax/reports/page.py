"""What every report is made of: tables as Markdown, and as an HTML page that needs no other file."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

TAG = re.compile("<(?=[A-Za-z/!?])")  # a name in the data is none
STYLE = """body { font: 16px/1.5 system-ui, sans-serif; color: #222; }
body { margin: 1rem auto; max-width: 70rem; padding: 0 1rem; }
h1, h2, li, p { overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
th.text, td.text { text-align: left; min-width: 9rem; white-space: normal; }
.figures { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 1rem 0; max-width: 30rem; }
figcaption { font-size: .9rem; }
img { width: 100%; height: auto; margin: .3rem 0 0; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
@media (max-width: 35rem) { th, td { padding: .3rem .25rem; font-size: .85rem; } }
"""
# A click on a heading sorts by its column, numbers from the greatest down, and a second one turns that round.
SORT = """for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells]
  heads.forEach((head, n) => {
    if (!head.textContent) return
    const button = document.createElement("button")
    button.append(...head.childNodes)
    head.append(button)
    const text = row => row.cells[n].textContent
    const number = row => parseFloat(text(row).replaceAll(",", ""))
    button.onclick = () => {
      const rows = [...body.rows], words = rows.every(row => isNaN(number(row)))
      const up = head.ariaSort ? head.ariaSort == "descending" : words
      heads.forEach(each => { each.ariaSort = null })
      head.ariaSort = up ? "ascending" : "descending"
      const compare = (a, b) => words ? text(a).localeCompare(text(b)) : number(a) - number(b)
      rows.sort((a, b) => words || !isNaN(number(a) + number(b))
        ? (up ? compare(a, b) : compare(b, a)) : isNaN(number(a)) - isNaN(number(b)))
      body.append(...rows)
    }
  })
}
"""
Figures = Mapping[str, Sequence[tuple[str, bytes]]]  # by the title of their section: caption and SVG


class Section(NamedTuple):
    """A part of a report: a table, which may be missing, and a line on how to read it."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    note: str = ""


def markdown(title: str, sections: Sequence[Section], remarks: Sequence[str]) -> str:
    """The tables, aligned as text too, with how to read them, and the remarks."""
    lines = [f"# {title}", ""]
    for section in sections:
        if section.rows:
            table = [
                [TAG.sub("&lt;", cell.replace("|", "\\|")) for cell in row] for row in (section.headings, *section.rows)
            ]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines += [f"## {section.title}", "", *([section.note, ""] if section.note else [])]
            for line in (table[0], ["-" * width for width in widths], *table[1:]):
                lines.append(f"| {' | '.join(map(str.ljust, line, widths))} |")
            lines.append("")
    return TAG.sub("&lt;", "\n".join([*lines, *(f"- {remark}" for remark in remarks), ""]))


def page(title: str, sections: Sequence[Section], figures: Figures, remarks: Sequence[str]) -> str:
    """One HTML file that needs no other: the sections with their plots, and the remarks. Readable on a phone."""
    links = " &middot; ".join(f'<a href="#{_anchor(each)}">{html.escape(each.title)}</a>' for each in sections)
    parts = [html_section(section, figures.get(section.title, ())) for section in sections]
    return document(title, "\n".join([f"<nav>{links}</nav>", *parts, html_list(remarks)]))


def html_section(section: Section, figures: Sequence[tuple[str, bytes]]) -> str:
    """A section with its plots below the table."""
    note = "".join(f"<p>{_sentence(line)}</p>" for line in section.note.splitlines() if line)
    table = html_table(section.headings, section.rows) if section.rows else ""
    plots = "".join(
        f"<figure><figcaption>{html.escape(caption)}</figcaption>{_image(caption, plot)}</figure>"
        for caption, plot in figures
    )
    plots = f'<div class="figures">{plots}</div>' if plots else ""
    head = f'<section id="{_anchor(section)}"><h2>{html.escape(section.title)}</h2>'
    return f"{head}{note}{table}{plots}</section>"


def _anchor(section: Section) -> str:
    return html.escape(section.title.replace(" ", "-"))


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself where it is wider than the page, past its first column, which stays.

    A column with a cell that starts with a letter is one of text.
    """
    columns = list(zip(*rows, strict=True))
    kinds = [
        ' class="text"' if n and any(cell[:1].isalpha() for cell in column) else "" for n, column in enumerate(columns)
    ]

    def line(tag: str, cells: Sequence[str]) -> str:
        parts = (f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table><thead>{line("th", headings)}</thead><tbody>{body}</tbody></table></div>'


def html_list(texts: Sequence[str]) -> str:
    """A list of sentences."""
    return f"<ul>{''.join(f'<li>{_sentence(text)}</li>' for text in texts)}</ul>"


def _sentence(text: str) -> str:
    """A sentence as HTML; what stands between backticks is code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))


def _image(text: str, plot: bytes) -> str:
    """An SVG picture inside the page, and the text for who cannot see it."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(plot).decode()}"
    return f'<img alt="{html.escape(text)}" src="{source}">'


def document(title: str, body: str, style: str = "") -> str:
    """An HTML page around `body`, with more CSS where `style` has it."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{STYLE}{style}</style></head><body>
<h1>{html.escape(title)}</h1>
{body}
<script>
{SORT}</script>
</body></html>
"""
