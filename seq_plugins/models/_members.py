"""Ensembles that are trained as one: members with separate seeds, and each of them as a separate model."""

import copy
from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from darts.utils.utils import MAX_NUMPY_SEED_VALUE, MAX_TORCH_SEED_VALUE

from seq_plugins.models._refits import RefittingModel
from seq_plugins.models.module import SequenceModule
from seq_plugins.windows import MembersDataModule

_NOT_BY_SINGLE_WEIGHTS = ("Adafactor", "LBFGS", "Muon", "Shampoo", "SOAP")


class RandomStates:
    """The random numbers of all members, drawn together; to Darts, they are those of the first.

    Parameters
    ----------
    first
        Random numbers of the first member, from which one number has been drawn.
    seed
        The model's seed; members have it and the numbers that follow. If ``None``, they have any.
    n_members
        Number of members.
    """

    def __init__(self, first: np.random.RandomState, seed: Any, n_members: int) -> None:
        if isinstance(seed, int | np.integer):
            seeds = [(int(seed) + member) % (MAX_NUMPY_SEED_VALUE + 1) for member in range(1, n_members)]
        else:
            drawn = copy.deepcopy(first)
            seeds = drawn.randint(0, MAX_NUMPY_SEED_VALUE, size=n_members - 1).tolist()
        self._states = [first, *(np.random.RandomState(each) for each in seeds)]
        for state in self._states[1:]:
            state.randint(0, high=MAX_TORCH_SEED_VALUE)  # as a model that stands alone does in its constructor
        self.last = [0] * n_members

    def randint(self, *args: Any, **kwargs: Any) -> Any:
        """Return a number drawn for the first member; those of all members are :attr:`last`."""
        self.last = [state.randint(*args, **kwargs) for state in self._states]
        return self.last[0]

    def of_member(self, member: int) -> np.random.RandomState:
        """Return the random numbers that a member goes on with when it stands alone."""
        return copy.deepcopy(self._states[member])

    def get_state(self) -> Any:
        """Return what has been drawn so far."""
        return [state.get_state() for state in self._states], self.last

    def set_state(self, state: Any) -> None:
        """Go back to what :meth:`get_state` gave."""
        states, self.last = state
        for each, saved in zip(self._states, states, strict=True):
            each.set_state(saved)


class ModelOfMembers(RefittingModel, ABC):
    """Base of models with an `ensemble_size`."""

    _module_class: ClassVar[type[SequenceModule]]
    _module_params: dict[str, Any]
    _random_instance: Any

    @property
    def ensemble_size(self) -> int:
        """Number of members."""
        return int(self._module_params.get("ensemble_size", 1))

    @property
    def members(self) -> list[Any]:
        """The fitted members, each as a separate model; without an ensemble, the model itself.

        Members are copies: changing them does not change the ensemble.

        Raises
        ------
        ValueError
            If the model has not been fitted.
        """
        if self.model is None:
            raise ValueError(f"This {type(self).__name__} is not fitted and has no members yet. Call `fit` first.")
        if self.ensemble_size == 1:
            return [self]
        state = self.__getstate__()
        return [self._member(state, index) for index in range(self.ensemble_size)]

    def _member(self, state: Mapping[str, Any], index: int) -> Any:
        """Return a member, given the state of a copy of the ensemble."""
        arguments = {name: value for name, value in self._model_params.items() if name != "ensemble_size"}
        if isinstance(arguments.get("random_state"), int):
            arguments["random_state"] += index
        dtype, weights = state["_pickled_weights"]
        of_member = self.model.state_of_member(weights, index)
        own = {
            "_model_params": arguments,
            "_module_params": self._module_params | {"ensemble_size": 1},
            "_random_instance": self._random_instance.of_member(index),
            "_pickled_weights": (dtype, {name: np.asarray(weight) for name, weight in of_member.items()}),
        }
        member = object.__new__(type(self))
        member.__setstate__({**state, **own})
        return member

    def _draw_for_members(self) -> None:
        """Give each member random numbers of its own; to be called by the constructor."""
        if self.ensemble_size > 1:
            seed = self.model_params.get("random_state")
            self._random_instance = RandomStates(self._random_instance, seed, self.ensemble_size)

    def _create_members(self, arguments: Mapping[str, Any]) -> SequenceModule:
        """Return a network whose members are those that models with their seeds would make."""
        networks, generators = [], []
        for member, seed in enumerate(self._random_instance.last):
            with torch.random.fork_rng(devices=[]):
                if member > 0:  # PyTorch's generator is that of the first
                    torch.default_generator.manual_seed(seed)
                networks.append(self._module_class(**{**arguments, "ensemble_size": 1}))
                generators.append(torch.Generator())
                generators[-1].set_state(torch.get_rng_state())
        with torch.random.fork_rng(devices=[]):  # the initial weights are thrown away
            module = self._module_class(**arguments)
        module.load_members(networks)
        module.generators = generators
        return module

    def _setup_for_train(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.ensemble_size > 1 and self.model is not None:
            self.model.generators = [torch.Generator().manual_seed(seed) for seed in self._random_instance.last]
        arguments: dict[str, Any] = super()._setup_for_train(*args, **kwargs)
        if self.ensemble_size > 1:
            n_processes = arguments["trainer"].world_size
            if n_processes > 1:
                raise ValueError(
                    f"Expected one device to train on with ensemble_size={self.ensemble_size}, got {n_processes}: the "
                    'members are trained together on one. Give `pl_trainer_kwargs={"devices": 1}`, or leave '
                    "`ensemble_size` out."
                )
            arguments["datamodule"] = MembersDataModule(arguments["datamodule"], arguments["model"].generators)
        return arguments


def check_optimizer_of_members(ensemble_size: int, optimizer_cls: Any) -> None:
    """Check that an optimizer updates each weight by its own gradients, so that members stay apart.

    Parameters
    ----------
    ensemble_size
        Number of members.
    optimizer_cls
        Class of the optimizer, or ``None``.

    Raises
    ------
    ValueError
        If it does not, and there are several members.
    """
    name = getattr(optimizer_cls, "__name__", None)
    if ensemble_size > 1 and name in _NOT_BY_SINGLE_WEIGHTS:
        raise ValueError(
            f"Expected `optimizer_cls` to update each weight independently with ensemble_size={ensemble_size}, such as "
            f"torch.optim.AdamW, got {name}, which would treat the weights of all members as one. Give another, or "
            "leave `ensemble_size` out."
        )
