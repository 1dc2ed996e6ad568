"""The best model of a backtest, taken by ``forecast --model FOLDER``."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seq_plugins.__main__ import main
from seq_plugins.forecasting.best_model import BestModel, read_best_model, write_best_model
from tests.tables.made_tables import shop

BEST = BestModel("LinearModel", 7, 21, 7, 2, 3, 4, [0.2], {"batch_size": 64, "optimizer_kwargs": {"lr": 0.01}})


def _forecast(*options: str) -> int:
    shop().to_csv("shop.csv", index=False)
    return main(["forecast", "shop.csv", "--target", "sold", "--model", "run", "--output", "out", *options])


@pytest.fixture(autouse=True)
def _run() -> None:
    Path("run").mkdir()
    write_best_model(Path("run"), BEST)


def test_the_best_model_of_a_backtest_is_trained_with_its_settings_where_no_option_has_others() -> None:
    assert read_best_model(Path("run")) == BEST
    assert _forecast("--folds", "1", "--epochs", "1", "--set", 'optimizer_kwargs={"weight_decay": 0.1}') == 0
    about = json.loads(Path("out/model/forecaster.json").read_text())
    plan = about["plan"]
    assert about["forecaster"] == "LinearModel"
    assert {"horizon": 7, "input_length": 21, "stride": 3, "seed": 4, "quantiles": [0.2]}.items() <= plan.items()
    assert (plan["n_epochs"], plan["settings"]) == (
        1,
        {"batch_size": 64, "optimizer_kwargs": {"lr": 0.01, "weight_decay": 0.1}},
    )
    assert not plan["has_recipe"]
    Path("new.csv").write_text("day,sold\n2024-04-30,60\n")
    assert main(["forecast", "--model", "out", "--update", "new.csv", "--refit", "--output", "later"]) == 0
    later = json.loads(Path("later/model/forecaster.json").read_text())["plan"]
    assert later == plan | {"has_gaps": later["has_gaps"]}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model", "run", "LinearModel"], "--model: run is the folder of a backtest. Leave the other names out."),
        (["--model", "other"], "--model: other is a folder without best_model.json, which a backtest writes"),
        (["--set", "optimizer_cls=Adamm"], "to be the name of a class in torch.optim, got 'Adamm'"),
        (["--set", "optimizer_cls=lr_scheduler"], "to be the name of a class in torch.optim, got 'lr_scheduler'"),
        (["--set", "season_length=7"], "--set: season_length is given with --season-length"),
    ],
)
def test_wrong_input_is_told(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other").mkdir()
    assert _forecast(*options) == 2
    assert told in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"LinearModel"', '"os.system"', "is damaged: there is no model 'os.system'. Run the backtest again."),
        ('"format": 1', '"format": 2', "in format 2, expected 1. Run the backtest again."),
        ('"horizon": 7,', "", "is damaged: 'horizon' Run the backtest again."),
        ("{", "", "is damaged: "),
    ],
)
def test_a_damaged_file_is_told(old: str, new: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("run/best_model.json")
    path.write_text(path.read_text().replace(old, new))
    assert _forecast() == 2
    assert told in capsys.readouterr().err


def test_a_backtest_without_a_best_model_leaves_none_of_before() -> None:
    write_best_model(Path("run"), replace(BEST, name="WaveNetModel"))
    assert read_best_model(Path("run")).name == "WaveNetModel"
    write_best_model(Path("run"), None)
    write_best_model(Path("run"), None)
    assert not Path("run/best_model.json").exists()
