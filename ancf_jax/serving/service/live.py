"""The model that answers now, and its replacement by a newer one."""

from pathlib import Path
from typing import NamedTuple

import jax

from ancf_jax.runs.run import Run, folder_of, open_trained
from ancf_jax.serving.recommend import Server, make_server
from ancf_jax.serving.service.programs import Programs, make_programs
from ancf_jax.serving.similar import Likeness, likeness_of
from ancf_jax.training.checkpoint import check_trained, load_best
from ancf_jax.training.steps import best_first, steps_in
from ancf_jax.types import shapes_of

Stamp = tuple[Path, int]  # the folder of a model, and the number of its best checkpoint


class Live(NamedTuple):
    """A trained model, ready to answer."""

    run: Run
    server: Server
    likeness: Likeness
    programs: Programs
    titles: list[str]  # [I], as they are searched
    stamp: Stamp


def open_live(workdir: Path, data_dir: str = "") -> Live:
    """The best model of a workdir, its programs compiled. Raises InputError as `open_trained` does."""
    stamp = stamp_of(workdir)
    run, dataset, data, model, params = open_trained(workdir, data_dir)
    server = make_server(dataset, data, model, params)
    titles = [title.casefold() for title in (dataset.titles or map(str, dataset.item_ids))]
    return Live(run, server, likeness_of(server), make_programs(server), titles, stamp)


def newer(live: Live, workdir: Path, data_dir: str = "") -> Live:
    """The model that is in the workdir now: the same if no checkpoint has come.

    Of the same folder it takes the same programs. A run that was trained again meanwhile is another model, opened anew.
    """
    stamp = stamp_of(workdir)
    if stamp == live.stamp:
        return live
    if stamp[0] != live.stamp[0]:
        return open_live(workdir, data_dir)
    model = live.server.model
    _, params = load_best(stamp[0], shapes_of(model))
    server = live.server._replace(ready=jax.block_until_ready(jax.jit(model.prepare)(params, model.given)))
    return live._replace(server=server, likeness=likeness_of(server), stamp=stamp)


def stamp_of(workdir: Path) -> Stamp:
    """Which checkpoint is the best in a workdir now, without loading it. Raises InputError if there is none."""
    folder = folder_of(workdir)
    check_trained(folder, "workdir")
    return folder, best_first(steps_in(folder))[0].number
