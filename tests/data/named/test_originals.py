import pytest

from ancf_jax.data.named.originals import headless
from ancf_jax.types import InputError

COLUMNS = {"user": "int64", "name": "str", "value": "float64"}


def read(tmp_path, text, separator="::"):
    (tmp_path / "u.dat").write_bytes(text.encode("latin-1"))
    return headless(tmp_path / "u.dat", separator, COLUMNS)


@pytest.mark.parametrize("separator", ["::", "\t", "|"])
def test_the_first_columns_with_their_types(tmp_path, separator):
    text = '1,"Caf\xe9,2.5,x\n2,NA: b",3,y\n'.replace(",", separator)
    frame = read(tmp_path, text, separator)
    assert list(frame.itertuples(index=False, name=None)) == [(1, '"Caf\xe9', 2.5), (2, 'NA: b"', 3.0)]
    assert frame["user"].dtype == "int64" and frame["value"].dtype == "float64"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1::a::2\n2::b\n", "line 2 has 2 fields, the header 3"),
        ("1::a::2\nx::b::3\n", "cannot be read as a table: .*'x'"),
        ("1::a\n", "cannot be read as a table: line 1 has 2 columns, where 3 were expected: user, name, value"),
    ],
)
def test_files_that_are_not_the_original(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"u\.dat: {message}"):
        read(tmp_path, text)
