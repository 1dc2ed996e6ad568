"""A model that has been saved."""

from pathlib import Path

import pytest

from tests.conftest import make_model, make_series


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved model and, beside it, the one before."""
    folder = tmp_path_factory.mktemp("saved")
    model = make_model("SimpleRNNModel").fit(make_series())
    model.save(folder / "before.pt")
    model.save(folder / "model.pt")
    return folder
