"""A shop's log with text ids and titles and runs that tests share."""

import numpy as np
import pytest

from experiments import train

SMALL = {
    "ancf": ["--schedule=constant", "--factors=4", "--history=5", "--prior=0", "--negatives=4", "--targets=2"],
    "mf": ["--factors=4", "--window=8"],
    "itemknn": [],
    "content": ["--item_text=title"],
    "chebycf": ["--factors=4", "--order=2"],
}


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A folder of log.csv, 12 customers who bought 6 of 15 products, and products.csv, which names all but p14."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    log = [f"c{user:02},p{item:02}\n" for user in range(12) for item in rng.permutation(15)[:6]]
    (folder / "log.csv").write_text("customer,product\n" + "".join(log))
    titles = [f"p{item:02},Product {item}\n" for item in range(14)]
    (folder / "products.csv").write_text("product,title\n" + "".join(titles))
    return folder


@pytest.fixture(scope="session")
def arguments(shop):
    """The flags that train a model for one epoch on the shop's log."""

    def flags_of(model, workdir, epochs=1):
        data = [f"--dataset={shop}/log.csv", f"--items_path={shop}/products.csv"]
        columns = ["--user_column=customer", "--item_column=product"]
        run = [f"--model={model}", f"--workdir={workdir}", f"--epochs={epochs}", "--beside="]
        return [*data, *columns, *run, *SMALL[model]]

    return flags_of


@pytest.fixture(scope="session")
def trained(script, arguments, tmp_path_factory):
    """A function to the workdir of a trained model; each is trained once."""
    workdirs = {}

    def workdir(model):
        if model not in workdirs:
            folder = tmp_path_factory.mktemp("runs") / model
            status, _, err = script(train, *arguments(model, folder))
            assert status == 0, err
            workdirs[model] = folder
        return workdirs[model]

    return workdir
