"""Checks of constructor arguments, one for each argument name, shared by all models."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, get_args

from seq_plugins.layers.convolution import POOLING_LAYERS
from seq_plugins.layers.recurrent import RECURRENT_LAYERS
from seq_plugins.models._missing_values import Missing

ArgumentCheck = Callable[[str, Any], None]


def integer_from(minimum: int) -> ArgumentCheck:
    """Accept an integer of at least `minimum`."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
            raise ValueError(f"Expected `{name}` to be an integer of at least {minimum}, got {value!r}.")

    return check


def one_of(choices: Sequence[str | None]) -> ArgumentCheck:
    """Accept one of `choices`."""

    def check(name: str, value: Any) -> None:
        if not (value is None or isinstance(value, str)) or value not in choices:
            listed = ", ".join(repr(choice) for choice in choices)
            raise ValueError(f"Expected `{name}` to be one of {listed}, got {value!r}.")

    return check


def optional(check: ArgumentCheck) -> ArgumentCheck:
    """Accept ``None``, and what `check` accepts."""

    def check_unless_none(name: str, value: Any) -> None:
        if value is not None:
            check(name, value)

    return check_unless_none


def share(name: str, value: Any) -> None:
    """Accept a number from 0 up to, but not including, 1."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise ValueError(f"Expected `{name}` to be a number from 0 up to, but not including, 1, got {value!r}.")


def boolean(name: str, value: Any) -> None:
    """Accept ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ValueError(f"Expected `{name}` to be True or False, got {value!r}.")


def layer_sizes(name: str, value: Any) -> None:
    """Accept ``None`` or a list of positive integers."""
    if value is None:
        return
    if not isinstance(value, list | tuple):
        raise ValueError(f"Expected `{name}` to be None or a list of layer sizes such as [64], got {value!r}.")
    for position, size in enumerate(value):
        integer_from(1)(f"{name}[{position}]", size)


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


ARGUMENT_CHECKS: Mapping[str, ArgumentCheck] = {
    "input_chunk_length": integer_from(1),
    "output_chunk_length": integer_from(1),
    "output_chunk_shift": integer_from(0),
    "batch_size": integer_from(1),
    "model": one_of(list(RECURRENT_LAYERS)),
    "hidden_dim": integer_from(1),
    "n_rnn_layers": integer_from(1),
    "dropout": share,
    "recurrent_dropout": share,
    "activation": one_of(ACTIVATIONS),
    "hidden_fc_sizes": layer_sizes,
    "num_filters": integer_from(1),
    "kernel_size": integer_from(1),
    "stride": integer_from(1),
    "pooling": one_of([None, *POOLING_LAYERS]),
    "pool_size": integer_from(1),
    "sequence_to_sequence": boolean,
    "use_static_covariates": boolean,
    "season_length": optional(integer_from(1)),
    "missing": one_of(get_args(Missing)),
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
