"""A Darts model that is saved and loaded whole."""

import copy
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
)
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import CheckpointIO

from seq_plugins._private_names import checkpoint_file_name, checkpoint_folder, runs_folder
from seq_plugins.saving.checkpoint_io import AtomicCheckpointIO, without_unpicklable, write_with_torch
from seq_plugins.saving.integrity import check_same_save, digest, verify_integrity
from seq_plugins.saving.pair import atomic_pair, checkpoint_beside, finish_interrupted_save, lock_folder

logger = logging.getLogger(__name__)


class SavableModel(MixedCovariatesTorchModel, ABC):
    """Base of models whose files are whole, checked, and of one save."""

    trainer: Any
    load_ckpt_path: str | None

    def save(self, path: str | os.PathLike[str] | None = None, clean: bool = False) -> None:
        """Save the model, as in Darts; an existing file is replaced only once the new one is complete.

        Parameters
        ----------
        path
            Path of the file; the network's weights go into a second file, ``path + ".ckpt"``. By default, the name
            consists of the model's name and the time.
        clean
            Whether to leave out the training series and the trainer's settings.
        """
        path = self._default_save_path() + ".pt" if path is None else os.fspath(path)
        self._connect_to_save()
        _, left_out = without_unpicklable(self.model_params.get("pl_trainer_kwargs"))
        if left_out and not clean:
            logger.warning(
                "%s can't be pickled and is left out of %s. This model keeps it; a model loaded from there lacks it, "
                "unless you pass it again: `load(..., pl_trainer_kwargs=...)`.",
                ", ".join(left_out),
                path,
            )
        with atomic_pair(path) as files:
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
            verify_integrity(self.load_ckpt_path)
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
            If loading the model's file would run code that is not known to be harmless; none of it is run.
        pickle.UnpicklingError
            The same for the checkpoint.
        """
        path = os.fspath(path)
        finish_interrupted_save(path)
        with lock_folder(Path(path).parent, exclusive=False):
            verify_integrity(path, trusted=_is_trusted(kwargs, args, place=1))
            model = MixedCovariatesTorchModel.load(path, *args, **kwargs)
        cls._check_class(model, path)
        if model.__dict__.pop("_checkpoint_digest", None):
            raise FileNotFoundError(
                f"{path}.ckpt, which holds the weights of {path}, is missing. Restore it to the same folder, or load "
                "another model."
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

        Interrupted training can be resumed from the last checkpoint, ``best=False``, by :meth:`fit` with the same
        series. It ends with the weights of an uninterrupted run. As in Darts, epochs are counted from the first:
        `epochs`, by default the model's `n_epochs`, includes those before the interruption.

        Raises
        ------
        ValueError
            If a file is damaged, or the checkpoint is from a model of another class.
        pickle.UnpicklingError
            If the checkpoint would run code that is not known to be harmless; nothing of it is run.
        """
        model_path = Path(runs_folder(work_dir or _default_work_dir(), model_name), INIT_MODEL_NAME)
        if model_path.exists():
            verify_integrity(model_path, trusted=trusted)
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
                f"{path} holds weights of other shapes than those of a {type(self).__name__} with these arguments. "
                "Load it with the model that was trained."
            )

    def _load_from_checkpoint(self, file_path: str, trusted: bool = False, **kwargs: Any) -> Any:
        expected = self.__dict__.pop("_checkpoint_digest", None)
        verify_integrity(file_path, trusted=trusted)
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
        file_name = os.fspath(file_name or checkpoint_file_name(work_dir, model_name, best=best))
        checkpoint, model_path = Path(file_name), Path(file_name.removesuffix(".ckpt"))
        if file_name.startswith(("last-", "best-")):
            checkpoint = Path(checkpoint_folder(work_dir, model_name), file_name)
            model_path = Path(runs_folder(work_dir, model_name), INIT_MODEL_NAME)
        with self.restored_after(), lock_folder(checkpoint.parent, exclusive=False):
            verify_integrity(checkpoint, trusted=trusted)
            if not skip_checks and model_path.exists():
                verify_integrity(model_path, trusted=trusted)
                self._weights_to_load = str(checkpoint)
            super().load_weights_from_checkpoint(
                model_name, work_dir, file_name, best, strict, load_encoders, skip_checks, trusted, **kwargs
            )

    @contextmanager
    def restored_after(self, is_undone: Callable[[BaseException], bool] = lambda error: True) -> Iterator[None]:
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
            trainer_params = trainer_params | {"plugins": [*plugins, AtomicCheckpointIO()]}
        trainer_params = {"enable_model_summary": False} | trainer_params  # a table for those who ask for it
        return MixedCovariatesTorchModel._init_trainer(trainer_params, max_epochs)

    def _setup_checkpointing(self, *args: Any, **kwargs: Any) -> list[Any]:
        callbacks: list[Any] = super()._setup_checkpointing(*args, **kwargs)
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor is None:
                # every epoch is over then, also where not every one is validated
                callback._save_on_train_epoch_end = True
        return callbacks


def has_checkpoint(work_dir: str, model_name: str) -> bool:
    """Return whether a checkpoint of a whole epoch has been kept."""
    return any(Path(checkpoint_folder(work_dir, model_name)).glob("last-*.ckpt"))


def _default_work_dir() -> str:
    return str(Path.cwd() / DEFAULT_DARTS_FOLDER)


def _is_trusted(named: dict[str, Any], args: Sequence[Any], place: int) -> bool:
    """Return the argument `trusted` of Darts, by name or at its place."""
    return bool(named.get("trusted", args[place] if len(args) > place else False))
