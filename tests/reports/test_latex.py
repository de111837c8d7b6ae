"""Tables as LaTeX: the same cells, nothing that LaTeX would read as a command."""

from ancf_jax.reports.latex import escape, latex
from ancf_jax.reports.page import Section


def test_a_table_has_its_cells_and_the_remarks_are_comments():
    sections = [
        Section("Test metrics", ["model", "hr@10", "ahead of"], [["a_b", "0.5", "-"], ["c", "0.4", "a_b"]], "How\nto."),
        Section("Words", [], [], "x"),
    ]
    text = latex("50% of it", sections, ["note\n\\input"])
    comments, table = text.split("\n\n")
    assert comments.splitlines() == ["% 50% of it", "% note \\input", "% Needs the package booktabs."]
    assert table.splitlines() == [
        r"\begin{table}",
        r"\caption{Test metrics. How to.}",
        r"\centering",
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r"model & hr@10 & ahead of \\",
        r"\midrule",
        r"a\_b & 0.5 & - \\",
        r"c & 0.4 & a\_b \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_what_latex_would_read_is_printed():
    assert escape("p < .05 ± {50%} a_b & #1 $ ~ ^ \\x") == (
        r"p \textless{} .05 $\pm$ \{50\%\} a\_b \& \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{}x"
    )
