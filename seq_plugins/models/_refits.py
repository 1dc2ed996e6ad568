"""Backtests that refit: folds on several processes, and refits that start from the weights of the one before."""

import functools
import inspect
import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from numbers import Integral
from typing import Any, Self

import torch
from darts import TimeSeries
from darts.utils.utils import generate_index
from joblib import Parallel, delayed, effective_n_jobs
from pytorch_lightning.callbacks import EarlyStopping
from tqdm.auto import tqdm

from seq_plugins._progress import progress_bar
from seq_plugins.lightning.output import without_advice_to_load_weights
from seq_plugins.lightning.update_schedule import UpdateSchedule
from seq_plugins.models._checked_calls import CheckedModel
from seq_plugins.models.arguments import integer_from, optional, positive_number

Arguments = dict[str, Any]

_ARGUMENTS = """
n_jobs
    Number of processes that the refits are divided among, or ``-1`` for one for each core; by default 1: none but this
    one. Each takes its share of PyTorch's threads. Forecasts are those of one process with as many threads, and
    otherwise equal up to rounding. Without `retrain` there is nothing to divide. Models whose fits write files
    (`save_checkpoints`, `log_tensorboard`) can't be refitted side by side.
warm_epochs
    Number of epochs of a refit that starts from the weights of the one before, as ``update`` does; by default ``None``:
    each refit starts anew and takes `n_epochs`. The first of a series is always a whole one. Since each needs the one
    before, `n_jobs` must be 1.
warm_learning_rate
    Learning rate from which each warm refit starts; it falls to zero along half a cosine. By default ``None``: a tenth
    of the learning rate of training.
"""


@dataclass
class RefitOptions:
    """How a backtest refits."""

    n_jobs: int = 1
    warm_epochs: int | None = None
    warm_learning_rate: float | None = None


@dataclass
class WarmRefits:
    """The model that is trained on and on."""

    epochs: int
    learning_rate: float | None
    model: Any = None


_options: ContextVar[RefitOptions | None] = ContextVar("refit_options", default=None)
_warm_refits: ContextVar[WarmRefits | None] = ContextVar("warm_refits", default=None)


def _with_arguments(method: Callable[..., Any], of_darts: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method Darts' signature and docstring, and our arguments with theirs."""
    functools.update_wrapper(method, of_darts)
    vars(method).pop("__wrapped__")  # whose signature lacks them
    signature = inspect.signature(of_darts)
    own = [
        inspect.Parameter("n_jobs", inspect.Parameter.KEYWORD_ONLY, default=1, annotation=int),
        inspect.Parameter("warm_epochs", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=int | None),
        inspect.Parameter("warm_learning_rate", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=float | None),
    ]
    method.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])  # type: ignore[attr-defined]
    before, heading, after = (of_darts.__doc__ or "").partition("\n        Returns\n")
    own_text = "\n".join(f"        {line}" if line else "" for line in _ARGUMENTS.strip().splitlines())
    method.__doc__ = f"{before.rstrip()}\n{own_text}\n{heading}{after}"
    return method


class RefittingModel(CheckedModel, ABC):
    """Base of models whose backtests refit on several processes, or go on from the weights of the refit before."""

    def historical_forecasts(self, *args: Any, **kwargs: Any) -> Any:
        asked = _options.get() or RefitOptions()  # by `backtest` or `residuals`
        options = replace(asked, **_taken_from(kwargs))
        n_jobs = _checked(options)
        given = inspect.signature(CheckedModel.historical_forecasts).bind(self, *args, **kwargs)
        given.apply_defaults()
        arguments: Arguments = {name: value for name, value in given.arguments.items() if name != "self"}
        forecast = super().historical_forecasts
        if not arguments["retrain"]:
            return forecast(**arguments)
        if options.warm_epochs is not None:
            warm = WarmRefits(options.warm_epochs, options.warm_learning_rate)
            with _set(_warm_refits, warm):
                return forecast(**arguments | {"retrain": _forgetting(warm, arguments["retrain"])})
        if n_jobs == 1:
            return forecast(**arguments)
        self._check_that_fits_write_nothing(n_jobs)
        return _forecast_in_parallel(self, arguments, n_jobs)

    def _check_that_fits_write_nothing(self, n_jobs: int) -> None:
        writing = {
            "save_checkpoints": self.save_checkpoints,
            "log_tensorboard": self.model_params.get("log_tensorboard"),
        }
        for name, value in writing.items():
            if value:
                raise ValueError(
                    f"Expected `{name}` to be False with n_jobs={n_jobs}, got True: refits side by side would write to "
                    f"the same folder. Make the model without `{name}`, or leave `n_jobs` out."
                )

    def backtest(self, *args: Any, **kwargs: Any) -> Any:
        with _set(_options, RefitOptions(**_taken_from(kwargs))):
            return super().backtest(*args, **kwargs)

    def residuals(self, *args: Any, **kwargs: Any) -> Any:
        with _set(_options, RefitOptions(**_taken_from(kwargs))):
            return super().residuals(*args, **kwargs)

    _with_arguments(historical_forecasts, CheckedModel.historical_forecasts)
    _with_arguments(backtest, CheckedModel.backtest)
    _with_arguments(residuals, CheckedModel.residuals)

    def untrained_model(self) -> Any:
        warm = _warm_refits.get()
        if warm is None:
            return super().untrained_model()
        if warm.model is None:
            warm.model = super().untrained_model()
        return warm.model

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        warm = _warm_refits.get()
        if warm is None or warm.model is not self or self.model is None:
            return super().fit(*args, **kwargs)
        with _updating(self.model, warm.learning_rate):
            return super().fit(*args, **kwargs | {"epochs": warm.epochs})

    functools.update_wrapper(fit, CheckedModel.fit)

    def update(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        *args: Any,
        epochs: int = 5,
        learning_rate: float | None = None,
        **kwargs: Any,
    ) -> Self:
        """Train the fitted model a little further, on its own data with new values.

        It goes on from the weights at hand. The learning rate starts low and falls to zero along half a cosine, in
        place of `lr_scheduler_cls`: at the rate of training, a few epochs would lead away from what has been learnt.
        ``fit`` on a fitted model goes on from its weights, too, but at the rate of training. Without `val_series`,
        ``EarlyStopping`` has nothing to go by, and is left out.

        Parameters
        ----------
        series
            Series to train on: all of the past, the new values among them.
        *args
            Further arguments of ``fit``, in its order.
        epochs
            Number of epochs.
        learning_rate
            Learning rate from which the update starts; by default a tenth of the learning rate of training.
        **kwargs
            Arguments of ``fit`` by name, such as covariates and `val_series`.

        Raises
        ------
        ValueError
            If the model has not been fitted, or an argument is out of range.
        """
        integer_from(1)("epochs", epochs)
        optional(positive_number)("learning_rate", learning_rate)
        if self.model is None:
            raise ValueError("Expected a model that has been fitted, got one without weights. Call `fit` first.")
        given = inspect.signature(CheckedModel.fit).bind(self, series, *args, epochs=epochs, **kwargs).arguments
        validates = given.get("val_series") is not None
        with _updating(self.model, learning_rate), nullcontext() if validates else self._not_stopping_early():
            return self.fit(series, *args, epochs=epochs, **kwargs)

    @contextmanager
    def _not_stopping_early(self) -> Iterator[None]:
        """Train without early stopping, which has nothing to go by where nothing is validated."""
        given: Arguments = vars(self)["trainer_params"]
        stays = [callback for callback in given.get("callbacks") or [] if not isinstance(callback, EarlyStopping)]
        self.trainer_params = given | {"callbacks": stays}
        try:
            yield
        finally:
            self.trainer_params = given


def _taken_from(arguments: Arguments) -> Arguments:
    """Return the options of refits among arguments, and take them out."""
    names = [option.name for option in fields(RefitOptions)]
    return {name: arguments.pop(name) for name in names if name in arguments}


def _checked(options: RefitOptions) -> int:
    """Check the arguments together; return the number of processes."""
    optional(integer_from(1))("warm_epochs", options.warm_epochs)
    optional(positive_number)("warm_learning_rate", options.warm_learning_rate)
    if options.warm_learning_rate is not None and options.warm_epochs is None:
        raise ValueError(
            f"Expected `warm_epochs` with warm_learning_rate={options.warm_learning_rate!r}, got None. Give "
            "`warm_epochs`, or leave `warm_learning_rate` out."
        )
    n_jobs = options.n_jobs
    if not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool) or (n_jobs < 1 and n_jobs != -1):
        raise ValueError(f"Expected `n_jobs` to be an integer of at least 1, or -1 for all cores, got {n_jobs!r}.")
    if options.warm_epochs is not None and options.n_jobs != 1:
        raise ValueError(
            f"Expected `n_jobs` to be 1 with warm_epochs={options.warm_epochs}, got {options.n_jobs}: each refit needs "
            "the weights of the one before. Leave one of them out."
        )
    return effective_n_jobs(int(n_jobs))


@contextmanager
def _updating(network: Any, learning_rate: float | None) -> Iterator[None]:
    """Let a network's next training be an update."""
    network.update_schedule = UpdateSchedule(learning_rate)
    try:
        with without_advice_to_load_weights():
            yield
    finally:
        network.update_schedule = None


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def _as_function(retrain: Any) -> Callable[..., bool]:
    """Return Darts' argument `retrain` as a function of a fold."""
    if callable(retrain):
        return retrain
    return lambda counter, pred_time, train_series, past_covariates, future_covariates: counter % int(retrain) == 0


def _forgetting(warm: WarmRefits, retrain: Any) -> Callable[..., bool]:
    """Return `retrain`, which lets each series begin with a whole fit."""
    decide = _as_function(retrain)

    def decide_and_forget(
        counter: int, pred_time: Any, train_series: Any, past_covariates: Any, future_covariates: Any
    ) -> bool:
        if counter == 0:
            warm.model = None
        return decide(counter, pred_time, train_series, past_covariates, future_covariates)

    return decide_and_forget


# --- folds on several processes


@dataclass
class Fold:
    """A refit and the forecasts that follow it, with Darts' arguments of each."""

    fit: Arguments
    predictions: list[Arguments] = field(default_factory=list)


class FoldLoop:
    """Darts' loop over folds, with what does not fit or forecast in the model's place.

    The loop is gone through twice: first to note the folds, with forecasts that hold their place, and then, when the
    folds have been run, with theirs. So all that Darts does between fits (training windows, `retrain`, transformers)
    is Darts' own.

    Parameters
    ----------
    model
        The model.
    arguments
        Arguments of ``historical_forecasts``.
    """

    def __init__(self, model: Any, arguments: Arguments) -> None:
        self._model = model
        self._arguments = arguments | {"verbose": False}
        self._decisions: list[bool] = []

    def note_folds(self) -> list[Fold]:
        """Return all folds."""
        decide, folds = _as_function(self._arguments["retrain"]), list[Fold]()

        def note_decision(
            counter: int, pred_time: Any, train_series: Any, past_covariates: Any, future_covariates: Any
        ) -> bool:
            decision = decide(counter, pred_time, train_series, past_covariates, future_covariates)
            self._decisions.append(bool(decision))
            return decision

        def note_prediction(**given: Any) -> Any:
            folds[-1].predictions.append(given)
            return self._hold_place(**given)

        def note_fit(**given: Any) -> None:
            folds.append(Fold(given))

        self._run(self._hold_place, note_fit, note_prediction, self._arguments | {"retrain": note_decision})
        return folds

    def with_forecasts(self, forecasts: Sequence[Any]) -> Any:
        """Return what ``historical_forecasts`` returns when these are the forecasts of the folds, one by one."""
        decisions, answers = iter(self._decisions), iter(forecasts)

        def repeat_decision(
            counter: int, pred_time: Any, train_series: Any, past_covariates: Any, future_covariates: Any
        ) -> bool:
            return next(decisions)

        arguments = self._arguments | {"retrain": repeat_decision, "show_warnings": False}
        return self._run(self._model._predict_wrapper, lambda **_: None, lambda **_: next(answers), arguments)

    def _run(
        self,
        predict: Callable[..., Any],
        refit: Callable[..., None],
        predict_refitted: Callable[..., Any],
        arguments: Arguments,
    ) -> Any:
        def refitted() -> Any:
            return self._look_alike(
                untrained_model=refitted, _fit_wrapper=refit, _predict_wrapper=predict_refitted, _fit_called=True
            )

        looks_alike = self._look_alike(untrained_model=refitted, _predict_wrapper=predict)
        return CheckedModel.historical_forecasts(looks_alike, **arguments)

    def _look_alike(self, **methods: Callable[..., Any] | bool) -> Any:
        """Return what shares all that the model holds, but has some methods of its own."""
        looks_alike = object.__new__(type(self._model))
        vars(looks_alike).update(vars(self._model) | methods)
        return looks_alike

    def _hold_place(self, n: int, series: Any, **given: Any) -> Any:
        if isinstance(series, TimeSeries):
            return self._placeholder(n, series, **given)
        return [self._placeholder(n, one, **given) for one in series]

    def _placeholder(
        self,
        n: int,
        series: TimeSeries,
        num_samples: int = 1,
        predict_likelihood_parameters: bool = False,
        **_: Any,
    ) -> TimeSeries:
        """Return the last value as a forecast."""
        start = series.end_time() + (1 + self._model.output_chunk_shift) * series.freq
        times = generate_index(start=start, length=n, freq=series.freq)
        last = series.all_values(copy=False)[-1:, :, :1]
        if predict_likelihood_parameters:
            names = self._model.likelihood.component_names(series)
            return TimeSeries.from_times_and_values(
                times, last[:, :1].repeat(n, 0).repeat(len(names), 1), columns=names
            )
        return series.with_times_and_values(times, last.repeat(n, 0).repeat(num_samples, 2))


def _forecast_in_parallel(model: Any, arguments: Arguments, n_jobs: int) -> Any:
    """Return what ``historical_forecasts`` returns, with the refits divided among processes."""
    loop = FoldLoop(model, arguments)
    folds = loop.note_folds()
    n_jobs = min(n_jobs, max(len(folds), 1))
    threads = max(torch.get_num_threads() // n_jobs, 1)
    untrained = model.untrained_model()
    forecasts: list[Any] = []
    told: set[tuple[type[Warning], str]] = set()
    tasks = (delayed(_run_fold)(untrained, fold, threads, os.getpid()) for fold in folds)
    work = Parallel(n_jobs, return_as="generator")(tasks)
    with (
        closing(work),
        progress_bar(
            total=len(folds), desc="historical forecasts", unit="refit", disable=not arguments["verbose"], kind=tqdm
        ) as progress,
    ):
        for made, warned in _telling_what_cannot_be_sent(work, n_jobs):
            forecasts += made
            for category, text in warned:
                if (category, text) not in told:
                    told.add((category, text))
                    warnings.warn(text, category, stacklevel=2)
            progress.update()
    return loop.with_forecasts(forecasts)


def _telling_what_cannot_be_sent(work: Iterator[Any], n_jobs: int) -> Iterator[Any]:
    try:
        yield from work
    except pickle.PicklingError as error:
        raise ValueError(
            f"Expected what the model and its fits are given to be such as can be sent to other processes with "
            f"n_jobs={n_jobs}, got {error.__cause__ or error}. Leave `n_jobs` out, or what cannot be sent."
        ) from error


def _run_fold(model: Any, fold: Fold, threads: int, parent: int) -> tuple[list[Any], list[tuple[type[Warning], str]]]:
    """Return the forecasts of a fold, and the warnings that it gave; in a process of its own."""
    if os.getpid() != parent:  # joblib divides nothing where it is called from a process of its own
        _end_with(parent)
        torch.set_num_threads(threads)
    model = model.untrained_model()  # joblib sends several folds at once, with one model for all
    with warnings.catch_warnings(record=True) as warned:
        try:
            model._fit_wrapper(**{"verbose": False} | fold.fit)
            made = [model._predict_wrapper(**{"verbose": False} | arguments) for arguments in fold.predictions]
        except Exception as error:
            error.add_note(f"In the refit for the forecast from {_start_of(fold)} on.")
            raise
    return made, [(warning.category, str(warning.message)) for warning in warned]


@functools.cache
def _end_with(parent: int) -> None:
    """End this process when its parent has been killed, which then tells nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    if multiprocessing.current_process().name.startswith("Loky"):  # not another machine's
        threading.Thread(target=watch, daemon=True).start()


def _start_of(fold: Fold) -> Any:
    series = fold.predictions[0]["series"]
    last = series if isinstance(series, TimeSeries) else series[0]
    return last.end_time() + last.freq
