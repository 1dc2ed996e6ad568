"""A Darts model that is saved and loaded whole, whose training may be interrupted, and may fail."""

import copy
import functools
import logging
import os
import shutil
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from darts.models.forecasting.torch_forecasting_model import (
    DEFAULT_DARTS_FOLDER,
    INIT_MODEL_NAME,
    MixedCovariatesTorchModel,
    _get_checkpoint_fname,
    _get_checkpoint_folder,
    _get_runs_folder,
)
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException

from seq_plugins.lightning.divergence import DivergenceError
from seq_plugins.models._output import only_what_concerns_the_user
from seq_plugins.saving.pair import (
    WholeCheckpointIO,
    check_same_save,
    check_whole,
    checkpoint_beside,
    digest,
    finish_interrupted_save,
    lock_folder,
    whole_pair,
    without_unpicklable,
    write_with_torch,
)

logger = logging.getLogger(__name__)


class SavableModel(MixedCovariatesTorchModel, ABC):
    """Base of models whose files are whole, checked, and of one save."""

    trainer: Any
    load_ckpt_path: str | None

    _how_first_fit_ended: str | None = None
    """How the first fit ended, if it did not succeed."""

    _has_begun_to_train: bool = False
    """Whether the last fit has trained a batch."""

    def save(self, path: str | os.PathLike[str] | None = None, clean: bool = False) -> None:
        """Save the model, as Darts does; a file that stands at `path` is replaced only when the new one is whole.

        Parameters
        ----------
        path
            Path of the file; the network's weights go into a second one, ``path + ".ckpt"``. By default, a name made of
            the model's and the time.
        clean
            Whether to leave out the training series and the trainer's settings.
        """
        path = self._default_save_path() + ".pt" if path is None else os.fspath(path)
        self._connect_to_save()
        _, left_out = without_unpicklable(self.model_params.get("pl_trainer_kwargs"))
        if left_out and not clean:
            logger.warning(
                "%s can't be pickled and is left out of %s. This model keeps it; one that is loaded from there does "
                "without it, unless it is given again: `load(..., pl_trainer_kwargs=...)`.",
                ", ".join(left_out),
                path,
            )
        with whole_pair(path) as files:
            self._write_checkpoint(files.checkpoint, clean)
            if self.trainer is not None and not self.trainer.is_global_zero:
                return  # another process writes the model
            token = checkpoint_beside.set(digest(files.checkpoint) if files.checkpoint.exists() else "")
            try:
                write_with_torch(self._clean() if clean else self, files.model)
            finally:
                checkpoint_beside.reset(token)

    def _connect_to_save(self) -> None:
        """Give the network of a copy, or one that was loaded, a trainer that can save it."""
        is_connected = self.trainer is not None and self.trainer.lightning_module is not None
        has_file = self.load_ckpt_path is not None and Path(self.load_ckpt_path).exists()
        if self.model is not None and not is_connected and not has_file:
            self.trainer = self._setup_trainer(None, self.model)
            self.trainer.strategy.connect(self.model)

    def _write_checkpoint(self, path: Path, clean: bool) -> None:
        """Write weights and, unless `clean`, all that training can go on from; nothing if there is no network yet."""
        if self.trainer is not None:
            self.trainer.save_checkpoint(path, weights_only=clean)
        elif self.load_ckpt_path:
            check_whole(self.load_ckpt_path)
            shutil.copy(self.load_ckpt_path, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Load a saved model; arguments are those of Darts, and `path` may be a path object.

        Raises
        ------
        ValueError
            If one of the two files is damaged, they are not of the same save, or the model is of another class.
        FileNotFoundError
            If one of them is missing.
        RuntimeError
            If the model's file would run code that is not known to be harmless; nothing of it is run.
        pickle.UnpicklingError
            If the checkpoint would.
        """
        path = os.fspath(path)
        finish_interrupted_save(path)
        with lock_folder(Path(path).parent, exclusive=False):
            check_whole(path, trusted=_is_trusted(kwargs, args, place=1))
            model = MixedCovariatesTorchModel.load(path, *args, **kwargs)
        cls._check_class(model, path)
        if model.__dict__.pop("_checkpoint_digest", None):
            raise FileNotFoundError(
                f"{path}.ckpt, which holds the weights of {path}, is missing. Put it back beside it, or load another "
                "model."
            )
        return model

    @classmethod
    def load_from_checkpoint(
        cls,
        model_name: str,
        work_dir: str | None = None,
        file_name: str | None = None,
        best: bool = True,
        trusted: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load a checkpoint of training, as Darts does.

        A training that was interrupted goes on from its last one, ``best=False``, with :meth:`fit` and the same series.
        It ends with the weights of an uninterrupted one. As in Darts, epochs count from the first: `epochs`, by default
        the model's `n_epochs`, includes those before the interruption.

        Raises
        ------
        ValueError
            If a file is damaged, or the checkpoint is one of another class.
        pickle.UnpicklingError
            If the checkpoint would run code that is not known to be harmless; nothing of it is run.
        """
        model_path = Path(_get_runs_folder(work_dir or _default_work_dir(), model_name), INIT_MODEL_NAME)
        if model_path.exists():
            check_whole(model_path, trusted=trusted)
        model = MixedCovariatesTorchModel.load_from_checkpoint(model_name, work_dir, file_name, best, trusted, **kwargs)
        cls._check_class(model, model_path)
        model._check_shapes(model.load_ckpt_path)
        if hasattr(model._random_instance, "get_state"):
            model._random_state_of_training = model._random_instance.get_state()
        return model

    @classmethod
    def _check_class(cls, model: Any, path: str | os.PathLike[str]) -> None:
        if not isinstance(model, cls):
            name = type(model).__name__
            raise ValueError(f"{path} holds a {name}, expected a {cls.__name__}. Load it with `{name}`.")

    def _check_shapes(self, path: str) -> None:
        """Check that the network of a checkpoint is one that this model would make."""
        with torch.random.fork_rng(devices=[]):
            expected = self._create_model(self.train_sample)
        shapes = [{name: weight.shape for name, weight in each.state_dict().items()} for each in (expected, self.model)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path} holds weights of other shapes than a {type(self).__name__} made with these arguments has. "
                "Load it with the model that was trained."
            )

    def _load_from_checkpoint(self, file_path: str, trusted: bool = False, **kwargs: Any) -> Any:
        expected = self.__dict__.pop("_checkpoint_digest", None)
        check_whole(file_path, trusted=trusted)
        if expected:
            check_same_save(None, file_path, expected)
        try:
            return super()._load_from_checkpoint(file_path, trusted=trusted, **kwargs)
        except (RuntimeError, TypeError, KeyError) as error:
            if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
                raise
            raise ValueError(
                f"{file_path} can't be loaded into a {type(self).__name__} made with these arguments: {error}"
            ) from error

    def load_weights_from_checkpoint(
        self,
        model_name: str | None = None,
        work_dir: str | None = None,
        file_name: str | os.PathLike[str] | None = None,
        best: bool = True,
        strict: bool = True,
        load_encoders: bool = True,
        skip_checks: bool = False,
        trusted: bool = False,
        **kwargs: Any,
    ) -> None:
        """Load the weights of a checkpoint, as Darts does; if that fails, the model stays as it was.

        Arguments are those of Darts, and `file_name` may be a path object.

        Raises
        ------
        ValueError
            If arguments exclude each other, a file is damaged, the files are not of the same save, or the weights are
            those of another network.
        pickle.UnpicklingError
            If the checkpoint would run code that is not known to be harmless; nothing of it is run.
        """
        if (skip_checks and load_encoders) or "weights_only" in kwargs:  # Darts refuses that, whatever is in the files
            super().load_weights_from_checkpoint(
                model_name, work_dir, file_name, best, strict, load_encoders, skip_checks, trusted, **kwargs
            )
        model_name, work_dir = model_name or self.model_name, work_dir or _default_work_dir()
        file_name = os.fspath(file_name or _get_checkpoint_fname(work_dir, model_name, best=best))
        checkpoint, model_path = Path(file_name), Path(file_name.removesuffix(".ckpt"))
        if file_name.startswith(("last-", "best-")):
            checkpoint = Path(_get_checkpoint_folder(work_dir, model_name), file_name)
            model_path = Path(_get_runs_folder(work_dir, model_name), INIT_MODEL_NAME)
        with self._restored_after(), lock_folder(checkpoint.parent, exclusive=False):
            check_whole(checkpoint, trusted=trusted)
            if not skip_checks and model_path.exists():
                check_whole(model_path, trusted=trusted)
                self._weights_to_load = str(checkpoint)
            super().load_weights_from_checkpoint(
                model_name, work_dir, file_name, best, strict, load_encoders, skip_checks, trusted, **kwargs
            )

    @contextmanager
    def _restored_after(self, is_undone: Callable[[BaseException], bool] = lambda error: True) -> Iterator[None]:
        """Make the model what it was before, if an error that is to be undone ends the work; the error goes on."""
        before = self.__dict__ | {"trainer_params": dict(self.trainer_params)}
        try:
            yield
        except BaseException as error:
            if is_undone(error):
                self.__dict__ = before
            raise

    def load_weights(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Load the weights of a saved model, as Darts does; `path` may be a path object.

        Raises
        ------
        ValueError
            As :meth:`load_weights_from_checkpoint` does, or if there is no checkpoint beside `path`.
        """
        path = os.fspath(path)
        finish_interrupted_save(path)
        super().load_weights(path, *args, **kwargs)

    def _check_ckpt_parameters(self, tfm_save: Any) -> None:
        expected, checkpoint = tfm_save.__dict__.pop("_checkpoint_digest", None), self.__dict__.pop("_weights_to_load")
        if expected:
            check_same_save(None, checkpoint, expected)
        super()._check_ckpt_parameters(tfm_save)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        beside = checkpoint_beside.get()
        if beside is not None:
            state["_checkpoint_digest"] = beside
            state["trainer_params"], _ = without_unpicklable(state["trainer_params"])
            arguments = self.model_params.get("pl_trainer_kwargs")
            if arguments is not None:
                state["_model_params"] = copy.copy(self.model_params)
                state["_model_params"]["pl_trainer_kwargs"], _ = without_unpicklable(arguments)
        elif self.model is not None:
            weights = {name: weight.detach().cpu() for name, weight in self.model.state_dict().items()}
            # arrays and no tensors, so that Darts' restricted loading takes them; NumPy has no bfloat16
            state["_pickled_weights"] = (
                str(self.model.dtype).removeprefix("torch."),
                {
                    name: (weight.float() if weight.dtype == torch.bfloat16 else weight).numpy()
                    for name, weight in weights.items()
                },
            )
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        dtype, weights = state.pop("_pickled_weights", (None, None))
        super().__setstate__(state)
        if weights is not None:
            with torch.random.fork_rng(devices=[]):  # the initial weights are thrown away
                self.model = self._create_model(self.train_sample).to(getattr(torch, dtype))
            self.model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
            self._setup_finetuning(self.model)

    @staticmethod
    def _init_trainer(trainer_params: dict[str, Any], max_epochs: int | None = None) -> pl.Trainer:
        plugins = trainer_params.get("plugins") or []
        if isinstance(plugins, list | tuple) and not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            trainer_params = trainer_params | {"plugins": [*plugins, WholeCheckpointIO()]}
        trainer_params = {"enable_model_summary": False} | trainer_params  # a table for those who ask for it
        trainer: pl.Trainer = MixedCovariatesTorchModel._init_trainer(trainer_params, max_epochs)
        return trainer

    def _setup_checkpointing(self, *args: Any, **kwargs: Any) -> list[Any]:
        callbacks: list[Any] = super()._setup_checkpointing(*args, **kwargs)
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor is None:
                # every epoch is over then, also where not every one is validated
                callback._save_on_train_epoch_end = True
        return callbacks

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        random_instance: Any = self.__dict__.get("_random_instance")
        random_state = random_instance.get_state() if hasattr(random_instance, "get_state") else None
        was_fitted = self.model is not None
        self._has_begun_to_train = False

        def is_undone(error: BaseException) -> bool:
            # what a network has learnt stays. Darts counts a model as fitted, and keeps its series, before it trains
            if was_fitted and self._has_begun_to_train and not isinstance(error, DivergenceError):
                return False
            if random_state is not None:
                random_instance.set_state(random_state)
            return True

        try:
            with self._restored_after(is_undone):
                fitted = super().fit(*args, **kwargs)
        except BaseException as error:
            if not was_fitted:
                was_interrupted = isinstance(error, SystemExit | KeyboardInterrupt | SIGTERMException)
                self._how_first_fit_ended = "interrupted" if was_interrupted else f"ended by a {type(error).__name__}"
            raise
        self._how_first_fit_ended = None
        return fitted

    functools.update_wrapper(fit, MixedCovariatesTorchModel.fit)  # a decorator would hide from mypy that it is a method

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        if not self._fit_called:
            remedy = "Call `fit` first, or load the weights of a fitted model with `load_weights`."
            if self._how_first_fit_ended:
                remedy = f"Its first fit was {self._how_first_fit_ended}, and nothing of it is kept. Call `fit` again"
                remedy += (
                    f', or load the last whole epoch: `{type(self).__name__}.load_from_checkpoint("{self.model_name}", '
                    f'work_dir="{self.work_dir}", best=False)`.'
                    if self.save_checkpoints and _has_checkpoint(self.work_dir, self.model_name)
                    else "; with `save_checkpoints=True`, its last whole epoch can be loaded."
                )
            raise ValueError(f"This {type(self).__name__} is not fitted and can't predict. {remedy}")
        return super().predict(*args, **kwargs)

    functools.update_wrapper(predict, MixedCovariatesTorchModel.predict)

    def _train(self, trainer: pl.Trainer, model: Any, *args: Any, **kwargs: Any) -> None:
        """Train as Darts does; of a training that diverges, the network keeps nothing."""
        weights, trainer_of_network = None, model._trainer
        if self.model is not None:
            weights = {name: weight.detach().clone() for name, weight in self.model.state_dict().items()}
        model.forget_losses()
        resumed, random_state = self.load_ckpt_path, self.__dict__.pop("_random_state_of_training", None)
        try:
            with only_what_concerns_the_user():
                super()._train(trainer, model, *args, **kwargs)
        except BaseException as error:
            self._fit_called = weights is not None
            self._has_begun_to_train = model.has_trained_a_batch
            if self._has_begun_to_train and not isinstance(error, DivergenceError):
                raise
            model.on_train_end()
            model.on_fit_end()
            model._trainer = trainer_of_network  # which counts its epochs
            if weights is not None:
                model.load_state_dict(weights)
                self.load_ckpt_path = resumed
            raise
        self._has_begun_to_train = True
        if resumed and random_state is not None:  # forecasts drawn at random are those after an uninterrupted run
            self._random_instance.set_state(random_state)


def _has_checkpoint(work_dir: str, model_name: str) -> bool:
    return any(Path(_get_checkpoint_folder(work_dir, model_name)).glob("last-*.ckpt"))


def _default_work_dir() -> str:
    return str(Path.cwd() / DEFAULT_DARTS_FOLDER)


def _is_trusted(named: dict[str, Any], args: Sequence[Any], place: int) -> bool:
    """Return the argument `trusted` of Darts, by name or at its place."""
    return bool(named.get("trusted", args[place] if len(args) > place else False))
