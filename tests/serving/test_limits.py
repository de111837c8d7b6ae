"""What is hidden, as bits, against sets."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse

from ancf_jax.data.features import Categories
from ancf_jax.serving.limits import hidden_from, hidden_from_all
from ancf_jax.serving.lookup import UnknownId
from ancf_jax.serving.people import Person

ITEMS = 40
OF = np.zeros((ITEMS, 2), np.float32)
OF[:10, 0], OF[5:12, 1] = 1, 1
SHOP = SimpleNamespace(
    name="shop", item_ids=np.arange(ITEMS), categories=Categories(["mug", "tea"], scipy.sparse.csr_matrix(OF))
)


def shown(bits):
    """The items that a row of bits does not hide."""
    return {item for item in range(ITEMS) if not bits[item // 32] >> (item % 32) & 1}


def test_what_nobody_is_shown():
    assert shown(hidden_from_all(SHOP)) == set(range(ITEMS))
    assert shown(hidden_from_all(SHOP, ["3", "39"])) == {3, 39} and shown(hidden_from_all(SHOP, [])) == set()
    assert shown(hidden_from_all(SHOP, ["3", "39", "7"], exclude=["7"])) == {3, 39}
    assert shown(hidden_from_all(SHOP, categories=["tea"])) == set(range(5, 12))
    assert shown(hidden_from_all(SHOP, categories=["tea", "mug"], exclude=["0"])) == set(range(1, 12))


@pytest.mark.parametrize("repeats", [False, True])
def test_what_each_has_is_hidden_from_them_unless_it_may_come_again(repeats):
    people = [Person("a", 0, np.array(items, np.int32), None) for items in ([1, 33, 1], [], [0, 31, 32, 39])]
    for one, bits in zip(people, hidden_from(hidden_from_all(SHOP, exclude=["5"]), people, repeats), strict=True):
        assert shown(bits) == set(range(ITEMS)) - {5} - (set() if repeats else set(one.items.tolist()))


def test_what_is_unknown_is_named():
    with pytest.raises(UnknownId, match="flag --categories: 'mgu' is unknown; the nearest are mug"):
        hidden_from_all(SHOP, categories=["mgu"])
    with pytest.raises(UnknownId, match="the items of shop have none"):
        hidden_from_all(SimpleNamespace(name="shop", item_ids=np.arange(3), categories=None), categories=["mug"])
    with pytest.raises(UnknownId, match="unknown item '99'"):
        hidden_from_all(SHOP, exclude=["99"])
