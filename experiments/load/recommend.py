"""Load on a service, by locust: users' lists, and with FEEDBACK=1 what they did as well.

    locust -f experiments/load/recommend.py --headless --host=http://127.0.0.1:8000 --users=100 --spawn-rate=100 \
        --run-time=2m --csv=load

Each simulated user asks once a second, from a random moment on, so 100 are 100 requests a second, some of them at once
by chance. Whom they ask for is drawn anew each time, from the ids in the file $PEOPLE, one a line, or from the first
hundred that the service knows; with DISTINCT=1 nobody is asked for twice. $TOKEN is sent if the service wants one.
$REPORT is a JSON file to be written: the requests, those that failed, and the milliseconds of the others.
`experiments.load.service` starts a service and this.
"""

import itertools
import json
import os
import random
import time
from pathlib import Path

from locust import FastHttpUser, events, task

TOKEN, FEEDBACK, DISTINCT, REPORT = (os.environ.get(name, "") for name in ("TOKEN", "FEEDBACK", "DISTINCT", "REPORT"))
HEADERS = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
people: list[str] = Path(os.environ["PEOPLE"]).read_text().splitlines() if "PEOPLE" in os.environ else []
took: list[float] = []
_count = itertools.count()


class Person(FastHttpUser):
    """Asks for a list once a second, and every tenth time says what became of it."""

    def on_start(self) -> None:
        """Whom the service knows, once; and not all at once."""
        if not people:
            found = self.client.get("/users?limit=100", headers=HEADERS).json()["users"]
            people.extend(map(str, found))
        self.due = time.monotonic() + random.random()
        time.sleep(self.due - time.monotonic())

    def wait_time(self) -> float:
        """The seconds until the next request is due; locust's own pace would bring all users back together."""
        self.due += 1
        return max(self.due - time.monotonic(), 0)

    @task
    def recommend(self) -> None:
        """A list of ten, and feedback on its first."""
        user = people.pop(random.randrange(len(people))) if DISTINCT else random.choice(people)
        answer = self.client.post("/recommend", json={"user": user, "top_k": 10}, headers=HEADERS)
        if FEEDBACK and next(_count) % 10 == 0:
            self.client.post(
                "/feedback", json={"user": user, "item": answer.json()["items"][0]["item"]}, headers=HEADERS
            )


@events.request.add_listener
def note(response_time: float, exception: Exception | None, **_: object) -> None:
    """What a request took."""
    if exception is None:
        took.append(response_time)


@events.quitting.add_listener
def failed(environment, **_: object) -> None:
    """A failed request fails the run."""
    total = environment.stats.total
    environment.process_exit_code = 1 if total.fail_ratio else 0
    if REPORT:
        told = {"requests": total.num_requests, "failures": total.num_failures, "milliseconds": took}
        Path(REPORT).write_text(json.dumps(told))
