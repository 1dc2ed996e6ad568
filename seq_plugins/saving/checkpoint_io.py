"""How checkpoints are written and read, and what of a model's arguments can be."""

import pickle
from pathlib import Path
from typing import Any

import torch

from seq_plugins._files import atomic_file
from seq_plugins._private_names import DartsCheckpointIO
from seq_plugins.saving.integrity import verify_integrity


def without_unpicklable(trainer_arguments: dict[str, Any] | None) -> tuple[dict[str, Any] | None, list[str]]:
    """Return arguments of a trainer without what can't be pickled, and the names of what that is.

    Parameters
    ----------
    trainer_arguments
        Arguments of Lightning's trainer, or ``None``; they are not changed.
    """
    if trainer_arguments is None:
        return None, []
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in trainer_arguments.items():
        if _can_be_pickled(value):
            kept[name] = value
        elif isinstance(value, list | tuple):
            kept[name] = [each for each in value if _can_be_pickled(each)]
            left_out += [f"{type(each).__name__} of `{name}`" for each in value if not _can_be_pickled(each)]
        else:
            left_out.append(f"{type(value).__name__} of `{name}`")
            if name == "logger":
                kept[name] = False  # by default, Lightning would make one
    return kept, left_out


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.dumps(value, torch.serialization.DEFAULT_PROTOCOL)
    except Exception:  # it may be of any kind
        return False
    return True


def write_with_torch(thing: Any, path: Path) -> None:
    """Write something with ``torch.save``; a full disk is an ``OSError``, which PyTorch makes another error of."""
    try:
        with path.open("wb") as file:
            torch.save(thing, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


class AtomicCheckpointIO(DartsCheckpointIO):
    """Writes the checkpoints of training as whole files, and looks at them before they are loaded.

    Lightning's own way goes through the folder for temporary files, which is often on another disk: of a checkpoint
    whose copying was interrupted, a part would stand in its place.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            write_with_torch(checkpoint, temporary)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if "://" not in str(path):
            verify_integrity(path, trusted=kwargs.get("weights_only") is False)
        return super().load_checkpoint(path, *args, **kwargs)
