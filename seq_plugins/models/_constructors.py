"""What a model is constructed with: the arguments that reach its base class, its signature, and misspelt names.

Darts reads the arguments of the outermost constructor. In a subclass that passes others on, those that are passed on
count.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Set
from difflib import get_close_matches
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule

_NOTED = "_noted_arguments"
_NOT_FOR_USERS = {"train_sample_shape"}

# what other libraries, and people who come from them, call our arguments
_OTHER_NAMES = {
    "epochs": "n_epochs",
    "filters": "num_filters",
    "hidden_layers_sizes": "hidden_fc_sizes",
    "hidden_size": "hidden_dim",
    "horizon": "output_chunk_length",
    "input_size": "input_chunk_length",
    "learning_rate": 'optimizer_kwargs={"lr": ...}',
    "lookback": "input_chunk_length",
    "loss": "loss_fn",
    "metrics": "torch_metrics",
    "n_layers": "n_rnn_layers",
    "num_layers": "n_rnn_layers",
    "optimizer": "optimizer_cls",
    "scheduler": "lr_scheduler_cls",
    "seed": "random_state",
    "units": "hidden_dim",
}


def note_arguments(constructor: Callable[..., None]) -> Callable[..., None]:
    """Return the same constructor, which also notes what it is given, defaults included, for :func:`noted_arguments`.

    Parameters
    ----------
    constructor
        The ``__init__`` of a model.
    """
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def note_and_construct(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            given = signature.bind(self, *args, **kwargs)
        except TypeError:
            constructor(self, *args, **kwargs)  # raises Python's own error, which names the constructor
            raise
        given.apply_defaults()
        named = dict(list(given.arguments.items())[1:])
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                named |= named.pop(parameter.name)
            elif parameter.kind is parameter.VAR_POSITIONAL:
                del named[parameter.name]
        # a subclass's constructor comes before that of its base class, whose arguments win
        vars(self)[_NOTED] = vars(self).get(_NOTED, {}) | named
        constructor(self, *args, **kwargs)

    return note_and_construct


def noted_arguments(model: Any) -> dict[str, Any]:
    """Return the arguments of a model's constructors by name, those of the innermost first of all, and forget them."""
    return vars(model).pop(_NOTED)


def without_numpy_integers(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with Python's integers: Darts takes none of NumPy, such as tuning gives."""
    return {name: _plain(value) for name, value in arguments.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple) and any(isinstance(item, np.integer) for item in value):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, np.integer) else value


def full_signature(model_class: type) -> inspect.Signature:
    """Return the signature of a model's constructor with all that it takes as ``**kwargs``, own arguments first.

    Parameters
    ----------
    model_class
        The model's class.
    """
    own = list(inspect.signature(model_class.__init__).parameters.values())[1:]  # type: ignore[misc]
    if not own or own[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return inspect.Signature(own)
    names = {parameter.name for parameter in own}
    inherited = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in _named_parameters(model_class).items()
        if name not in names and name not in _NOT_FOR_USERS
    ]
    return inspect.Signature([*own[:-1], *inherited])


def check_names(model_class: type, arguments: Mapping[str, Any]) -> None:
    """Check that every argument is one that the model takes.

    Parameters
    ----------
    model_class
        The model's class.
    arguments
        The arguments that were given, by name.

    Raises
    ------
    ValueError
        If there are others; the error says for each which argument is probably meant.
    """
    known = _named_parameters(model_class).keys()
    unknown = [name for name in arguments if name not in known]
    if unknown:
        optimizer = arguments.get("optimizer_cls", torch.optim.Adam)
        suggestions = [f"`{name}`{_suggestion(name, known - _NOT_FOR_USERS, optimizer)}" for name in unknown]
        raise ValueError(
            f"{model_class.__name__} has no argument {' and no argument '.join(suggestions)}. "
            f"`help({model_class.__name__})` explains those that it has."
        )


def _named_parameters(model_class: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a model's constructor, and of those that it may pass arguments on to, own ones first."""
    parameters: dict[str, inspect.Parameter] = {}
    for base in [*model_class.__mro__[:-1], PLForecastingModule]:
        for name, parameter in inspect.signature(base.__init__).parameters.items():
            if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                parameters.setdefault(name, parameter)
    return parameters


def _suggestion(name: str, known: Set[str], optimizer: Any) -> str:
    meant = _OTHER_NAMES.get(name)
    if meant is None or meant.split("=")[0] not in known:
        meant = next(iter(get_close_matches(name, sorted(known), n=1)), None)
    for argument, taker in (("optimizer_kwargs", optimizer), ("pl_trainer_kwargs", pl.Trainer)):
        if callable(taker) and name in inspect.signature(taker).parameters:
            meant = f'{argument}={{"{name}": ...}}'
            break
    return "" if meant is None else f" (did you mean `{meant}`?)"
