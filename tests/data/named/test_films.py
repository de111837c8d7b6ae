import numpy as np
import pytest

from ancf_jax.data.dataset import load
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


def test_movielens_100k(tmp_path):
    write(tmp_path / "ml-100k" / "u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    write(tmp_path / "ml-100k" / "u.item", '242|"Kolya" (1996)|24|\n302|Caf\xe9 (1997) |x|\n'.encode("latin-1"))
    source = read(DataConfig(dataset="ml-100k", data_dir=str(tmp_path)))
    assert rows_of(source.frame) == [(196, 242, 3.0, 881250949), (186, 302, 3.0, 891717742)]
    assert source.titles.str.strip().to_dict() == {242: '"Kolya" (1996)', 302: "Caf\xe9 (1997)"}
    assert source.test is None and source.negatives is None
    assert source.items.text == ("title",) and source.items.categories == ()  # a file cut down to titles


def test_genres_of_movielens_100k(tmp_path):
    flags = ["0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0", "1" + "|0" * 18]
    films = [f"{n}|Film {n} (1995)|01-Jan-1995||http://x|{row}\n" for n, row in enumerate(flags)]
    write(tmp_path / "ml-100k" / "u.data", "1\t0\t3\t4\n")
    write(tmp_path / "ml-100k" / "u.item", "".join(films))
    items = read(DataConfig(dataset="ml-100k", data_dir=str(tmp_path))).items
    assert items.frame["genres"].tolist() == ["Animation|Children's|Comedy", "unknown"]
    assert items.categories == ("genres",)


def test_what_is_known_of_users(tmp_path):
    write(tmp_path / "ml-100k" / "u.data", "1\t7\t3\t4\n")
    write(tmp_path / "ml-100k" / "u.item", "7|Seven|\n")
    assert read(named("ml-100k", tmp_path)).users is None  # a copy may lack the file
    write(tmp_path / "ml-100k" / "u.user", "1|24|M|technician|85711\n2|73|F|other|94043\n3|7|M|student|T8H1N\n")
    users = read(named("ml-100k", tmp_path)).users
    assert rows_of(users.frame[["user", *users.categories]]) == [
        (1, "18-24", "M", "technician"),
        (2, "56 and over", "F", "other"),
        (3, "under 18", "M", "student"),
    ]
    write(tmp_path / "ml-1m" / "ratings.dat", "1::7::5::978300760\n2::7::5::978300760\n")
    write(tmp_path / "ml-1m" / "movies.dat", "7::Seven::Drama\n")
    write(tmp_path / "ml-1m" / "users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n")
    users = read(named("ml-1m", tmp_path)).users
    assert rows_of(users.frame[list(users.categories)]) == [("under 18", "F", "10"), ("56 and over", "M", "16")]
    dataset = load(named("ml-1m", tmp_path), features=True)
    hot = np.array([[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 1]])  # 56 and over, under 18; F, M; 10, 16
    np.testing.assert_allclose(dataset.user_features.vectors.toarray(), hot / np.sqrt(3), rtol=1e-6)


def test_movielens_20m(tmp_path):
    ratings = "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n2,11,4,945544824\n"
    write(tmp_path / "ml-20m" / "ratings.csv", ratings)
    films = 'movieId,title,genres\n2,Jumanji (1995),Adventure|Children\n11,"American President, The (1995)",'
    write(tmp_path / "ml-20m" / "movies.csv", films + "(no genres listed)\n")
    source = read(named("ml-20m", tmp_path))
    assert rows_of(source.frame) == [(1, 2, 3.5, 1112486027), (2, 11, 4.0, 945544824)]
    assert source.titles.to_dict() == {2: "Jumanji (1995)", 11: "American President, The (1995)"}
    items = load(named("ml-20m", tmp_path), features=True).features
    assert items.kinds["categories"] == 2 and source.users is None


ANIME = "anime_ids\tname\tgenre\ttype\tepisodes\trating\tmembers\n"


def test_anime(tmp_path):
    write(tmp_path / "anime" / "anime_ratings.dat", "User_ID\tAnime_ID\tFeedback\n1\t5\t9\n3\t1\t10\n")
    shows = "5\tWolf&#039;s Rain\tAdventure, Sci-Fi\tTV\t26\t7.9\t4\n1\tGintama\xb0\t\tMovie\t1\t9.2\t6\n"
    write(tmp_path / "anime" / "anime_info.dat", ANIME + shows)
    source = read(named("anime", tmp_path))
    assert rows_of(source.frame) == [(1, 5, 9.0, 0), (3, 1, 10.0, 1)]
    assert source.titles.to_dict() == {5: "Wolf's Rain", 1: "Gintama\xb0"}
    assert source.items.frame["genres"].fillna("").tolist() == ["Adventure|Sci-Fi", ""]
    assert set(source.items.categories) == {"genres", "type"} and not source.items.numbers


@pytest.mark.parametrize("folder", ["anime", "watched-anime"])
def test_anime_that_was_watched(tmp_path, folder):
    write(tmp_path / folder / "anime_history.dat", "User_ID\tAnime_ID\tFeedback\n1\t5\t1\n3\t1\t1\n")
    write(tmp_path / folder / "anime_info.dat", ANIME + "5\tGintama\t\tTV\t26\t7.9\t4\n")
    source = read(named("watched-anime", tmp_path))
    assert source.name == "watched-anime" and rows_of(source.frame) == [(1, 5, 1.0, 0), (3, 1, 1.0, 1)]


def test_anime_without_a_column(tmp_path):
    write(tmp_path / "anime" / "anime_ratings.dat", "User_ID\tAnime_ID\tRating\n1\t5\t9\n")
    write(tmp_path / "anime" / "anime_info.dat", ANIME)
    with pytest.raises(InputError, match=r"anime_ratings\.dat: no column 'Feedback'"):
        read(named("anime", tmp_path))


@pytest.mark.parametrize("folder", ["ncf", "ncf-ml-1m"])
def test_ncf_files(tmp_path, ncf_files, folder):
    for name, text in ncf_files.items():
        write(tmp_path / folder / name, text)
    source = read(DataConfig(dataset="ncf-ml-1m", data_dir=str(tmp_path)))
    assert len(source.frame) == 60 and rows_of(source.test)[2] == (2, 229, 4.0, 9000)
    assert source.negatives.shape == (3, 99) and source.titles is None
    lines = ncf_files["ml-1m.test.negative"].splitlines()
    assert source.negatives.tolist() == [[int(item) for item in line.split("\t")[1:]] for line in lines]


def spoil_pair(text: str) -> str:
    return text.replace("(1,226)", "(1,227)")


def drop_negative(text: str) -> str:
    return "\n".join(line.rsplit("\t", 1)[0] for line in text.splitlines())


def drop_line(text: str) -> str:
    return text.split("\n", 1)[1]


@pytest.mark.parametrize("spoil", [spoil_pair, drop_negative, drop_line, lambda text: text.replace("\t", "\tx", 1)])
def test_ncf_negatives_that_do_not_fit_are_refused(ncf_dir, spoil):
    path = ncf_dir / "ncf" / "ml-1m.test.negative"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError, match=r"ml-1m\.test\.negative: "):
        read(DataConfig(dataset="ncf-ml-1m", data_dir=str(ncf_dir)))
