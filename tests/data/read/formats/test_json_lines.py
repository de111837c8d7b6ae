import gzip

import pytest

from ancf_jax.data.read.sources import read
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


def frame_of(tmp_path, content, name="log.jsonl", **fields):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(DataConfig(dataset=str(path), **fields)).frame


def test_cells_are_as_they_are_written(tmp_path):
    text = '{"user": 1, "item": 1E3, "q": 1.5}\n\n{"item": 12345678901234567890, "user": "007"}\n'
    text += '{"user": -0, "item": null, "q": 2}\n{"item": true, "user": 7.0, "q": null}\n'
    frame = frame_of(tmp_path, text, value_column="q")
    assert frame["user"].tolist() == ["1", "007", "-0", "7.0"]
    assert frame["item"].fillna("").tolist() == ["1E3", "12345678901234567890", "", "True"]
    assert frame["value"].fillna(0).tolist() == [1.5, 0, 2, 0]


def test_whole_numbers_are_integers_and_files_may_be_compressed(tmp_path):
    frame = frame_of(tmp_path, gzip.compress(b'{"user": 1, "item": 2}\n{"user": "3", "item": 4}\n'), "log.ndjson.gz")
    assert frame["user"].tolist() == [1, 3] and str(frame["user"].dtype) == "Int64"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"user": 1, "item": 2}\n{"user": 1, "item":\n', "line 2 is not JSON: Expecting value at character"),
        ('{"user": 1, "item": 2},{"user": 1, "item": 3}\n', "line 1 is not JSON: Extra data"),
        ('{"user": 1, "item": 2}\n[1, 2]\n', "line 2 is not a JSON object"),
        ('{"user": 1, "item": 2}\n\n{"user": 1, "item": [2]}\n', "line 3, column 'item' holds a list"),
        ('{"user": {"id": 1}, "item": 2}\n', "line 1, column 'user' holds an object"),
        ("[" * 100_000 + "\n", "line 1 is not JSON: nested too deep"),
        ("", "the file is empty"),
        (
            '{"usr": 1, "item": 2}\n',
            r"no column 'user' \(--user_column\); its columns are usr, item; did you mean usr\?",
        ),
        (b'{"user": 1, "item": 2}\n{"user": 1, "item": "\xe9"}\n', "line 2: byte 0xe9 is no UTF-8"),
        (
            '{"user": 1, "item": 2, "q": 3}\n\n{"user": 1, "item": 2, "q": "x"}\n',
            "line 3, column 'q': 'x' is not a number",
        ),
    ],
)
def test_lines_that_are_no_rows(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"log\.jsonl: {message}") as error:
        frame_of(tmp_path, text, value_column="q" if '"q"' in str(text) else "")
    assert "\n" not in str(error.value)
