import dataclasses
import gzip

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data.dataset import load, ranked
from ancf_jax.data.read.sources import read
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def named(name, tmp_path, **fields) -> DataConfig:
    return DataConfig(dataset=name, data_dir=str(tmp_path), **fields)


def rows_of(frame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,85123A,RED MUG ,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
1,POST,POSTAGE,1,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
2,85123A,MUG,3,2010-12-01 08:28:00,2.55,,United Kingdom
3,85123A,"MUG, RED",2,2010-12-02 08:26:00,2.55,13047.0,France
3,85123A,RED MUG,2,2010-12-02 08:26:00,2.55,13047.0,France
C4,85123A,broken,-2,2010-12-03 08:26:00,2.55,13047.0,France
5,85123A,broken,-2,2010-12-03 08:26:00,2.55,,France
6,22423,broken,-2,2010-12-03 08:26:00,2.55,,France
7,22423,,4,2010-12-04 08:26:00,0,13047.0,France
8,15056BL,PARASOL,1,2010-12-04 08:26:00,0,13047.0,France
8,15056bl,PARASOL,2,2010-12-04 08:26:00,0,13047.0,France
"""


def test_online_retail(tmp_path):
    write(tmp_path / "online-retail" / "online_retail.csv.gz", gzip.compress(RETAIL.encode()))
    config = DataConfig(dataset="online-retail", data_dir=str(tmp_path), split="cold-items", fractions=(0.6, 0.1, 0.3))
    source = read(config)
    assert rows_of(source.frame)[:2] == [(17850, "85123A", 6.0, 1291191960), (17850, "POST", 1.0, 1291191960)]
    assert source.frame["user"].isna().sum() == 3 and source.frame["value"].min() == -2
    titles = {"15056BL": "PARASOL", "85123A": "RED MUG", "POST": "POSTAGE"}  # as sold, most often
    assert source.titles.to_dict() == titles
    dataset = load(config, features=True)
    # no customer, POST, a return and what it took back, a code in small letters
    assert [rule.rows for rule in dataset.removed] == [3, 1, 1, 1, 1]
    assert dataset.titles == ["PARASOL", "22423", "RED MUG"] and dataset.features.missing == 1
    assert len(dataset.test.users) == (dataset.item_ids[dataset.test.items[0]] == "85123A") + 1
    np.testing.assert_array_equal(ranked(dataset, dataset.test), [dataset.test.items[0]])
    assert ranked(dataset._replace(split="random"), dataset.test) is None


def test_the_last_basket_of_a_named_shop(tmp_path):
    """What is new in a customer's third invoice, or all of it; who has two invoices only trains."""
    head = RETAIL.partition("\n")[0]
    bought = [(1, 1, "X"), (1, 1, "Y"), (1, 2, "X"), (1, 3, "Y"), (1, 3, "Z"), (2, 4, "X"), (2, 5, "Z")]
    rows = [f"{invoice},{item},{item},1,2010-12-0{invoice} 08:26:00,1,{user},x" for user, invoice, item in bought]
    write(tmp_path / "online-retail" / "online_retail.csv.gz", gzip.compress("\n".join([head, *rows]).encode()))
    config = named("online-retail", tmp_path)
    assert load(config).split == "leave-one-out" and not load(config).repeats
    for repeats, expected in (
        ("auto", [["X", "Y", "X", "Z"], [], ["Z"]]),
        ("keep", [["X", "Y", "X", "Z"], ["X"], ["Y", "Z"]]),
    ):
        dataset = load(dataclasses.replace(config, split="leave-last-basket-out", repeats=repeats))
        parts = (dataset.train, dataset.valid, dataset.test)
        assert [[dataset.item_ids[item] for item in part.items] for part in parts] == expected
        assert dataset.repeats == (repeats == "keep")


def test_a_named_data_set_without_baskets(tmp_path, ncf_files):
    for name, text in ncf_files.items():
        write(tmp_path / "ncf" / name, text)
    with pytest.raises(InputError, match="--split=leave-last-basket-out: --dataset=ncf-ml-1m has no baskets"):
        read(DataConfig(dataset="ncf-ml-1m", data_dir=str(tmp_path), split="leave-last-basket-out"))


def test_online_retail_is_put_there_by_hand(tmp_path):
    with pytest.raises(InputError, match=r"put online_retail\.csv\.gz \(the sheet of https://archive.*/online-retail"):
        read(DataConfig(dataset="online-retail", data_dir=str(tmp_path)))


def test_online_retail_with_a_column_too_few(tmp_path):
    table = RETAIL.replace("Quantity", "Number")
    write(tmp_path / "online-retail" / "online_retail.csv.gz", gzip.compress(table.encode()))
    with pytest.raises(InputError, match=r"online_retail\.csv\.gz: no column 'Quantity'"):
        read(DataConfig(dataset="online-retail", data_dir=str(tmp_path)))


def complete_journey(folder, **columns):
    folder.mkdir(exist_ok=True)
    log = {
        "household_id": [900, 900, 901, 900, 901],
        "basket_id": [1, 1, 2, 3, 4],
        "product_id": [25, 26, 26, 25, 27],
        "quantity": [2, 0, 1, 3, 1],
        "transaction_timestamp": pd.to_datetime(["2017-01-01 11:53:26"] * 3 + ["2017-01-02 08:00:00"] * 2),
    }
    pd.DataFrame(log | columns).to_parquet(folder / "transactions.parquet")
    products = {
        "product_id": [25, 26, 28],
        "department": ["GROCERY", "MISCELLANEOUS", "FUEL"],
        "brand": ["National", "Private", "National"],
        "product_category": ["FRZN ICE", None, "FUEL"],
        "product_type": ["ICE - CRUSHED", None, "GASOLINE"],
        "package_size": ["22 LB", None, None],
    }
    pd.DataFrame(products).to_parquet(folder / "products.parquet")


def test_complete_journey_says_that_it_is_simulated(tmp_path):
    complete_journey(tmp_path / "complete-journey")
    config = named("complete-journey", tmp_path)
    source = read(config)
    assert rows_of(source.frame)[0] == (900, 25, 2.0, 1483271606) and len(source.frame) == 5
    assert source.titles.to_dict() == {25: "ICE - CRUSHED, 22 LB", 26: "MISCELLANEOUS", 28: "GASOLINE"}
    assert source.users is None
    dataset = load(config, features=True)
    assert dataset.name == "complete-journey (simulated)" and dataset.titles[2] == "27"
    assert {rule.rule: rule.rows for rule in dataset.removed} == {
        "value below 1": 1,
        "repeated user and item, added to its latest": 1,
    }
    # departments 2, categories 1, brands 2; words ice, crushed and miscellaneous; nothing is known of product 27
    assert dataset.features.kinds == {"text": 3, "categories": 5} and dataset.features.missing == 1


def test_households_of_complete_journey(tmp_path):
    complete_journey(tmp_path / "complete-journey")
    people = {"household_id": [901], "age": ["65+"], "income": ["35-49K"], "home_ownership": [None]}
    people |= {"marital_status": ["Married"], "household_size": ["2"], "kids_count": ["0"]}
    pd.DataFrame(people).to_parquet(tmp_path / "complete-journey" / "demographics.parquet")
    users = load(named("complete-journey", tmp_path), features=True).user_features
    np.testing.assert_allclose(users.vectors.toarray(), [[0] * 5, [1 / np.sqrt(5)] * 5], rtol=1e-6)
    assert users.missing == 1


def test_complete_journey_without_a_column(tmp_path):
    complete_journey(tmp_path / "complete-journey")
    path = tmp_path / "complete-journey" / "products.parquet"
    pd.read_parquet(path).drop(columns="brand").to_parquet(path)
    with pytest.raises(InputError, match=r"products\.parquet: no column 'brand'"):
        read(named("complete-journey", tmp_path))


def test_amazon_beauty(tmp_path):
    rows = [f"A{user},B00{item},{1 + item}.0,13696992{user}{item}\n" for user in range(5) for item in range(5)]
    write(tmp_path / "amazon-beauty" / "ratings_Beauty.csv", "".join(rows) + "A9,B001,2.0,1369699200\n")
    config = named("amazon-beauty", tmp_path)
    source = read(config)
    assert rows_of(source.frame)[1] == ("A0", "B001", 2.0, 1369699201) and source.titles is None
    dataset = load(config)
    assert [rule.rows for rule in dataset.removed] == [1]  # A9 has a single rating
    assert load(named("amazon-beauty", tmp_path, user_core=1, item_core=1)).removed == []
    products = [
        "{'asin': 'B001', 'title': 'Soap &amp; brush', 'categories': [['Beauty', 'Bath'], ['Beauty', 'Tools|Sets']]}",
        "{'asin': 'B002', 'price': 3.5, 'related': {'also_bought': ['B001']}, 'categories': [['Beauty']]}",
        "{'asin': 'B003', 'title': 'Cr\xe8me', 'categories': [['Beauty', 'Bath']]}",
    ]
    write(tmp_path / "amazon-beauty" / "meta_Beauty.json.gz", gzip.compress("\n".join(products).encode()))
    source = read(config)
    assert source.titles.to_dict() == {"B001": "Soap & brush", "B003": "Cr\xe8me"}
    assert source.items.frame["categories"].tolist() == ["Bath|Beauty|Tools Sets", "Beauty", "Bath|Beauty"]
    assert load(config, features=True).features.kinds == {"text": 3, "categories": 3}


REVIEW = "{u'username': u'%s', u'hours': 0.1, u'early_access': False, u'product_id': u'%s', u'date': u'%s'}\n"


def test_steam(tmp_path):
    lines = [REVIEW % ("Chaos Syren\\u2122", "725280", "2017-12-17"), REVIEW % ("b", "328100", "2018-01-02")]
    lines.append("{'product_id': '328100', 'date': '2018-01-02', 'text': 'it\\'s \"good\"'}\n")  # nobody's
    path = tmp_path / "steam" / "steam_reviews.json.gz"
    write(path, gzip.compress("".join(lines).encode()))
    source = read(named("steam", tmp_path))
    assert rows_of(source.frame)[:2] == [("Chaos Syren\u2122", "725280", 1, 1513468800), ("b", "328100", 1, 1514851200)]
    assert source.frame["user"].isna().tolist() == [False, False, True]
    assert source.rules.user_core == source.rules.item_core == 5 and source.items is None
    games = "{u'app_name': u'Ki\u0161a', u'id': u'725280', u'genres': [u'Indie', u'Action'], u'tags': [u'Indie']}\n"
    games += "{u'app_name': u'No id'}\n{u'id': u'5', u'tags': []}\n"
    write(tmp_path / "steam" / "steam_games.json.gz", gzip.compress(games.encode()))
    source = read(named("steam", tmp_path))
    assert source.titles.to_dict() == {"725280": "Ki\u0161a"}
    assert rows_of(source.items.frame[["id", "genres"]].fillna("")) == [("725280", "Action|Indie"), ("5", "")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("__import__('os').getcwd()\n", "line 2 is not a dict as Python writes it"),
        ("{'username': 'a'\n", "line 2 is not a dict as Python writes it"),
        ("['username']\n", "line 2 is not a dict as Python writes it"),
        (REVIEW % ("a", "1", "last week"), "line 2: date 'last week' is not written as 2018-01-31"),
        ("{'username': 'a', 'product_id': '1'}", "line 2: date None is not written as"),
    ],
)
def test_a_bad_line_of_steam_is_named(tmp_path, line, message):
    lines = REVIEW % ("a", "1", "2017-12-17") + line
    write(tmp_path / "steam" / "steam_reviews.json.gz", gzip.compress(lines.encode()))
    with pytest.raises(InputError, match=rf"steam_reviews\.json\.gz: cannot be read as a table: {message}"):
        read(named("steam", tmp_path))
