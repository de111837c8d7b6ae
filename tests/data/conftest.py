"""Small data sets in the published formats, written where a test wants them."""

import numpy as np
import pytest

NCF_ITEMS = 230


@pytest.fixture(autouse=True)
def no_machine(tmp_path, monkeypatch):
    """No test sees the data sets, the cache or the environment of the machine it runs on."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ANCF_DATA_DIR", raising=False)


@pytest.fixture
def ncf_files() -> dict[str, str]:
    """Three users with the quirks of the published files: user 0's positive is among its negatives, item 229 occurs
    in no training row, user 1's last rows all have the same time, and its test row ties with them."""
    rng = np.random.default_rng(0)
    train, test, negatives = [], [(0, 225, 5, 9000), (1, 226, 3, 500), (2, 229, 4, 9000)], []
    for user in range(3):
        for n, item in enumerate(rng.permutation(225)[:20]):
            time = 500 if user == 1 and n >= 15 else 100 + n
            train.append((user, item, 1 + n % 5, time))
    for user, item, _, _ in test:
        seen = {row[1] for row in train if row[0] == user} | {item}
        drawn = rng.permutation([other for other in range(NCF_ITEMS) if other not in seen])[:99]
        if user == 0:
            drawn[7] = item
        negatives.append("\t".join([f"({user},{item})", *map(str, drawn)]))
    return {
        "ml-1m.train.rating": "".join("\t".join(map(str, row)) + "\n" for row in train),
        "ml-1m.test.rating": "".join("\t".join(map(str, row)) + "\n" for row in test),
        "ml-1m.test.negative": "\n".join(negatives) + "\n",
    }


@pytest.fixture
def ncf_dir(tmp_path, ncf_files):
    """The --data_dir above a folder of the NCF files."""
    folder = tmp_path / "originals" / "ncf"
    folder.mkdir(parents=True)
    for name, text in ncf_files.items():
        (folder / name).write_text(text)
    return folder.parent
