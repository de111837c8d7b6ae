"""A newer checkpoint is taken while requests come, and none of them fails."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from ancf_jax.runs.run import open_trained
from ancf_jax.serving.service import programs
from ancf_jax.serving.service.app import make_app
from ancf_jax.serving.service.live import newer, open_live
from ancf_jax.training.checkpoint import save
from ancf_jax.training.loop import TrainState

pytestmark = pytest.mark.xdist_group("service")


@pytest.fixture
def trained(workdir, tmp_path):
    """A copy of the run, and what saves a better model in it: the same with all its parameters turned round."""
    shutil.copytree(workdir, tmp_path / "run")
    params = open_trained(tmp_path / "run")[4]

    def better(epoch):
        turned = jax.tree.map(lambda leaf: -leaf, params)
        save(tmp_path / "run", TrainState(jnp.int32(epoch), turned, ()), 1e9)

    return tmp_path / "run", better


def test_no_request_fails_while_a_newer_checkpoint_is_taken(trained, serve):
    folder, better = trained
    live = open_live(folder)
    app = make_app(live, reload_every=0.02, look=partial(newer, workdir=folder))

    def ask(client, user):
        return client.post("/recommend", json={"user": user, "top_k": 9})

    with serve(app) as client, ThreadPoolExecutor(4) as pool:
        before = ask(client, "c03").json()
        users = [f"c{n % 12:02}" for n in range(40)]
        waiting = [pool.submit(ask, client, user) for user in users]
        better(2)
        while "ancf_reloads_total 0.0" in client.get("/metrics").text:
            waiting += [pool.submit(ask, client, user) for user in users[:4]]
        assert {each.result().status_code for each in waiting} == {200}
        after = ask(client, "c03").json()
    scores = [{row["item"]: row["score"] for row in answer["items"]} for answer in (before, after)]
    assert scores[0].keys() == scores[1].keys() and scores[0] != scores[1]


def test_nothing_compiles_once_a_model_answers(trained, request):
    folder, better = trained
    live = open_live(folder)
    assert newer(live, folder) is live
    better(2)
    counts = []

    def count(event, *args, **rest):
        counts.append(event)

    jax.monitoring.register_event_duration_secs_listener(count)
    request.addfinalizer(lambda: jax.monitoring.unregister_event_duration_listener(count))
    found = newer(live, folder)
    counts.clear()  # what a model is made ready by may compile, beside what answers
    nobody = programs.new_person(found.server.dataset, found.server.data, ())
    hidden = programs.np.zeros(1, programs.np.uint32)
    for size in (1, 2, 3, 7, 16):
        programs.lists(found.programs, found.server, [nobody] * size, [hidden] * size)
    programs.scores(found.programs, found.server, nobody, programs.np.arange(7))
    programs.reasons(found.programs, found.server, nobody, programs.np.arange(12))
    assert found.stamp != live.stamp and not [event for event in counts if "compile" in event]
