"""Load on a service, by locust: users' lists, and with FEEDBACK=1 what they did as well.

    locust -f experiments/load/recommend.py --headless --host=http://127.0.0.1:8000 --users=100 --spawn-rate=100 \
        --run-time=2m --csv=load

Each simulated user asks once a second, at a constant pace, so 100 are 100 requests a second. Who is asked for are the
users that the service knows. $TOKEN is sent if the service wants one.
"""

import itertools
import os
import random

from locust import FastHttpUser, constant_throughput, events, task

TOKEN, FEEDBACK = os.environ.get("TOKEN", ""), os.environ.get("FEEDBACK", "")
HEADERS = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
people: list[int | str] = []
_count = itertools.count()


class Person(FastHttpUser):
    """Asks for a list once a second, and every tenth time says what became of it."""

    wait_time = constant_throughput(1)

    def on_start(self) -> None:
        """Whom the service knows, once."""
        if not people:
            people.extend(self.client.get("/users?limit=100", headers=HEADERS).json()["users"])

    @task
    def recommend(self) -> None:
        """A list of ten, and feedback on its first."""
        user = random.choice(people)
        answer = self.client.post("/recommend", json={"user": user, "top_k": 10}, headers=HEADERS)
        if FEEDBACK and next(_count) % 10 == 0:
            self.client.post(
                "/feedback", json={"user": user, "item": answer.json()["items"][0]["item"]}, headers=HEADERS
            )


@events.quitting.add_listener
def failed(environment, **_: object) -> None:
    """A failed request fails the run."""
    environment.process_exit_code = 1 if environment.stats.total.fail_ratio else 0
