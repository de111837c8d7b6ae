"""What requests hold and answers are, as types that are checked and that /openapi.json shows."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from ancf_jax.serving.service.programs import LONGEST, REASONS

MOST_IDS = 10_000  # in a list of a request
LATEST = 253402300799.0  # the last second of the year 9999

Text = Annotated[StrictStr, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
Id = Text | Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
Ids = Annotated[list[Id], Field(max_length=MOST_IDS)]
Time = Annotated[StrictFloat | StrictInt, Field(ge=0, le=LATEST, allow_inf_nan=False)]
Number = Annotated[StrictFloat | StrictInt, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]


class Body(BaseModel):
    """A request: what it may not hold is refused."""

    model_config = ConfigDict(extra="forbid")


class Whom(Body):
    """A user, or the history of somebody new: one of the two."""

    user: Id | None = None
    history: Ids | None = Field(default=None, description="items, oldest first")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Whom":
        if (self.user is None) == (self.history is None):
            raise ValueError("give either a user or a history")
        return self


class RecommendBody(Whom):
    """For whom, how many, and what may be recommended."""

    top_k: Annotated[StrictInt, Field(ge=1, le=LONGEST)] = 10
    items: Ids | None = Field(default=None, description="the only items that may be recommended")
    exclude: Annotated[Ids, Field(description="items that may not")] = []
    categories: Annotated[list[Text], Field(max_length=100, description="only items of one of these")] = []
    repeats: StrictBool | None = Field(
        default=None, description="what a user has may come again; null: as the data set has it"
    )
    explain: StrictBool = False


class SimilarBody(Body):
    """Which item, and how many like it."""

    item: Id
    top_k: Annotated[StrictInt, Field(ge=1, le=LONGEST)] = 10


class ExplainBody(Whom):
    """For whom which items are explained, by how many reasons each."""

    items: Annotated[list[Id], Field(min_length=1, max_length=20)]
    reasons: Annotated[StrictInt, Field(ge=1, le=REASONS)] = 10


class ScoreBody(Whom):
    """For whom which items are scored."""

    items: Annotated[list[Id], Field(min_length=1, max_length=1000)]


class FeedbackBody(Body):
    """What a user did: the time is in seconds since 1970, now if it is not given."""

    user: Id
    item: Id
    value: Number = 1.0
    time: Time | None = None


class Reason(BaseModel):
    item: str | int
    title: str
    weight: float


class ReasonOfHeads(Reason):
    heads: list[float]


class Item(BaseModel):
    item: str | int
    title: str


class Scored(Item):
    score: float


class Recommended(Scored):
    reasons: list[Reason]


class Explained(Scored):
    reasons: list[ReasonOfHeads]


class RecommendAnswer(BaseModel):
    model: str
    user: str | int | None
    items: list[Recommended]


class SimilarAnswer(BaseModel):
    model: str
    item: str | int
    method: str
    items: list[Scored]


class ExplainAnswer(BaseModel):
    model: str
    user: str | int | None
    method: str
    items: list[Explained]


class ScoreAnswer(BaseModel):
    model: str
    user: str | int | None
    unit: str
    items: list[Scored]


class FeedbackAnswer(BaseModel):
    user: str | int
    item: str | int
    value: float
    time: float


class UserAnswer(BaseModel):
    user: str | int
    trained: bool
    history: list[Item]


class UsersAnswer(BaseModel):
    users: list[str | int]


class ItemsAnswer(BaseModel):
    items: list[Item]


class Health(BaseModel):
    status: str


class Problem(BaseModel):
    error: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside its own, for /openapi.json."""
    return {status: {"model": Problem} for status in (*statuses, 401, 408, 413, 429, 431, 500)}
