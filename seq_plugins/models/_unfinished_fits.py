"""A failed fit leaves the model as it was before, and a prediction then says what is missing."""

import functools
from abc import ABC
from typing import Any

import pytorch_lightning as pl
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from pytorch_lightning.utilities.exceptions import SIGTERMException

from seq_plugins.lightning.divergence import DivergenceError
from seq_plugins.lightning.output import only_what_concerns_the_user
from seq_plugins.models._seeding import seeded
from seq_plugins.saving.savable_model import SavableModel, has_checkpoint

_predict = seeded(MixedCovariatesTorchModel.predict)
_predict_from_dataset = seeded(MixedCovariatesTorchModel.predict_from_dataset)


class UndoingModel(SavableModel, ABC):
    """Base of models that keep nothing of a fit that was refused, has diverged or was broken off."""

    _how_first_fit_ended: str | None = None
    """How the first fit ended, if it did not succeed."""

    _has_begun_to_train: bool = False
    """Whether the last fit has trained a batch."""

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
            with self.restored_after(is_undone):
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
                    if self.save_checkpoints and has_checkpoint(self.work_dir, self.model_name)
                    else "; with `save_checkpoints=True`, its last whole epoch can be loaded."
                )
            raise ValueError(f"This {type(self).__name__} is not fitted and can't predict. {remedy}")
        return _predict(self, *args, **kwargs)

    functools.update_wrapper(predict, MixedCovariatesTorchModel.predict)
    predict_from_dataset = _predict_from_dataset

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
