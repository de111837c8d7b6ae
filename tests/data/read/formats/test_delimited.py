import pytest

from ancf_jax.data.read.sources import read
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


def source(tmp_path, content, name="log.csv", **fields):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(DataConfig(dataset=str(path), **fields))


def rows_of(found) -> list[tuple]:
    return list(found.frame[["user", "item"]].itertuples(index=False, name=None))


LOG = "user,item\n1,a\n2,b\n"
LINES = {
    "windows": LOG.replace("\n", "\r\n"),
    "old macintosh": LOG.replace("\n", "\r"),
    "no last end": LOG[:-1],
    "a mark": "\ufeff" + LOG,
    "blank lines": "\n\nuser,item\n\n1,a\n\n2,b\n\n",
    "quoted names": '"user","item"\n"1","a"\n"2","b"\n',
    "a number before every row, as R writes": '"","user","item"\n"1",1,"a"\n"2",2,"b"\n',
    "spaces about names": " user , item\n1,a\n2,b\n",
}


@pytest.mark.parametrize("case", LINES)
def test_line_ends_and_blank_lines(tmp_path, case):
    assert rows_of(source(tmp_path, LINES[case])) == [(1, "a"), (2, "b")]


def test_quotes_in_csv(tmp_path):
    text = 'user,item\n1,"a,b"\n2,"c\nd"\n3,"e""f"\n4,5" disc\n'
    assert [item for _, item in rows_of(source(tmp_path, text))] == ["a,b", "c\nd", 'e"f', '5" disc']


@pytest.mark.parametrize(
    "text",
    ['user,item\n1,a\n2,"b\n3,c\n', 'user,item\n1,a\n2,"b', 'user,item\n1,a\n2,"b\n3,"c\n4,d\n'],
    ids=["to the end", "in the last line", "closed in the next row"],
)
def test_a_quote_that_is_not_closed_never_swallows_rows(tmp_path, text):
    with pytest.raises(InputError, match=r"log\.csv: line 3: a quote is opened that nothing closes") as error:
        source(tmp_path, text)
    assert "\n" not in str(error.value)


SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "pipes"}


@pytest.mark.parametrize("sign", SEPARATORS)
@pytest.mark.parametrize("name", ["log.csv", "log.txt", "log.dat"])
def test_separators_are_inferred_and_said(tmp_path, sign, name):
    found = source(tmp_path, LOG.replace(",", sign), name)
    assert rows_of(found) == [(1, "a"), (2, "b")]
    assert found.inferred == (f"{name}: columns are separated by {SEPARATORS[sign]}",)
    stated = source(tmp_path, LOG.replace(",", sign), name, separator="tab" if sign == "\t" else sign)
    assert rows_of(stated) == [(1, "a"), (2, "b")] and stated.inferred == ()


def test_the_usual_separator_is_not_mentioned_and_others_may_be_in_cells(tmp_path):
    found = source(tmp_path, "user,item\n1,a;b\n2,c|d\n")
    assert rows_of(found) == [(1, "a;b"), (2, "c|d")] and found.inferred == ()
    assert rows_of(source(tmp_path, "user::item\n1::a:b\n2::c\td\n", "log.dat")) == [(1, "a:b"), (2, "c\td")]


def test_separators_without_a_header(tmp_path):
    assert rows_of(source(tmp_path, "1;a\n2;b\n", header=("user", "item"))) == [(1, "a"), (2, "b")]
    with pytest.raises(InputError, match="flag --separator: 'ab' is neither one character nor tab nor ::"):
        DataConfig(separator="ab")
    with pytest.raises(InputError, match=r"flag --header: names a column twice: a,a"):
        DataConfig(header=("a", "a"))


def test_only_the_columns_asked_for_are_read(tmp_path):
    content = (
        b"user,note,item,note\n1,caf\xe9,a,x\n2,\xff,b,y\n"  # bytes that are no text, and a name that is there twice
    )
    assert rows_of(source(tmp_path, content)) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("flag", ["separator", "header", "where", "time_format"])
def test_flags_of_files_are_refused_where_they_would_do_nothing(tmp_path, flag):
    value = {"separator": ";", "header": ("user", "item"), "where": "a=b", "time_format": "s"}[flag]
    with pytest.raises(InputError, match=rf"flag --{flag}: is for files"):
        DataConfig(dataset="ml-100k", **{flag: value})
    if flag in ("separator", "header"):
        with pytest.raises(InputError, match=rf"flag --{flag}: is for files of separated columns"):
            source(tmp_path, '{"user": 1, "item": 2}\n', "log.jsonl", **{flag: value})
