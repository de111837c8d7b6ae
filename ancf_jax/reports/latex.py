"""A comparison's tables as LaTeX, for a paper that uses the package booktabs."""

from collections.abc import Sequence

from ancf_jax.reports.page import Section

PRINTED = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
    }
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
)


def latex(title: str, sections: Sequence[Section], remarks: Sequence[str]) -> str:
    """The sections that have a table, with the cells that report.md has, and the remarks as comments above them."""
    comments = [f"% {' '.join(line.split())}" for line in (title, *remarks, "Needs the package booktabs.")]
    return "\n".join([*comments, "", *(_table(section) for section in sections if section.rows)])


def _table(section: Section) -> str:
    """One floating table; a column of numbers stands to the right."""
    columns = list(zip(*section.rows, strict=True))[1:]
    sides = "".join("l" if any(cell[:1].isalpha() for cell in column) else "r" for column in columns)
    heading, *rows = (f"{' & '.join(map(escape, row))} \\\\" for row in (section.headings, *section.rows))
    caption = escape(" ".join(f"{section.title}. {section.note}".split()))
    lines = [
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        r"\centering",
        rf"\begin{{tabular}}{{l{sides}}}",
        r"\toprule",
        heading,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def escape(text: str) -> str:
    """The text with all that LaTeX would read as a command written so that it is printed."""
    return text.translate(PRINTED)
