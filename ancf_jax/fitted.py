"""A trained model as Python people use it: evaluate, recommend, explain, similar, score, save."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ContextDecorator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ancf_jax.config import as_arguments, from_json
from ancf_jax.data.dataset import Dataset
from ancf_jax.runs.fit import Trained
from ancf_jax.runs.folder import keep
from ancf_jax.runs.results import evaluator_of
from ancf_jax.runs.run import Run
from ancf_jax.serving.explain import make_explainer
from ancf_jax.serving.lookup import item_of
from ancf_jax.serving.people import Added, Rows, joined, later_rows
from ancf_jax.serving.recommend import (
    Listed,
    Server,
    Wanted,
    for_history,
    for_users,
    make_server,
    rows_of_list,
    scores_of,
)
from ancf_jax.serving.similar import Likeness, likeness_of, similar_items
from ancf_jax.serving.tables import frame_of, vectors_of
from ancf_jax.settings import EvalConfig
from ancf_jax.types import InputError


class in_arguments(ContextDecorator):
    """Makes errors of a function speak of arguments, as scripts speak of flags."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, InputError):
            raise InputError(as_arguments(str(error))) from None


@dataclass(frozen=True)
class Fitted:
    """A trained model and the data that it was trained on. Users and items are given by their own ids."""

    trained: Trained
    later: Mapping[str, Rows] = field(default_factory=dict)  # what came after the log, by the users' own ids

    @property
    def run(self) -> Run:
        """The model's name and settings, as it was trained last."""
        return self.trained.run

    @property
    def dataset(self) -> Dataset:
        """What it was trained on; where that was the validation part too, that part is empty."""
        return self.trained.dataset

    @property
    def result(self) -> dict[str, Any]:
        """What result.json holds: the test metrics, the best epoch, seconds, versions and settings."""
        return self.trained.result

    @cached_property
    def _server(self) -> Server:
        server = make_server(self.dataset, self.trained.data, self.trained.model, self.trained.params)
        return server._replace(later=self.later)

    @cached_property
    def _likeness(self) -> Likeness:
        return likeness_of(self._server)

    @in_arguments()
    def evaluate(self, part: str = "test", *, full: bool = False, **settings: Any) -> dict[str, float]:
        """The metrics of the part "test" or "valid", such as "ndcg@10".

        By the data set's own protocol, or by full ranking; `settings` are fields of settings.EvalConfig, such as
        ks=(5, 12). Raises InputError if the part is empty, as "valid" is where the model was trained on it too; what
        its epoch was picked by is in `result["valid"]`.
        """
        run, dataset, data, model, params = self.trained[:5]
        if part == "valid" and not len(dataset.valid.users):
            raise InputError('argument part: the model was trained on the validation part too; legal is "test"')
        config = from_json(EvalConfig, settings)
        return evaluator_of(part, model, data, dataset, config, knows=run.train.knows, full=full)(params).metrics

    @in_arguments()
    def recommend(
        self,
        users: Sequence[Any] = (),
        *,
        history: Sequence[Any] = (),
        top_k: int = 10,
        items: Sequence[Any] | None = None,
        exclude: Sequence[Any] = (),
        categories: Sequence[str] = (),
        repeats: bool | None = None,
        diversity: float = 0.0,
    ) -> pd.DataFrame:
        """The best items of users, or of a new user with a history, oldest first: user, item, title, rank, score.

        What a score is, is said in `.attrs["score"]`.

        Args:
            users: whom to recommend to; give either these or a history.
            history: the items of a new user.
            top_k: items for each; fewer where fewer are left.
            items: the only items that may be recommended; all if not given.
            exclude: items that may not be, beside those that the user has.
            categories: of the item table, of which an item has to be of one.
            repeats: whether what the user has may come again; as the data set has it if not given.
            diversity: from 0, the best by score, to 1, the most unlike each other; see serving/diversity.py.

        Raises InputError that names an id or a category that is unknown.
        """
        rows = []
        if not 0 <= diversity <= 1:
            raise InputError(f"argument diversity: {diversity} is out of range; legal is from 0 to 1")
        among = None if items is None else [*map(str, items)]
        wanted = Wanted(top_k, among, [*map(str, exclude)], categories, repeats)
        if diversity:
            wanted = wanted._replace(diversity=diversity, alike=self._likeness.among)
        for listed in self._listed(users, history, wanted):
            for person, best, scores in zip(
                listed.people, *map(np.asarray, (listed.items, listed.scores)), strict=True
            ):
                named = rows_of_list(self.dataset, best, score=scores)
                rows += [{"user": person, "rank": rank} | row for rank, row in enumerate(named, start=1)]
        table = pd.DataFrame(rows, columns=["user", "item", "title", "rank", "score"])
        table.attrs["score"] = self._server.unit
        return table

    @in_arguments()
    def explain(
        self, users: Sequence[Any] = (), *, history: Sequence[Any] = (), top_k: int = 10, reasons: int = 3
    ) -> pd.DataFrame:
        """The past items behind each recommendation, strongest first: user, item, title, reason, reason_title, weight.

        What a weight is, is said in `.attrs["method"]`. Arguments and errors as for `recommend`.
        """
        data, model = self.trained.data, self.trained.model
        explain, rows, method = make_explainer(model, data.num_users, data.num_items, reasons), [], ""
        for listed in self._listed(users, history, Wanted(top_k)):
            found = explain(self._server.ready, listed.query, listed.items, listed.seen)
            method = found.method
            for person, *lists in zip(listed.people, *map(np.asarray, (listed.items, *found[1:3])), strict=True):
                for row in rows_of_list(self.dataset, lists[0], past=lists[1], weight=lists[2]):
                    about = {"user": person, "item": row["item"], "title": row["title"]}
                    for reason in rows_of_list(self.dataset, row["past"], weight=row["weight"]):
                        why = {"reason": reason["item"], "reason_title": reason["title"], "weight": reason["weight"]}
                        rows.append(about | why)
        table = pd.DataFrame(rows, columns=["user", "item", "title", "reason", "reason_title", "weight"])
        table.attrs["method"] = method
        return table

    @in_arguments()
    def similar(self, item: Any, top_k: int = 10) -> pd.DataFrame:
        """The items most like an item: item, title, rank, score; `.attrs["method"]` says how likeness is measured."""
        best, alike = similar_items(self._likeness, item_of(self.dataset, str(item)), top_k)
        named = rows_of_list(self.dataset, best, score=alike)
        rows = [{"rank": rank} | row for rank, row in enumerate(named, start=1)]
        table = pd.DataFrame(rows, columns=["item", "title", "rank", "score"])
        table.attrs["method"] = self._likeness.method
        return table

    @in_arguments()
    def score(self, pairs: pd.DataFrame | Sequence[tuple[Any, Any]]) -> np.ndarray:
        """The scores [P] of pairs of a user and an item. Raises InputError that names an id that is unknown."""
        table = pairs if isinstance(pairs, pd.DataFrame) else pd.DataFrame(list(pairs), columns=["user", "item"])
        return scores_of(self._server, *(table[side].astype(str).tolist() for side in ("user", "item")))

    @in_arguments()
    def save(self, path: str | Path) -> None:
        """Write the run to a folder, which `open_run` and the scripts open. Raises InputError if another is there."""
        keep(Path(path), self.run, self.dataset, self.trained.params, self.result)

    @in_arguments()
    def vectors(self) -> pd.DataFrame:
        """The vectors of items and users, whose inner product is the score: kind, id, vector.

        Raises InputError where the score is no inner product.
        """
        return pd.concat([table.to_pandas() for table in vectors_of(self._server, self.run.model)], ignore_index=True)

    @in_arguments()
    def fold_in(self, rows: pd.DataFrame) -> tuple["Fitted", Added]:
        """The same model with new rows in the histories of their users, and what became of them.

        The rows have the columns of the log that it was trained on; users that are not in it become known by them.
        Raises InputError that names the column or row.
        """
        later, added = later_rows(self.dataset, frame_of(rows, self.run.data))
        return Fitted(self.trained, joined(self.later, later)), added

    def _listed(self, users: Sequence[Any], history: Sequence[Any], wanted: Wanted) -> Iterator[Listed]:
        if bool(len(users)) == bool(len(history)):
            raise InputError("give either users or a history")
        if len(history):
            return iter([for_history(self._server, [*map(str, history)], wanted)])
        return for_users(self._server, [*map(str, users)], wanted)
