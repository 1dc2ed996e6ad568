"""Batches of an ensemble: those that each member would be given if it were trained alone, one after another."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler

from seq_plugins._private_names import TorchDataModule

# K: members, B: samples of a member in a batch


class MembersDataModule(TorchDataModule):
    """Darts' data module, whose training batches are those of all members, `(K * B, ...)`.

    Members draw the order of their samples, and whatever else a loader draws, each from its own random numbers, as a
    loader does in training alone. Validation batches are the same for all, `(B, ...)`.

    Parameters
    ----------
    data_module
        Data module, as Darts has made it for training.
    generators
        Random numbers of each member.
    """

    def __init__(self, data_module: TorchDataModule, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.__dict__ |= vars(data_module)
        self._generators = generators

    def train_dataloader(self) -> Any:
        """Return the loader of training batches."""
        return self._of_members(super().train_dataloader(), MemberBatches)

    def val_dataloader(self) -> Any:
        """Return the loader of validation batches."""
        return self._of_members(super().val_dataloader(), SharedBatches)

    def _of_members(self, loader: Any, kind: "type[SharedBatches]") -> Any:
        if not isinstance(loader, DataLoader):
            return loader
        arguments = {name: value for name, value in self.dataloader_kwargs.items() if name not in _OF_A_SAMPLER}
        return DataLoader(loader.dataset, batch_sampler=kind(loader, self.draw, len(self._generators)), **arguments)

    def draw(self) -> list[int]:
        """Return a number drawn for each member, as PyTorch's loaders and samplers draw theirs."""
        if self.trainer is not None and self.trainer.sanity_checking:  # Lightning makes up for what that draws
            return []
        empty = torch.empty((), dtype=torch.int64)
        return [int(empty.random_(generator=generator).item()) for generator in self._generators]


_OF_A_SAMPLER = ("batch_sampler", "drop_last", "sampler", "shuffle")


class SharedBatches(Sampler[list[int]]):
    """Batches of another loader, for all members.

    Parameters
    ----------
    loader
        The loader.
    draw
        Draws a number for each member.
    n_members
        Number of members.
    """

    def __init__(self, loader: DataLoader[Any], draw: Callable[[], list[int]], n_members: int) -> None:
        self._loader = loader
        self._draw = draw
        self._n_members = n_members

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[int]]:
        if self._loader.generator is None:
            self._draw()  # as each member's loader does when its batches begin
        yield from self._loader.batch_sampler or ()


class MemberBatches(SharedBatches):
    """Batches of all members, `(K * B,)`, each member's samples in an order of its own.

    With a sampler or random numbers that the user gave, all have the same order.
    """

    def __iter__(self) -> Iterator[list[int]]:
        loader, batches_of_one = self._loader, self._loader.batch_sampler
        draws_order = type(loader.sampler) is RandomSampler and loader.generator is None
        if not draws_order or not isinstance(batches_of_one, BatchSampler):
            for batch in super().__iter__():
                yield [*batch] * self._n_members
            return
        self._draw()
        orders = []
        for seed in self._draw():
            sampler = RandomSampler(loader.dataset, generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
            orders.append(BatchSampler(sampler, batches_of_one.batch_size, batches_of_one.drop_last))
        for batches in zip(*orders, strict=True):
            yield [index for batch in batches for index in batch]
