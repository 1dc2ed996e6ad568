"""The cases of ``python -m benchmarks speed``: the work, who does it how, and what is to be reached."""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel, TCNModel
from darts.utils.data import SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import ModuleStage, TorchTrainingBatch, _batch_collate_fn_train
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from benchmarks.core.memory import PeakMemory
from benchmarks.core.new_process import run_in_new_process
from benchmarks.core.rivals import RivalProcess, RivalProcesses
from benchmarks.core.timing import Case, Goal, Rival, Turn, at_most_times, timed, times_faster
from benchmarks.speed.predict_cases import PredictWork, make_predict_cases
from benchmarks.speed.rivals import CLIPPING, LEARNING_RATE, FitWork, make_values
from seq_plugins.layers import GRU, LSTM, SimpleRNN
from seq_plugins.models import DeepRNNModel, Seq2SeqRNNModel, SimpleRNNModel, WaveNetModel
from seq_plugins.windows import WindowsTrainingDataset, collate_training

# B: batch, L: input length, I: features of a step, D: hidden dimension, N: series, T: time steps of a series

SECONDS_OF_IMPORT = 0.02
SPREAD_OF_WINDOW_COST = 1.2
MEMORY_SAMPLES = 4
"""Windows of each series in a fit whose memory is measured."""

N_MEMBERS = 5
"""Members of an ensemble, or models fitted in turn."""

CONVOLUTIONS = "convolutions"
"""What stands for a cell where a network has dilated convolutions: two for each layer, whose dilation is doubled."""

N_STEPS = 100
"""Training steps, or parts of one, in a turn."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the work.

    Parameters
    ----------
    fit
        Training of one layer on one series, which most cases are made from.
    many_series
        Training on many series.
    refits
        Training of each refit.
    n_validation_windows
        Windows of the validation series, where there is one.
    n_epochs_of_large
        Epochs of the deep network and of the sequence-to-sequence network.
    n_layer_runs
        Forward and backward passes of a layer in one turn.
    n_history_windows
        Windows to forecast from.
    history_batch_size
        Windows in a batch of forecasts.
    n_refits
        Number of refits.
    n_predictions
        Forecasts of one series in a turn.
    n_predicted_series
        Series forecast in one call.
    memory_shape
        Number of series and their length, for the measuring of memory.
    n_cost_windows
        Numbers of windows between which the cost of one is compared, the smallest first.
    n_cost_batches
        Number of batches for it.
    """

    fit: FitWork
    many_series: FitWork
    refits: FitWork
    n_validation_windows: int
    n_epochs_of_large: int
    n_layer_runs: int
    n_history_windows: int
    history_batch_size: int
    n_refits: int
    n_predictions: int
    n_predicted_series: int
    memory_shape: tuple[int, int]
    n_cost_windows: tuple[int, ...]
    n_cost_batches: int


FULL = Sizes(
    fit=FitWork(n_windows=1_040, batch_size=32, n_epochs=20),
    many_series=FitWork("GRU", horizon=14, n_series=200, n_windows=331, batch_size=512, n_epochs=1),
    refits=FitWork(horizon=14, n_windows=200, n_epochs=10),
    n_validation_windows=200,
    n_epochs_of_large=5,
    n_layer_runs=100,
    n_history_windows=20_000,
    history_batch_size=512,
    n_refits=20,
    n_predictions=100,
    n_predicted_series=1_000,
    memory_shape=(1_000, 10_000),
    n_cost_windows=(1_000, 10_000, 100_000, 1_000_000),
    n_cost_batches=200,
)

QUICK = Sizes(
    fit=FitWork(hidden_dim=4, input_length=8, n_windows=20, batch_size=8, n_epochs=2),
    many_series=FitWork("GRU", hidden_dim=4, input_length=8, horizon=2, n_series=3, n_windows=10, n_epochs=1),
    refits=FitWork(hidden_dim=4, input_length=8, horizon=2, n_windows=10, batch_size=8, n_epochs=1),
    n_validation_windows=5,
    n_epochs_of_large=1,
    n_layer_runs=2,
    n_history_windows=30,
    history_batch_size=8,
    n_refits=2,
    n_predictions=2,
    n_predicted_series=3,
    memory_shape=(5, 100),
    n_cost_windows=(20, 40),
    n_cost_batches=2,
)


def make_cases(sizes: Sizes, threads: int, processes: RivalProcesses) -> list[Case]:
    """Return all cases in the order in which they are run."""
    fit = sizes.fit
    validated = replace(fit, n_validation_windows=sizes.n_validation_windows)
    deep = replace(fit, n_layers=3, n_epochs=sizes.n_epochs_of_large)
    every_step = replace(fit, cell="GRU", horizon=min(14, fit.input_length), every_step=True, n_epochs=deep.n_epochs)
    n_blocks = min(4, (fit.input_length - 1).bit_length())  # dilations that reach into the window
    horizon = min(14, fit.input_length - 1)  # TCNModel forecasts fewer steps than it reads
    convolutions = replace(every_step, cell=CONVOLUTIONS, n_layers=n_blocks, horizon=horizon)
    four, three, two = times_faster(4), times_faster(3), times_faster(2)
    keras, darts, neuralforecast = "keras", "darts", "neuralforecast"
    fit_case = partial(_fit_case, processes)
    return [
        _layer_case("RNN", fit, sizes.n_layer_runs, times_faster(3.5)),
        _layer_case("GRU", fit, sizes.n_layer_runs, None),
        _layer_case("LSTM", fit, sizes.n_layer_runs, None),
        fit_case("fit", "one SimpleRNN layer, fast path", fit, {darts: four, keras: four}),
        fit_case(
            "fit-validated",
            "the same with validation, early stopping and clipping, ordinary path",
            validated,
            {darts: two, keras: None},
            fast_training=False,
        ),
        fit_case("fit-validated-fast", "the same, fast path", validated, {darts: None, keras: None}),
        fit_case("fit-deep", "three SimpleRNN layers", deep, {darts: three, keras: three}),
        fit_case("fit-seq2seq", "sequence to sequence, GRU", every_step, {keras: four}),
        fit_case("fit-wavenet", "WaveNet beside Darts' TCNModel, as many convolutions", convolutions, {darts: four}),
        fit_case("fit-many-series", "many series, GRU", sizes.many_series, {darts: four, neuralforecast: four}),
        _history_case("history-last", "historical forecasts, last points", sizes, times_faster(6)),
        _history_case("history-whole", "historical forecasts, whole", sizes, four, whole=True),
        _history_case(
            "history-default", "the same, last points, batch size left to the model", sizes, None, same_batch=False
        ),
        _refit_case(sizes, three),
        _refit_case(sizes, times_faster(6), n_jobs=2),
        *_ensemble_cases(sizes, threads),
        *make_predict_cases(_predict_work(sizes, threads)),
        _import_case(threads),
        _memory_case(sizes, threads),
        *_cost_cases(sizes),
        *_step_cases(fit),
    ]


def _case_beside_darts(
    name: str,
    text: str,
    prepare: Callable[[str], Turn],
    goal: Goal | None = None,
    settings: Mapping[str, Any] | None = None,
    unit: str = "s",
) -> Case:
    """Return a case whose sides, ``"ours"`` and ``"darts"``, are prepared alike."""
    rival = Rival("darts", partial(prepare, "darts"), goal)
    return Case(name, text, partial(prepare, "ours"), [rival], settings or {}, unit)


# One recurrent layer


def _layer_case(cell: str, work: FitWork, n_runs: int, goal: Goal | None) -> Case:
    layers: dict[str, Callable[[int, int], torch.nn.Module]] = {"RNN": SimpleRNN, "GRU": GRU, "LSTM": LSTM}
    ours, theirs = layers[cell], partial(getattr(torch.nn, cell), batch_first=True)
    return Case(
        f"layer-{cell.lower()}",
        f"one {cell} layer, forward and backward",
        lambda: _layer_turn(ours(1, work.hidden_dim), work, n_runs),
        [Rival("torch.nn", lambda: _layer_turn(theirs(1, work.hidden_dim), work, n_runs), goal)],
        {"hidden_dim": work.hidden_dim, "batch_size": work.batch_size, "input_length": work.input_length},
    )


def _layer_turn(layer: torch.nn.Module, work: FitWork, n_runs: int) -> Turn:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(work.batch_size, work.input_length, 1, generator=generator)  # (B, L, I)
    gradient = torch.randn(work.batch_size, work.input_length, work.hidden_dim, generator=generator)  # (B, L, D)

    def train() -> None:
        layer.zero_grad()
        states = layer(inputs)
        (states if isinstance(states, torch.Tensor) else states[0]).backward(gradient)

    return timed(train, n_runs)


# Training


def _make_model(side: str, work: FitWork, **own: Any) -> Any:
    shared = _shared_arguments(work) | own
    if work.cell == CONVOLUTIONS:
        shared |= {"num_filters": work.hidden_dim, "kernel_size": 2, "dropout": 0.0}
        if side == "darts":
            return TCNModel(num_layers=work.n_layers, dilation_base=2, **shared)
        return WaveNetModel(dilations=[2**layer for layer in range(work.n_layers)] * 2, **shared)
    shared |= {"model": work.cell, "hidden_dim": work.hidden_dim}
    if side == "darts":
        return BlockRNNModel(n_rnn_layers=work.n_layers, **shared)
    if work.every_step:
        return Seq2SeqRNNModel(n_rnn_layers=work.n_layers, **shared)
    if work.n_layers > 1:
        return DeepRNNModel(n_rnn_layers=work.n_layers, **shared)
    return SimpleRNNModel(**shared)


def _shared_arguments(work: FitWork) -> dict[str, Any]:
    trainer: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    if work.n_validation_windows:
        trainer |= {
            "gradient_clip_val": CLIPPING,
            "callbacks": [EarlyStopping("val_loss", patience=work.n_epochs + 1)],
        }
    return {
        "input_chunk_length": work.input_length,
        "output_chunk_length": work.horizon,
        "batch_size": work.batch_size,
        "n_epochs": work.n_epochs,
        "optimizer_kwargs": {"lr": LEARNING_RATE},
        "random_state": 1,
        "save_checkpoints": False,
        "pl_trainer_kwargs": trainer,
    }


def _to_series(values: np.ndarray) -> list[TimeSeries]:
    return [TimeSeries.from_values(row[:, None]) for row in values]


def _fit_case(
    processes: RivalProcesses,
    name: str,
    text: str,
    work: FitWork,
    goals: Mapping[str, Goal | None],
    fast_training: bool = True,
) -> Case:
    def prepare(rival: str) -> Turn:
        return _fit_turn("darts", work) if rival == "darts" else _turn_elsewhere(processes[rival], work)

    rivals = [Rival(rival, partial(prepare, rival), goal) for rival, goal in goals.items()]
    return Case(name, text, partial(_fit_turn, "ours", work, fast_training), rivals, asdict(work))


def _fit_turn(side: str, work: FitWork, fast_training: bool = True) -> Turn:
    series = _to_series(work.training_values())
    watched = {"val_series": _to_series(work.validation_values())} if work.n_validation_windows else {}

    def run() -> float:
        model = _make_model(side, work)
        if not fast_training:
            model.fast_training = False
        seconds = timed(lambda: model.fit(series, **watched))()
        work.check_updates(model.trainer.global_step)
        return seconds

    return run


def _turn_elsewhere(process: RivalProcess, work: FitWork) -> Turn:
    process.ask("prepare", work=asdict(work))
    return lambda: float(process.ask("run")["seconds"])


# Ensembles


def _ensemble_cases(sizes: Sizes, threads: int) -> list[Case]:
    """Return the cases of five networks trained as one, beside one of them and beside five of Darts' in turn."""
    fit = replace(sizes.fit, n_epochs=sizes.n_epochs_of_large)
    horizon = min(14, fit.input_length)
    works = {
        "rnn": ("one SimpleRNN layer", fit),
        "gru": ("one GRU layer", replace(fit, cell="GRU", horizon=horizon)),
        "seq2seq": ("sequence to sequence, GRU", replace(fit, cell="GRU", horizon=horizon, every_step=True)),
    }
    goal_of_one, goal_of_darts = at_most_times(2.4), times_faster(10)
    if threads > 1:
        goal_of_one, goal_of_darts = at_most_times(1.5), times_faster(15)
    return [
        Case(
            f"ensemble-{name}",
            f"fit of {N_MEMBERS} members as one, {text}",
            partial(_ensemble_turn, work),
            [
                Rival("one of ours", partial(_fit_turn, "ours", work), goal_of_one),
                Rival(f"darts, {N_MEMBERS} in turn", partial(_turn_of_darts, work), goal_of_darts),
            ],
            asdict(work) | {"ensemble_size": N_MEMBERS},
        )
        for name, (text, work) in works.items()
    ]


def _ensemble_turn(work: FitWork) -> Turn:
    series = _to_series(work.training_values())
    return lambda: timed(lambda: _make_model("ours", work, ensemble_size=N_MEMBERS).fit(series))()


def _turn_of_darts(work: FitWork) -> Turn:
    turn = _fit_turn("darts", work)
    return lambda: sum(turn() for _ in range(N_MEMBERS))


# Historical forecasts


def _history_case(
    name: str, text: str, sizes: Sizes, goal: Goal | None, whole: bool = False, same_batch: bool = True
) -> Case:
    work = replace(sizes.fit, horizon=min(14, sizes.fit.input_length), n_epochs=1)
    n_windows, batch_size = sizes.n_history_windows, sizes.history_batch_size if same_batch else None

    def prepare(side: str) -> Turn:
        model = _make_model(side, work)
        model.fit(_to_series(work.training_values()))
        (series,) = _to_series(make_values(1, n_windows + work.input_length + work.horizon - 1))
        return lambda: _forecast_history(
            model,
            series,
            n_windows,
            forecast_horizon=work.horizon,
            retrain=False,
            last_points_only=not whole,
            predict_kwargs={"batch_size": batch_size},
        )

    settings = asdict(work) | {"n_history_windows": n_windows, "history_batch_size": batch_size}
    return _case_beside_darts(name, text, prepare, goal, settings)


def _refit_case(sizes: Sizes, goal: Goal, n_jobs: int = 1) -> Case:
    work, n_refits = sizes.refits, sizes.n_refits
    train_length = work.training_values().shape[1]

    def prepare(side: str) -> Turn:
        (series,) = _to_series(make_values(1, train_length + n_refits + work.horizon - 1))
        return lambda: _forecast_history(
            _make_model(side, work),
            series,
            n_refits,
            start=train_length,
            train_length=train_length,
            forecast_horizon=work.horizon,
            retrain=True,
            last_points_only=False,
            **({"n_jobs": n_jobs} if side == "ours" and n_jobs > 1 else {}),
        )

    settings = asdict(work) | {"n_refits": n_refits, "n_jobs": n_jobs}
    if n_jobs == 1:
        return _case_beside_darts("history-refit", "historical forecasts with refits", prepare, goal, settings)
    text = f"the same, ours on {n_jobs} processes that have started"
    return _case_beside_darts("history-refit-jobs", text, prepare, goal, settings)


def _predict_work(sizes: Sizes, threads: int) -> PredictWork:
    work = replace(sizes.fit, cell="GRU", horizon=min(14, sizes.fit.input_length), n_epochs=1)

    def fit(side: str) -> Any:
        return _make_model(side, work).fit(_to_series(work.training_values()))

    series = _to_series(make_values(sizes.n_predicted_series, 2 * work.input_length))
    return PredictWork(fit, series, work.horizon, sizes.n_predictions, threads)


def _forecast_history(model: Any, series: TimeSeries, n_expected: int, **arguments: Any) -> float:
    """Return the seconds of historical forecasts."""
    start = time.perf_counter()
    forecasts = model.historical_forecasts(series, verbose=False, **arguments)
    seconds = time.perf_counter() - start
    if len(forecasts) != n_expected:
        raise RuntimeError(f"Expected {n_expected} forecasts, got {len(forecasts)}.")
    return seconds


# Import and memory, each turn in a new process


def _import_case(threads: int) -> Case:
    torch_imported: list[bool] = []

    def prepare(side: str) -> Turn:
        code = (
            "import json, sys, time; start = time.perf_counter(); "
            f"import {'seq_plugins' if side == 'ours' else side}; seconds = time.perf_counter() - start; "
            "print(json.dumps([seconds, 'torch' in sys.modules]))"
        )

        def run() -> float:
            seconds, has_torch = run_in_new_process(code, threads)
            if side == "ours":
                torch_imported.append(has_torch)
            return float(seconds)

        return run

    goal = Goal(
        "20 ms more, no torch", lambda ours, theirs: ours <= theirs + SECONDS_OF_IMPORT and not any(torch_imported)
    )
    return _case_beside_darts("import", "import seq_plugins, import darts", prepare, goal)


def _memory_case(sizes: Sizes, threads: int) -> Case:
    n_series, length = sizes.memory_shape
    work = replace(sizes.fit, n_series=n_series, n_epochs=1)  # small batches: the network itself takes little
    copy = n_series * length * 4 / 2**20

    def prepare(side: str) -> Turn:
        code = (
            "import sys; from benchmarks.speed.cases import print_memory_of_fit; "
            f"print_memory_of_fit({side!r}, {length}, {asdict(work)!r})"
        )
        return lambda: float(run_in_new_process(code, threads))

    goal = Goal("one copy of the values more", lambda ours, theirs: ours <= theirs + copy)
    settings = asdict(work) | {"length": length, "values_mb": copy, "max_samples_per_ts": MEMORY_SAMPLES}
    return _case_beside_darts("memory", "memory of fit beyond the values", prepare, goal, settings, "MB")


def print_memory_of_fit(side: str, length: int, work: dict[str, Any]) -> None:
    """Print by how many megabytes the process grows at most during a fit on many series.

    Parameters
    ----------
    side
        ``"ours"`` or ``"darts"``.
    length
        Time steps of a series.
    work
        Arguments of :class:`FitWork`.
    """
    fit_work = FitWork(**work)
    series = _to_series(make_values(fit_work.n_series, length))

    def fit(series: list[TimeSeries]) -> None:
        _make_model(side, fit_work).fit(series, max_samples_per_ts=MEMORY_SAMPLES)

    fit(series[:2])  # what is loaded at the first fit does not count
    with PeakMemory() as peak:
        fit(series)
    print(json.dumps(peak.megabytes))


# The cost of a window, and the parts of a training step


def _train(module: Any, batch: TorchTrainingBatch) -> None:
    """Give the weights their gradients, as a training step does."""
    module.zero_grad()
    output = module(batch.to_module_input(ModuleStage.TRAIN))
    loss = module._compute_loss(output, batch.future_target, module.train_criterion, batch.sample_weight)
    loss.backward()


def _cost_cases(sizes: Sizes) -> list[Case]:
    smallest, *larger = sizes.n_cost_windows
    work = sizes.fit
    goal = Goal(
        "flat within 20 %",
        lambda ours, theirs: max(ours, theirs) <= SPREAD_OF_WINDOW_COST * min(ours, theirs),
    )

    def prepare(n_windows: int) -> Turn:
        return _cost_turn(work, n_windows, sizes.n_cost_batches)

    return [
        Case(
            f"window-of-{n_windows}",
            f"cost of a window among {n_windows:,}",
            partial(prepare, n_windows),
            [Rival(f"of {smallest:,}", partial(prepare, smallest), goal)],
            {"n_windows": n_windows, "batch_size": work.batch_size, "n_batches": sizes.n_cost_batches},
        )
        for n_windows in larger
    ]


def _cost_turn(work: FitWork, n_windows: int, n_batches: int) -> Turn:
    """Gather batches at random and train on them, outside of any loop."""
    module, optimizer = _trained("ours", replace(work, n_epochs=1))
    n_series = 10
    dataset = _window_dataset(replace(work, n_series=n_series, n_windows=n_windows // n_series))
    generator = np.random.default_rng(1)

    def run() -> float:
        batches = generator.integers(0, n_windows, (n_batches, work.batch_size)).tolist()
        start = time.perf_counter()
        for indices in batches:
            _train(module, collate_training(dataset.__getitems__(indices)))
            optimizer.step()
        return (time.perf_counter() - start) / (n_batches * work.batch_size)

    return run


def _window_dataset(work: FitWork) -> WindowsTrainingDataset:
    dataset = WindowsTrainingDataset(
        _to_series(work.training_values()),
        input_chunk_length=work.input_length,
        output_chunk_length=work.horizon,
    )
    dataset.returns_batches = True
    return dataset


def _trained(side: str, work: FitWork) -> tuple[Any, torch.optim.Optimizer]:
    """Return a network after a fit, and its optimizer."""
    model = _make_model(side, work)
    model.fit(_to_series(work.training_values()))
    model.model.train()
    return model.model, model.trainer.optimizers[0]


def _step_cases(work: FitWork) -> list[Case]:
    """Return the cases that say where the time of a training step goes, ours and Darts'."""

    def whole(side: str) -> Turn:
        fit = _fit_turn(side, work)
        return lambda: fit() / work.n_updates

    def network(side: str) -> Turn:
        module, _ = _trained(side, replace(work, n_epochs=1))
        batch = next(iter(_ordinary_loader(work)))
        return timed(lambda: _train(module, batch), N_STEPS)

    def loading(side: str) -> Turn:
        loader = _fast_loader(work) if side == "ours" else _ordinary_loader(work)
        n_batches = len(loader)
        load = timed(lambda: deque(loader, maxlen=0))
        return lambda: load() / n_batches

    def optimizing(side: str) -> Turn:
        module, optimizer = _trained(side, replace(work, n_epochs=1))
        _train(module, next(iter(_ordinary_loader(work))))
        return timed(optimizer.step, N_STEPS)

    parts: list[tuple[str, str, Callable[[str], Turn]]] = [
        ("step-whole", "one training step of fit", whole),
        ("step-network", "network and loss, forward and backward", network),
        ("step-loading", "loading of its batch", loading),
        ("step-optimizer", "update of the weights", optimizing),
    ]
    cases = [_case_beside_darts(name, text, prepare, settings=asdict(work)) for name, text, prepare in parts]
    limit = Rival("bare arithmetic", lambda: timed(_bare_arithmetic(work), N_STEPS))
    return [*cases, Case("step-limit", "network beside its matrix products", partial(network, "ours"), [limit])]


def _fast_loader(work: FitWork) -> DataLoader[Any]:
    return DataLoader(_window_dataset(work), batch_size=work.batch_size, shuffle=True, collate_fn=collate_training)


def _ordinary_loader(work: FitWork) -> DataLoader[Any]:
    dataset = SequentialTorchTrainingDataset(
        _to_series(work.training_values()), input_chunk_length=work.input_length, output_chunk_length=work.horizon
    )
    return DataLoader(dataset, batch_size=work.batch_size, shuffle=True, collate_fn=_batch_collate_fn_train)


def _bare_arithmetic(work: FitWork) -> Callable[[], None]:
    """Return the multiplications of a simple recurrent layer's training step, one product a step, and its tanh."""
    state = torch.randn(work.batch_size, work.hidden_dim)
    kernel = torch.randn(work.hidden_dim, work.hidden_dim)
    product, weights = torch.empty_like(state), torch.empty_like(kernel)

    def run() -> None:
        for _ in range(work.input_length):
            torch.mm(state, kernel, out=product)  # forwards
            torch.tanh(product, out=product)
            torch.mm(state, kernel, out=product)  # backwards, to the state
            torch.mm(state.T, state, out=weights)  # and to the weights

    return run
