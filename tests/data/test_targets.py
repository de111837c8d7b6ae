import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data import targets
from ancf_jax.data.dataset import load
from ancf_jax.data.interactions import build
from ancf_jax.settings import TARGETS, DataConfig
from ancf_jax.types import InputError

USERS, ITEMS = 4, 5  # the last of each has no training row
TRAIN = [(0, 0, 4.0), (0, 1, 2.0), (1, 0, 1.0), (1, 2, 6.0), (1, 3, 2.0), (2, 3, 9.0)]
TEST = [(0, 4, 3.0), (2, 0, 1.5), (3, 4, 8.0)]


def part(rows):
    users, items, values = zip(*rows, strict=True) if rows else ([], [], [])
    return build(np.array(users, int), np.array(items, int), np.array(values, float), np.arange(len(rows)), USERS)


def by_hand(kind, user, item, value):
    """The definition, row by row."""
    values = [row[2] for row in TRAIN]
    if kind == "log":
        return np.log(1 + value)
    if kind in ("user", "item"):
        own = [row[2] for row in TRAIN if row[kind == "item"] == (user, item)[kind == "item"]]
        return value / np.mean(own or values)
    if kind == "z-score":
        return (value - np.mean(values)) / np.sqrt(np.mean((values - np.mean(values)) ** 2))
    return (value - min(values)) / (max(values) - min(values)) if kind == "min-max" else value


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("rows", [TRAIN, TEST], ids=["train", "test"])
def test_targets_are_as_defined(kind, rows):
    target = targets.fit(kind, part(TRAIN), ITEMS)
    made = targets.apply(target, part(rows))
    expected = [by_hand(kind, *row) for row in sorted(rows, key=lambda row: row[0])]
    np.testing.assert_allclose(made.values, expected, rtol=1e-6)
    assert made.values.dtype == np.float32
    for before, after in zip(part(rows), made, strict=True):
        if before is not None and before.dtype != np.float32:
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("kind", TARGETS)
def test_targets_are_restored_to_the_values_that_were_read(kind):
    target = targets.fit(kind, part(TRAIN), ITEMS)
    for rows in (TRAIN, TEST):
        users, items, values = np.array(sorted(rows, key=lambda row: row[0])).T
        made = targets.apply(target, part(rows)).values
        found = targets.restore(target, users.astype(int), items.astype(int), made)
        np.testing.assert_allclose(found, values, rtol=1e-6)
    unknown = targets.restore(target, np.array([USERS]), np.array([ITEMS]), np.array([1.0]))
    if kind in ("user", "item"):
        assert unknown == pytest.approx(np.mean([row[2] for row in TRAIN]))


@pytest.mark.parametrize("kind", TARGETS)
def test_clipped_values_stay_within_those_of_the_training_part(kind):
    target = targets.fit(kind, part(TRAIN), ITEMS)
    nobody = np.zeros(3, int)
    found = targets.restore(target, nobody, nobody, np.array([-9.0, 0.6, 99.0]), clip=True)
    assert found[0] == 1 and 1 <= found[1] < 9 and found[2] == 9
    assert targets.restore(target, nobody, nobody, np.array([99.0] * 3)).max() > 9


quantities = st.lists(st.integers(1, 9), min_size=6, max_size=6)


@settings(max_examples=20, deadline=None)
@given(quantities, st.sampled_from(TARGETS))
def test_standardised_parts(values, kind):
    train = part([(*row[:2], float(value)) for row, value in zip(TRAIN, values, strict=True)])
    made = np.asarray(targets.apply(targets.fit(kind, train, ITEMS), train).values, np.float64)
    if kind == "z-score":
        assert made.mean() == pytest.approx(0, abs=1e-5)
        assert made.std() == pytest.approx(float(len(set(values)) > 1), abs=1e-5)
    if kind == "min-max":
        assert made.min() == 0 and made.max() == (float(len(set(values)) > 1))
    if kind in ("user", "item"):
        ids = np.asarray(train.users if kind == "user" else train.items)
        assert [made[ids == n].mean() for n in set(ids.tolist())] == pytest.approx([1] * len(set(ids.tolist())))


LOG = "user,item,value\n" + "".join(f"{n % 5},{n // 2},{n % 7 + 1}\n" for n in range(40))


@pytest.mark.parametrize("kind", TARGETS)
def test_nothing_held_out_reaches_the_target_of_another_row(tmp_path, kind):
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    config = DataConfig(dataset=str(path), value_column="value", split="time", fractions=(0.7, 0.1, 0.2), target=kind)
    before = load(config)
    lines = LOG.splitlines()
    path.write_text("\n".join(lines[:33] + [f"{line.rsplit(',', 1)[0]},900" for line in lines[33:]]))
    after = load(config)
    np.testing.assert_array_equal(before.train.values, after.train.values)
    np.testing.assert_array_equal(before.valid.values, after.valid.values)
    assert (before.test.values < after.test.values).all() and before.fingerprint != after.fingerprint


def test_the_value_itself_is_the_default(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    dataset = load(DataConfig(dataset=str(tmp_path / "log.csv"), value_column="value", split="time"))
    assert set(dataset.train.values.tolist()) == {1, 2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize("kind", ["z-score", "min-max"])
def test_values_that_are_all_the_same(kind):
    same = part([(*row[:2], 0.1) for row in TRAIN])
    assert targets.apply(targets.fit(kind, same, ITEMS), same).values.tolist() == [0.0] * 6


def test_users_without_a_mean_above_0_have_the_mean_of_all():
    train = part([(0, 0, 2.0), (0, 1, -2.0), (1, 0, -1.0), (2, 0, 9.0)])
    assert targets.apply(targets.fit("user", train, ITEMS), train).values.tolist() == [1, -1, -0.5, 1]


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        ("log", [(0, 0, 3.0), (1, 1, -1.0)], "flag --target: log needs values above -1, and one is -1; --returns=drop"),
        (
            "user",
            [(0, 0, 1.0), (1, 1, -3.0)],
            "flag --target: user divides by means, and that of .* is -1, not above",
        ),
        ("item", [(0, 0, 0.0)], "flag --target: item divides by means, and that of all training rows is 0, not above"),
        ("z-score", [], "flag --target: z-score needs training rows, and there are none; legal are value and log"),
    ],
)
def test_values_that_have_no_target(kind, rows, message):
    with pytest.raises(InputError, match=message):
        targets.apply(targets.fit(kind, part(rows), ITEMS), part(rows))
