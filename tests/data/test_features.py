"""Item features against scikit-learn's own preprocessing, by whichever way vectors come."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

from ancf_jax.data.dataset import load
from ancf_jax.data.features import _standardised, dense, encoded, item_categories, item_features, user_features
from ancf_jax.data.read.sources import read_attributes
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

ITEMS = """item,title,kind,price,also
c,Red mug,mug|gift,3,large
a,"Blue mug, red",mug,1,
b,,,,
c,again,lamp,9,twice
unsold,lamp,lamp,9,lamp
d,red red lamp,lamp|gift,8,
"""
IDS = np.array(["a", "b", "c", "d", "e"])  # e is in no table
TEXTS = ["Blue mug, red", "", "Red mug", "red red lamp", ""]


@pytest.fixture
def shop(tmp_path):
    """A log whose items are IDS, and a table of items."""
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"1,{item}\n" for item in IDS))
    return tmp_path


def features(folder, items=None, ids=IDS, **flags):
    flags.setdefault("items_path", str(folder / "items.csv"))
    return item_features(DataConfig(dataset=str(folder / "log.csv"), **flags), items, ids)


def test_text_is_scikit_learns_tf_idf(shop):
    found = features(shop, item_text=("title",))
    np.testing.assert_allclose(dense(found.vectors), TfidfVectorizer().fit_transform(TEXTS).toarray(), rtol=1e-6)
    assert found.kinds == {"text": 4} and found.missing == 2 and found.vectors.dtype == np.float32


def test_terms_are_the_most_frequent_of_all_columns(shop):
    found = features(shop, item_text=("title", "also"), text_terms=2)
    texts = ["Blue mug, red", "", "Red mug large", "red red lamp", ""]
    expected = TfidfVectorizer(max_features=2).fit(texts)
    assert expected.get_feature_names_out().tolist() == ["mug", "red"]
    np.testing.assert_allclose(dense(found.vectors), expected.transform(texts).toarray(), rtol=1e-6)


def test_words_are_encoded_as_the_text_of_an_item(shop):
    found = features(shop, item_text=("title",), item_categories=("kind",))
    query = encoded(found, "a RED lamp from mars")
    expected = TfidfVectorizer().fit(TEXTS).transform(["red lamp"]).toarray()[0]
    np.testing.assert_allclose(query, [*expected, 0, 0, 0], rtol=1e-6)
    assert not encoded(found, "mars").any() and features(shop, item_categories=("kind",)).words is None


def test_categories_of_items_by_name(shop):
    """A name that two columns have is one category; what is not named for lists is read from the data set."""
    config = DataConfig(f"{shop}/log.csv", items_path=f"{shop}/items.csv", item_categories=("kind", "title"))
    found = item_categories(config, None, IDS)
    assert found.names == ["Blue mug, red", "Red mug", "gift", "lamp", "mug", "red red lamp"]
    of = {IDS[item]: {found.names[n] for n in np.flatnonzero(row)} for item, row in enumerate(found.of.toarray())}
    assert of["a"] == {"Blue mug, red", "mug"} and of["c"] == {"Red mug", "mug", "gift"} and of["e"] == set()
    assert item_categories(DataConfig(f"{shop}/log.csv"), None, IDS) is None
    own = item_categories(DataConfig(f"{shop}/log.csv"), read_attributes(config, "item"), IDS)
    assert own.names == found.names
    nobody = item_categories(DataConfig(f"{shop}/log.csv"), read_attributes(config, "item"), np.array(["b", "e"]))
    assert nobody.names == [] and nobody.of.shape == (2, 0)


def test_categories_are_multi_hot_and_of_length_one_in_root_mean_square(shop):
    found = dense(features(shop, item_categories=("kind",)).vectors)
    hot = MultiLabelBinarizer().fit_transform([["mug"], [], ["mug", "gift"], ["lamp", "gift"], []])
    np.testing.assert_allclose(found, hot / np.sqrt(5 / 3), rtol=1e-6)  # 1, 2 and 2 categories


def test_categories_are_one_whatever_surrounds_them_and_however_they_are_composed(shop):
    kinds = [
        "Action|Comedy",
        " Action |\u00a0Comedy",
        "|Comedy||",
        "Comedy|Comedy",
        "caf\u00e9|cafe\u0301",
        "||",
        " | ",
    ]
    rows = "".join(f"{n},{kind}\n" for n, kind in enumerate(kinds))
    (shop / "items.csv").write_text(f"item,kind\n{rows}")
    found = features(shop, ids=np.array([str(n) for n in range(len(kinds))]), item_categories=("kind",))
    assert found.kinds == {"categories": 3} and found.missing == 2
    expected = [[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(dense(found.vectors) > 0, np.array(expected, bool))


def test_many_categories_are_never_dense(shop):
    size = 30_000
    (shop / "items.csv").write_text("item,seller\n" + "".join(f"{n},s{n}\n" for n in range(size)))
    tracemalloc.start()
    found = features(shop, ids=np.arange(size), item_categories=("seller",))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.vectors.shape == (size, size) and found.vectors.nnz == size
    assert peak < 100 * 2**20  # dense: 3.4 GiB


def test_rows_that_repeat_an_id_are_counted(shop):
    assert features(shop, item_categories=("kind",)).repeated == 1
    (shop / "items.csv").write_text("item,kind\na,x\n,y\n,z\nb,y\n")
    found = features(shop, item_categories=("kind",))
    assert found.repeated == 0 and found.missing == 3


@pytest.mark.parametrize("cell", ["inf", "-inf", "1e400", "Infinity"])
def test_numbers_that_are_not_finite_are_refused(shop, cell):
    (shop / "items.csv").write_text(f"item,price\na,1\nb,{cell}\n")
    with pytest.raises(InputError, match=r"items\.csv: line 3, column .price.: .* is (not a number|too large)"):
        features(shop, item_numbers=("price",))


def test_an_id_column_of_another_name(shop):
    expected = dense(features(shop, item_categories=("kind",), item_text=("title",)).vectors)
    (shop / "items.csv").write_text(ITEMS.replace("item,", "sku,", 1))
    found = features(shop, item_categories=("kind",), item_text=("title",), items_id_column="sku")
    np.testing.assert_array_equal(dense(found.vectors), expected)
    with pytest.raises(InputError, match=r"no column 'sk' \(--items_id_column\).*did you mean sku"):
        features(shop, item_categories=("kind",), items_id_column="sk")
    by_id = parquet(shop, sku=["a", "c"], v=[[2.0, 0.0], [0.0, 4.0]])
    assert features(shop, item_vectors=by_id, items_path="", items_id_column="sku").missing == 3


def test_numbers_are_standardised_and_the_missing_are_the_mean(shop):
    found = features(shop, item_numbers=("price",)).vectors
    expected = StandardScaler().fit_transform([[1.0], [np.nan], [3.0], [8.0], [np.nan]])
    np.testing.assert_allclose(found, np.nan_to_num(expected), rtol=1e-6)  # of mean square 1 already


@settings(max_examples=25)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, 5.0, np.nan]), min_size=3, max_size=3), min_size=1, max_size=6))
def test_any_numbers_give_finite_features(rows):
    table = np.array(rows)
    expected = np.zeros_like(table)
    for n, column in enumerate(table.T):
        if np.isfinite(column).any():
            expected[:, n] = np.nan_to_num(StandardScaler().fit_transform(column[:, None]))[:, 0]
    np.testing.assert_allclose(_standardised(table), expected, rtol=1e-6, atol=1e-9)


def parquet(folder, **columns):
    pd.DataFrame(columns).to_parquet(folder / "vectors.parquet")
    return str(folder / "vectors.parquet")


def npy(folder, rows):
    np.save(folder / "vectors.npy", rows)
    return str(folder / "vectors.npy")


def npz(folder):
    """Arrays as .npz, under the name of one that is .npy."""
    np.savez(folder / "vectors.npz", np.ones((6, 2)))
    return str((folder / "vectors.npz").rename(folder / "vectors.npy"))


def headed(folder, text):
    """A .npy file of a header that is damaged, or asks for more memory than there is."""
    header = text.replace("'shape'", "'descr': '<f8', 'fortran_order': False, 'shape'").encode()
    (folder / "vectors.npy").write_bytes(b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header)
    return str(folder / "vectors.npy")


VECTORS = np.array([[2, 0], [0, 0], [0, 4], [0, 0], [0, 0]])  # of items a to e


def test_vectors_by_id_as_lists_or_columns_or_in_the_order_of_the_table(shop):
    by_list = parquet(shop, item=["c", "a", "zz", "b"], v=[[0.0, 4.0], [2.0, 0.0], [9.0, 9.0], None])
    found = [features(shop, item_vectors=by_list, items_path="")]
    by_column = parquet(shop, item=["c", "a", "zz", "a"], x=[0, 2, 9, 7], y=[4.0, 0.0, 9.0, 7.0])
    found.append(features(shop, item_vectors=by_column, items_path=""))
    by_row = npy(shop, np.array([[0, 4], [2, 0], [0, 0], [7, 7], [9, 9], [0, 0]]))
    found.append(features(shop, item_vectors=by_row))
    for one in found:
        np.testing.assert_allclose(one.vectors, VECTORS / np.sqrt(10), rtol=1e-6)  # (4 + 16) / 2
        assert one.missing == 3 and one.kinds == {"vectors": 2}


def test_kinds_stand_side_by_side_and_ids_compare_as_text(shop):
    path = parquet(shop, item=["3", "4"], v=[[1.0], [1.0]])
    (shop / "items.csv").write_text("item,title\n3,three\n4,four\n")
    found = features(shop, ids=np.array([3, 4]), item_text=("title",), item_vectors=path)
    assert found.kinds == {"text": 2, "vectors": 1}
    np.testing.assert_allclose(dense(found.vectors), [[0, 1, 1], [1, 0, 1]])


def test_the_fingerprint_covers_features_that_are_read(shop):
    config = DataConfig(
        dataset=str(shop / "log.csv"), items_path=str(shop / "items.csv"), item_text=("title",), item_numbers=("price",)
    )
    plain, first = load(config), load(config, features=True)
    assert plain.features is None and first.features.vectors.shape == (5, 5)
    (shop / "items.csv").write_text(ITEMS.replace("Red mug", "Red cup"))
    assert load(config).fingerprint == plain.fingerprint
    second = load(config, features=True)
    assert len({plain.fingerprint, first.fingerprint, second.fingerprint}) == 3
    (shop / "items.csv").write_text(ITEMS.replace("gift,3", "gift,4"))
    assert load(config, features=True).fingerprint not in (first.fingerprint, second.fingerprint)


PEOPLE = "user,town,age,langs\nu2,Rome,40,it|en\nu9,Oslo,20,no\nu1,,30,en\nu2,Bonn,1,de\n"


def people(folder, users=None, ids=("u1", "u2", "u3"), **flags):
    (folder / "users.csv").write_text(PEOPLE)
    flags.setdefault("users_path", str(folder / "users.csv"))
    return user_features(DataConfig(dataset=str(folder / "log.csv"), **flags), users, np.array(ids))


def test_users_have_features_of_their_own(shop):
    found = people(shop, user_categories=("town", "langs"), user_numbers=("age",))
    hot = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0]])  # Rome, en, it: those of u1 and of the first row of u2
    age = StandardScaler().fit_transform([[30.0], [40.0], [np.nan]])
    expected = np.hstack([hot / np.sqrt((1 + 3) / 2), np.nan_to_num(age)])
    np.testing.assert_allclose(dense(found.vectors), expected, rtol=1e-6)
    assert found.kinds == {"categories": 3, "numbers": 1} and found.missing == 1 and found.words is None
    assert people(shop) is None and features(shop, users_path="none.csv", user_categories=("town",)) is None


def test_vectors_of_users(shop):
    by_id = parquet(shop, user=["u3", "u1"], v=[[0.0, 2.0], [2.0, 0.0]])
    expected = [[1, 0], [0, 0], [0, 1]]
    np.testing.assert_allclose(people(shop, user_vectors=by_id, users_path="").vectors, expected, rtol=1e-6)
    by_row = npy(shop, np.array([[0, 0], [5, 5], [3, 0], [9, 9]]))  # of u2, u9, u1, and u2 again
    np.testing.assert_allclose(people(shop, user_vectors=by_row).vectors, [[1, 0], [0, 0], [0, 0]], rtol=1e-6)


def test_the_data_set_has_the_features_of_users(shop):
    (shop / "log.csv").write_text("user,item\nu1,a\nu2,a\nu2,b\n")
    (shop / "users.csv").write_text(PEOPLE)
    config = DataConfig(dataset=str(shop / "log.csv"), users_path=str(shop / "users.csv"), user_numbers=("age",))
    assert load(config).user_features is None
    dataset = load(config, features=True)
    assert dataset.features is None  # nothing is said of items
    np.testing.assert_allclose(dataset.user_features.vectors, [[-1], [1]], rtol=1e-6)
    (shop / "users.csv").write_text(PEOPLE.replace("40", "50"))
    assert len({load(config).fingerprint, dataset.fingerprint, load(config, features=True).fingerprint}) == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"user_categories": ("city",)}, r"users\.csv: no column 'city' \(--user_categories\)"),
        ({"user_numbers": ("town",)}, r"users\.csv: line 2, column 'town': 'Rome' is not a number"),
        ({"user_numbers": ("age",), "users_path": "none.csv"}, "--users_path=none.csv: no such file"),
        ({"user_vectors": "nowhere.npy"}, "--user_vectors=nowhere.npy: no such file"),
        (
            {"user_vectors": lambda shop: npy(shop, np.ones((5, 2)))},
            r"legal are numbers \[4, F\].*row of --users_path=",
        ),
        ({"user_vectors": lambda shop: npy(shop, np.ones((4, 2))), "users_path": ""}, "rows of --users_path, which is"),
        ({"user_vectors": lambda shop: parquet(shop, item=["u1"], v=[[1.0]])}, r"no column 'user' \(--user_column\)"),
    ],
)
def test_bad_input_about_users_is_named(shop, flags, message):
    flags = {name: value(shop) if callable(value) else value for name, value in flags.items()}
    with pytest.raises(InputError, match=message):
        people(shop, **flags)


def test_nothing_is_known_without_flags(shop):
    assert features(shop) is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"item_text": ("name",)}, r"items\.csv: no column 'name' \(--item_text\)"),
        ({"item_numbers": ("kind",)}, r"items\.csv: line 2, column 'kind': 'mug\|gift' is not a number"),
        ({"item_vectors": "nowhere.npy"}, "--item_vectors=nowhere.npy: no such file"),
        ({"item_vectors": npz}, "it holds several arrays, as .npz does; legal is one"),
        ({"item_vectors": lambda shop: headed(shop, "{'shape': (6, 2")}, "cannot be read as a table"),
        ({"item_vectors": lambda shop: headed(shop, "{'shape': (9999999999999, 9)}")}, "cannot be read as a table"),
        ({"item_vectors": lambda shop: str(shop / "items.csv")}, r"must end in \.parquet or \.npy"),
        ({"item_vectors": lambda shop: npy(shop, np.ones((5, 2)))}, r"float64 \[5, 2\]; legal are numbers \[6, F\]"),
        ({"item_vectors": lambda shop: npy(shop, np.ones((6, 2))), "items_path": ""}, "which is not given"),
        ({"item_vectors": lambda shop: npy(shop, np.array([[1]] * 5 + [[np.inf]]))}, "row 6: number 1 of its vector"),
        ({"item_vectors": lambda shop: parquet(shop, id=[1], v=[[1.0]])}, r"no column 'item' \(--item_column\)"),
        ({"item_vectors": lambda shop: parquet(shop, item=[1])}, "no column beside 'item'"),
        ({"item_vectors": lambda shop: parquet(shop, item=[1, 2], v=["x", "y"])}, "column 'v' holds neither numbers"),
        (
            {"item_vectors": lambda shop: parquet(shop, item=["a", "b", "c"], v=[[1.0, 2.0], [3.0], [1.0, 1.0]])},
            "row 2, column 'v': 1 numbers, where others have 2",
        ),
    ],
)
def test_bad_input_is_named(shop, flags, message):
    flags = {name: value(shop) if callable(value) else value for name, value in flags.items()}
    with pytest.raises(InputError, match=message):
        features(shop, **flags)


def test_text_without_words_is_refused(shop):
    (shop / "items.csv").write_text("item,title\na,-\nb,!\n")
    with pytest.raises(InputError, match="--item_text=title: no item has a word"):
        features(shop, item_text=("title",))


def test_columns_need_a_table():
    with pytest.raises(InputError, match="flag --item_categories: names columns of --items_path"):
        DataConfig(item_categories=("kind",))
    with pytest.raises(InputError, match="flag --items_id_column: names a column of --items_path or --item_vectors"):
        DataConfig(items_id_column="sku")
    with pytest.raises(InputError, match="flag --user_numbers: names columns of --users_path"):
        DataConfig(user_numbers=("age",), items_path="items.csv")
