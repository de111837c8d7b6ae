"""Faithfulness: python -m experiments.faithfulness --workdirs=checkpoints/ancf --sample=500 --output=reasons

How true the reasons for recommendations are, by several ways to explain them: what becomes of the best item of a user's
list as the history is taken away, its strongest reasons first (POS@5/10/20, DEL, INS and CDCG, stated exactly in
ancf_jax/evaluation/fidelity/curves.py), with 95% bootstrap intervals over users and paired tests. Every user is asked
for by the history alone. Writes OUTPUT.json and OUTPUT.md.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.types import InputError
from experiments import console
from experiments.options import define_cache, keep_programs


def define() -> None:
    """Which models, and for how many users."""
    flags.DEFINE_list("workdirs", [], "folders of trained runs, whose models read histories", allow_override=True)
    flags.DEFINE_string("data_dir", "", "where originals are looked for, if not where they were", allow_override=True)
    sample = "users drawn at random, the same for all models of one data set (0: all)"
    flags.DEFINE_integer("sample", 0, sample, lower_bound=0, allow_override=True)
    flags.DEFINE_integer("seed", 0, "what users, random reasons and orders are drawn by", allow_override=True)
    flags.DEFINE_string("output", "faithfulness", "path of both files, without .json and .md", allow_override=True)
    define_cache()


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import jax
import numpy as np

from ancf_jax.data.dataset import known_interactions
from ancf_jax.evaluation.fidelity.compare import compare, summary, ways
from ancf_jax.evaluation.fidelity.curves import LOWER_IS_BETTER, METRICS
from ancf_jax.reports.page import Section, markdown
from ancf_jax.runs.results import provenance
from ancf_jax.runs.run import open_trained
from ancf_jax.training.checkpoint import write_json, write_text


def say_done(users: int, done: int) -> None:
    """Progress."""
    console.status(f"{done:,} of {users:,} users")


def say_learned(done: int, steps: int) -> None:
    """Progress of the explainer that is learned."""
    console.status(f"{done:,} of {steps:,} steps of LXR")


def main() -> dict[str, Any]:
    """Measure every model, print a table each, and write both files."""
    options = flags.FLAGS
    if not options.workdirs:
        raise InputError("--workdirs is missing: folders of trained runs, with commas between them")
    if not Path(options.output).resolve().parent.is_dir():
        raise InputError(f"flag --output: there is no folder for {options.output}")
    keep_programs()
    found: dict[str, Any] = {}
    what: dict[str, str] = {}
    sections: list[Section] = []
    for workdir in options.workdirs:
        console.status(f"reading {workdir} and its data ...")
        run, dataset, data, model, params = open_trained(Path(workdir), options.data_dir)
        people = np.random.default_rng(options.seed).permutation(data.num_users)
        people = people[: options.sample or data.num_users]
        ready, start = jax.jit(model.prepare)(params, model.given), time.perf_counter()
        fidelity = compare(
            model,
            data,
            ready,
            known_interactions(dataset),
            people.tolist(),
            options.seed,
            partial(say_done, len(people)),
            say_learned,
        )
        rows, what = summary(fidelity), what | {name: told for name, (told, _) in ways(model, data.num_items).items()}
        title = f"{run.model} on {dataset.name}"
        headings, cells = ["reasons", *METRICS, "better by pos@5 than"], table(rows)
        console.table(headings[:-1], [line[:-1] for line in cells], f"{title}: {len(fidelity.users):,} users")
        told = f"`{workdir}`; {learned_of(fidelity.learned)}"
        sections.append(Section(f"{title}, {len(fidelity.users):,} users", headings, cells, told))
        seconds = time.perf_counter() - start
        found[workdir] = {"model": run.model, "dataset": dataset.name, "split": dataset.split, "unit": model.unit}
        found[workdir] |= {"users": len(fidelity.users), "seconds": seconds, "lxr": fidelity.learned}
        found[workdir]["reasons"] = rows
    content: dict[str, Any] = {
        "runs": found,
        "seed": options.seed,
        "command": console.command("experiments.faithfulness"),
        **provenance(),
    }
    write_json(Path(f"{options.output}.json"), content)
    remarks = [f"{name}: {told}." for name, told in what.items()]
    write_text(Path(f"{options.output}.md"), markdown("Faithfulness", sections, [*remarks, *notes(content)]))
    print(f"wrote {options.output}.json and {options.output}.md")
    return content


def learned_of(learned: dict[str, Any]) -> str:
    """Of whom LXR learned, and how long."""
    whom = "those measured among them" if learned["measured"] else "none of them measured"
    return f"LXR learned of {learned['users']:,} users, {whom}, in {learned['seconds'] / 60:.1f} minutes"


def table(rows: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A line for each way to explain, the best by the first metric first."""
    best = sorted(rows, key=lambda name: rows[name]["metrics"][METRICS[0]])
    return [
        [
            name,
            *(f"{rows[name]['metrics'][metric]:.3f}" for metric in METRICS),
            ", ".join(rows[name]["beats"][METRICS[0]]) or "-",
        ]
        for name in best
    ]


def notes(content: dict[str, Any]) -> list[str]:
    """What must stand with the tables."""
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    return [
        f"Lower is better for {', '.join(LOWER_IS_BETTER)}, higher for ins.",
        "What each is, exactly: ancf_jax/evaluation/fidelity/curves.py. del and ins are probabilities where it is "
        "known what makes one of a score, and else the score itself.",
        "Better than: paired t-test over users, two-sided, Holm-corrected over all pairs, p < .05. The JSON has it by "
        "every metric, and 95% bootstrap intervals over users.",
        f"Measured on {content['hardware']}; Python {content['python']}, {versions}; commit {content['commit']}.",
        f"Command: `{content['command']}`",
    ]


if __name__ == "__main__":
    console.run(define, main)
