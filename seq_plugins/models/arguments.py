"""Checks of constructor arguments, one for each argument name, shared by all models.

They raise a ``ValueError`` for a wrong type too, as Darts does; those of text estimators a ``TypeError``, as
scikit-learn wants it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, get_args

from darts.utils.likelihood_models.torch import TorchLikelihood
from torchmetrics import Metric, MetricCollection

from seq_plugins._arguments import check_choice
from seq_plugins.layers.convolution import POOLING_LAYERS
from seq_plugins.layers.local_normalization import LocalNormalizationName
from seq_plugins.layers.missing_values import Missing
from seq_plugins.layers.recurrent import RECURRENT_LAYERS

ArgumentCheck = Callable[[str, Any], None]


SOME_EPOCHS = "at least 1, or -1 to train until something else stops training"


def integer_from(minimum: int) -> ArgumentCheck:
    """Accept an integer of at least `minimum`."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
            raise ValueError(f"Expected `{name}` to be an integer of at least {minimum}, got {value!r}.")

    return check


def positive_number(name: str, value: Any) -> None:
    """Check that a value is a finite number above zero."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < float("inf"):
        raise unexpected(name, "a number above 0", value)


def one_of(choices: Sequence[str | None]) -> ArgumentCheck:
    """Accept one of `choices`."""
    return lambda name, value: check_choice(f"`{name}`", value, choices)


def optional(check: ArgumentCheck) -> ArgumentCheck:
    """Accept ``None``, and what `check` accepts."""

    def check_unless_none(name: str, value: Any) -> None:
        if value is not None:
            check(name, value)

    return check_unless_none


def fraction(name: str, value: Any) -> None:
    """Accept a number from 0 up to, but not including, 1."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise ValueError(f"Expected `{name}` to be a number from 0 up to, but not including, 1, got {value!r}.")


def boolean(name: str, value: Any) -> None:
    """Accept ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ValueError(f"Expected `{name}` to be True or False, got {value!r}.")


def instance_of(classes: type | tuple[type, ...], description: str) -> ArgumentCheck:
    """Accept an instance of one of `classes`; `description` says to the user what that is."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, classes):
            raise unexpected(name, description, value)

    return check


def loss(name: str, value: Any) -> None:
    """Accept a module or a function of forecasts and targets."""
    if isinstance(value, type) or not callable(value):
        raise unexpected(name, "a loss such as torch.nn.L1Loss()", value)


def factory(example: str) -> ArgumentCheck:
    """Accept a class, or what makes an object as a class does."""

    def check(name: str, value: Any) -> None:
        if not callable(value):
            raise unexpected(name, f"a class such as {example}", value)

    return check


def metrics(name: str, value: Any) -> None:
    """Accept one metric of torchmetrics or several."""
    several = list(value.values()) if isinstance(value, dict) else value
    listed = [several] if isinstance(several, Metric | MetricCollection) else several
    if not isinstance(listed, Sequence) or not all(isinstance(item, Metric | MetricCollection) for item in listed):
        raise unexpected(name, "a metric such as torchmetrics.MeanAbsoluteError(), or several in a list", value)


def instance_norm(name: str, value: Any) -> None:
    """Accept ``True``, ``False`` or the arguments of Darts' layer."""
    if not isinstance(value, bool) and not (isinstance(value, dict) and value.keys() <= {"affine", "eps"}):
        raise unexpected(name, 'True, False or a dictionary with "affine" or "eps"', value)


def trainer_arguments(name: str, value: Any) -> None:
    """Accept a dictionary that lets a trainer train."""
    _DICTIONARY_OF_TRAINER(name, value)
    if value.get("max_epochs") == 0:
        raise unexpected(f'{name}["max_epochs"]', SOME_EPOCHS, 0)
    callbacks = value.get("callbacks", [])
    if not isinstance(callbacks, list | tuple) or any(isinstance(callback, type) for callback in callbacks):
        raise unexpected(f'{name}["callbacks"]', "a list of callbacks such as [EarlyStopping(...)]", callbacks)


def unexpected(name: str, description: str, value: Any) -> ValueError:
    """Return the error that says what was expected of an argument, and what came."""
    got, remedy = repr(value), ""
    if isinstance(value, type):
        got, remedy = f"the class {value.__name__}", f" Give an instance of it: {value.__name__}(...)."
    elif not isinstance(value, str | Real | list | tuple | dict | None):
        got = f"an object of class {type(value).__name__}"
    return ValueError(f"Expected `{name}` to be {description}, got {got}.{remedy}")


def positive_integers(description: str) -> ArgumentCheck:
    """Accept ``None`` or a list of positive integers; `description` says to the user of what."""

    def check(name: str, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, list | tuple):
            raise ValueError(f"Expected `{name}` to be None or a list of {description}, got {value!r}.")
        for position, number in enumerate(value):
            integer_from(1)(f"{name}[{position}]", number)

    return check


def layer_sizes(name: str, value: Any) -> None:
    """Accept ``None`` or a list of positive integers."""
    positive_integers("layer sizes such as [64]")(name, value)


def season_lengths(name: str, value: Any) -> None:
    """Accept ``None``, a positive integer or a list of different ones."""
    if not isinstance(value, list | tuple):
        optional(integer_from(1))(name, value)
        return
    for position, length in enumerate(value):
        integer_from(1)(f"{name}[{position}]", length)
    if not value or len(set(value)) < len(value):
        raise ValueError(f"Expected `{name}` to list each season once, such as [24, 168], got {value!r}.")


# those that act on each number by itself; Softmax and its like would mix time steps or samples
ACTIVATIONS = (
    "CELU",
    "ELU",
    "GELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
)


_DICTIONARY_OF_TRAINER = instance_of(dict, 'None or a dictionary such as {"accelerator": "cpu"}')
_PATH = instance_of((str, os.PathLike), "None or a string")

ARGUMENT_CHECKS: Mapping[str, ArgumentCheck] = {
    "input_chunk_length": integer_from(1),
    "output_chunk_length": integer_from(1),
    "output_chunk_shift": integer_from(0),
    "batch_size": integer_from(1),
    "model": one_of(list(RECURRENT_LAYERS)),
    "hidden_dim": integer_from(1),
    "n_rnn_layers": integer_from(1),
    "dilations": positive_integers("dilations such as [1, 24]"),
    "dropout": fraction,
    "recurrent_dropout": fraction,
    "layer_norm": boolean,
    "activation": one_of(ACTIVATIONS),
    "hidden_fc_sizes": layer_sizes,
    "segment_length": optional(integer_from(1)),
    "num_filters": integer_from(1),
    "kernel_size": integer_from(1),
    "stride": integer_from(1),
    "pooling": one_of([None, *POOLING_LAYERS]),
    "pool_size": integer_from(1),
    "sequence_to_sequence": boolean,
    "use_static_covariates": boolean,
    "season_length": season_lengths,
    "local_normalization": one_of([None, *get_args(LocalNormalizationName)]),
    "missing": one_of(get_args(Missing)),
    "sort_quantiles": boolean,
    "ensemble_size": integer_from(1),
    # Darts' own
    "n_epochs": integer_from(1),
    "nr_epochs_val_period": integer_from(1),
    "likelihood": optional(
        instance_of(
            TorchLikelihood,
            "None or a likelihood of darts.utils.likelihood_models.torch such as "
            "QuantileRegression(quantiles=[0.1, 0.5, 0.9])",
        )
    ),
    "loss_fn": optional(loss),
    "torch_metrics": optional(metrics),
    "optimizer_cls": factory("torch.optim.AdamW"),
    "optimizer_kwargs": optional(instance_of(dict, 'None or a dictionary such as {"lr": 0.001}')),
    "lr_scheduler_cls": optional(factory("torch.optim.lr_scheduler.StepLR")),
    "lr_scheduler_kwargs": optional(instance_of(dict, 'None or a dictionary such as {"step_size": 10}')),
    "use_reversible_instance_norm": instance_norm,
    "enable_finetuning": optional(
        instance_of((bool, dict), 'None, True, False or a dictionary such as {"freeze": ["encoder.*"]}')
    ),
    "add_encoders": optional(instance_of(dict, 'None or a dictionary such as {"cyclic": {"future": ["month"]}}')),
    "pl_trainer_kwargs": optional(trainer_arguments),
    "model_name": optional(_PATH),
    "work_dir": optional(_PATH),
}


def check_arguments(arguments: Mapping[str, Any], own_checks: Mapping[str, ArgumentCheck]) -> None:
    """Check every argument that has a check of its name.

    Parameters
    ----------
    arguments
        Arguments by name.
    own_checks
        Checks that come on top of those in ``ARGUMENT_CHECKS``, by name.

    Raises
    ------
    ValueError
        If an argument is of the wrong type or out of range.
    """
    checks = {**ARGUMENT_CHECKS, **own_checks}
    for name, value in arguments.items():
        if name in checks:
            checks[name](name, value)
    if "loss_fn" in arguments and arguments["loss_fn"] is None and arguments.get("likelihood") is None:
        loss("loss_fn", None)
