import bz2
import gzip
import io
import zipfile

import pyarrow
import pytest

from ancf_jax.data.read import files
from ancf_jax.data.read.files import files_of
from ancf_jax.data.read.sources import read
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

LOG = b"user,item\n1,a\n2,b\n"


def write(folder, contents):
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def rows_of(path, **fields) -> list[tuple]:
    frame = read(DataConfig(dataset=str(path), **fields)).frame
    return list(frame[["user", "item"]].itertuples(index=False, name=None))


PACKED = {
    "log.csv": LOG,
    "LOG.CSV": LOG,
    "LOG.CSV.GZ": gzip.compress(LOG),
    "members.csv.gz": gzip.compress(LOG[:14]) + gzip.compress(LOG[14:]),
    "log.csv.bz2": bz2.compress(LOG),
    "log.csv.zst": pyarrow.compress(LOG, codec="zstd", asbytes=True),
    "log.csv.zip": zipped(anything=LOG),
    "log.zip": zipped(**{"folder/log.csv": LOG, "__MACOSX/._log.csv": b"x", "folder/": b""}),
}


@pytest.mark.parametrize("name", PACKED)
def test_compressed_files(tmp_path, name):
    assert rows_of(write(tmp_path, {name: PACKED[name]}) / name) == [(1, "a"), (2, "b")]


REFUSED = {
    "text.csv.gz": (LOG, "cannot be read as a table: .*incorrect header check"),
    "cut.csv.gz": (gzip.compress(LOG)[:-9], "cannot be read as a table: Truncated"),
    "text.csv.zst": (LOG, "cannot be read as a table"),
    "text.csv.bz2": (LOG, "cannot be read as a table"),
    "text.zip": (LOG, "cannot be read as a table: File is not a zip file"),
    "none.zip": (zipped(), "holds 0 files; legal is an archive of one"),
    "two.zip": (zipped(**{"a.csv": LOG, "b.csv": LOG}), "holds 2 files; legal is an archive of one"),
    "strange.zip": (zipped(**{"a.exe": LOG}), "the name must end in .csv, .tsv"),
    "log.xlsx": (LOG, r"the name must end in .csv, .tsv, .*\.parquet, or one of them and \.gz, \.bz2, \.zst, \.zip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_not_what_they_seem(tmp_path, name):
    content, message = REFUSED[name]
    with pytest.raises(InputError, match=rf"{name}: {message}") as error:
        rows_of(write(tmp_path, {name: content}) / name)
    assert "\n" not in str(error.value)


def test_parts_come_in_the_order_of_their_numbers_and_hidden_files_are_none(tmp_path):
    parts = {f"part-{n}.csv": f"item,user\n{n},{n}\n".encode() for n in (1, 2, 10)}
    hidden = {"_SUCCESS": b"", ".part-1.csv.crc": b"x", ".DS_Store": b"x", "_temporary/part-0.csv": b"x"}
    assert rows_of(write(tmp_path, parts | hidden | {"part-3.csv": b"user,item\n"})) == [(1, 1), (2, 2), (10, 10)]


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, {"log.csv": LOG})
    assert rows_of("~/log.csv") == [(1, "a"), (2, "b")]


def test_folders_named_column_value_are_columns(tmp_path):
    days = {
        "day=2024-01-02/event=buy/p.csv": b"user,item\n1,a\n",
        "day=2024-01-01/event=see%20it/p.csv": b"user,item\n2,b\n",
        "day=2024-01-03/event=__HIVE_DEFAULT_PARTITION__/p.csv": b"user,item\n3,c\n",
    }
    write(tmp_path / "log", days)
    source = read(DataConfig(dataset=str(tmp_path / "log"), time_column="day"))
    assert source.frame["user"].tolist() == [2, 1, 3] and source.frame["time"].diff().tolist()[1:] == [86400] * 2
    assert rows_of(tmp_path / "log", where="event=see it") == [(2, "b")]
    assert rows_of(tmp_path / "log", where="event=") == [(3, "c")]
    with pytest.raises(InputError, match=r"p\.csv: there are 2 columns 'event' \(--where\)"):
        write(tmp_path / "log", {"day=2024-01-02/event=buy/p.csv": b"user,item,event\n1,a,buy\n"})
        rows_of(tmp_path / "log", where="event=buy")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"a.csv": LOG, "b.tsv": LOG}, r"holds a\.csv and b\.tsv; legal is one format"),
        ({"a.csv": LOG, "README.md": b"x"}, r"README\.md: the name must end in"),
        ({"day=1/a.csv": LOG, "b.csv": LOG}, r"its folders name other columns than those of"),
        ({"_SUCCESS": b""}, "no file of data in this folder"),
        ({"a.csv": b"user,item\n", "b.csv": b"user,item\n"}, "no rows below the header"),
        ({"a.csv": LOG, "b.csv": b"user,thing\n1,2\n"}, r"b\.csv: no column 'item' \(--item_column\)"),
        ({"a.csv": LOG, "b.csv": b"user,item\n1,2\n3,4,5\n"}, r"b\.csv: line 3 has 3 fields, the header 2"),
    ],
)
def test_folders_that_are_no_log(tmp_path, contents, message):
    with pytest.raises(InputError, match=message):
        rows_of(write(tmp_path, contents))


def test_empty_files_in_a_folder_are_said(tmp_path):
    write(tmp_path, {"a.csv": LOG, "b.csv": b""})
    assert read(DataConfig(dataset=str(tmp_path))).inferred == ("empty files were passed over: b.csv",)


def test_bad_cells_of_a_folder_are_found_in_their_file(tmp_path):
    parts = {"1.csv": b"user,item,q\n1,a,1\n1,b,2\n", "2.csv": b"item,q,user\na,2,1\nb,x,1\n"}
    with pytest.raises(InputError, match=r"2\.csv: line 3, column 'q': 'x' is not a number"):
        rows_of(write(tmp_path, parts), value_column="q")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252", "shift_jis"])
def test_text_of_any_encoding_passes_as_utf8(tmp_path, monkeypatch, encoding):
    text = "user,item\n" + "".join(f"{n}," + ("ア" if encoding[0] == "s" else "é" * 50) + "\n" for n in range(300))
    write(tmp_path, {"log.csv": text.encode(encoding)})
    (file,) = files_of(str(tmp_path / "log.csv"), "dataset")
    for size in (7, 100, 2**20):
        monkeypatch.setattr(files, "BLOCK", size)
        assert b"".join(files.utf8(file, encoding)).decode() == text


def test_bytes_that_an_encoding_does_not_know(tmp_path):
    write(tmp_path, {"log.csv": "user,item\n1,a\n2,é\n".encode()})
    with pytest.raises(InputError, match=r"line 3: byte 0xc3 is no ASCII; give --encoding=utf-8, or whichever it is"):
        rows_of(tmp_path / "log.csv", encoding="ascii")
    with pytest.raises(InputError, match="flag --encoding: 'klingon' is none that Python knows"):
        DataConfig(encoding="klingon")


def test_nuls_are_no_text(tmp_path):
    write(tmp_path, {"log.csv": b"user,item\n1,a\n2,b\0\n", "wide.csv": "user,item\n1,a\n".encode("utf-16-le")})
    with pytest.raises(InputError, match="line 3 holds a NUL"):
        rows_of(tmp_path / "log.csv")
    with pytest.raises(InputError, match="line 1 holds a NUL, which no text does; --encoding=utf-16-le"):
        rows_of(tmp_path / "wide.csv")
    assert rows_of(tmp_path / "wide.csv", encoding="utf-16-le") == [(1, "a")]
