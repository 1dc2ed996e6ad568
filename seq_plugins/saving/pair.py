"""Saved models and checkpoints: written atomically, two files as one, and verified before loading.

A saved model is two files: the model, and beside it the checkpoint with the weights. The model holds the SHA-256 of its
checkpoint, so that files of two saves can't be taken for one model. A save counts from when the model's file has taken
its place. Until then the checkpoint waits under a name that says to which model it belongs; a save that was killed
before the checkpoint took its place, too, is finished when the model is loaded.
"""

import errno
import glob
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from seq_plugins._files import flush_to_disk, raise_naming_file, temporary_path
from seq_plugins.saving.integrity import checkpoint_of, digest

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

checkpoint_beside: ContextVar[str | None] = ContextVar("checkpoint_beside", default=None)
"""While a model is written: the digest of the checkpoint beside it, empty if it has none; else ``None``."""

_locked: ContextVar[frozenset[Path]] = ContextVar("locked", default=frozenset())
_ERRORS_OF_A_FOLDER = (errno.EACCES, errno.EPERM, errno.EROFS)  # both files alike can't be written then
_DIGITS = 16


class TwoFiles(NamedTuple):
    """The files of a saved model."""

    model: Path
    checkpoint: Path


@contextmanager
def atomic_pair(path: str | os.PathLike[str]) -> Iterator[TwoFiles]:
    """Give temporary paths for a model and its checkpoint; both take their places if nothing failed.

    The checkpoint's is ``path + ".ckpt"``. If no checkpoint has been written, the one that was there before is removed.

    Parameters
    ----------
    path
        Path of the model's file; its folder must exist.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    IsADirectoryError
        If one of the paths is that of a folder.
    OSError
        If the disk is full, the folder can't be written to, or there is a folder in a file's place. The error names the
        file; both files stay as they were.
    """
    path = Path(path)
    files = TwoFiles(temporary_path(path), temporary_path(checkpoint_of(path)))
    try:
        try:
            yield files
            written = [file for file in files if file.exists()]
            for file in written:
                flush_to_disk(file)
        except OSError as error:
            is_of_checkpoint = error.filename == str(files.checkpoint) or not files.model.exists()
            temporary = files.checkpoint if is_of_checkpoint else files.model
            is_of_folder = error.errno in _ERRORS_OF_A_FOLDER
            place = checkpoint_of(path) if is_of_checkpoint and not is_of_folder else path
            raise_naming_file(error, place, temporary)
        if not files.model.exists():  # another process writes it
            return
        with lock_folder(path.parent, exclusive=True):
            try:
                _take_places(path, files)
            except OSError as error:
                raise_naming_file(error, path, files.model)
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _take_places(path: Path, files: TwoFiles) -> None:
    """Put new files in the places of a model's, whose folder is locked."""
    checkpoint, has_checkpoint = checkpoint_of(path), files.checkpoint.exists()
    with ExitStack() as undo:
        if has_checkpoint:
            new = _waiting_place(path, digest(files.model))
            undo.callback(new.unlink, missing_ok=True)
            files.checkpoint.replace(new)
        elif checkpoint.exists():  # the old model needs it as long as it counts
            old = _waiting_place(path, digest(path) if path.exists() else "0" * _DIGITS)
            undo.callback(_rename_if_there, old, checkpoint)
            checkpoint.replace(old)
        files.model.replace(path)  # from here on the new model counts
        undo.pop_all()
    if has_checkpoint:
        _finish_save(path)
    else:  # where folders can't be locked, one who loads may have put back the old model's
        checkpoint.unlink(missing_ok=True)
    for left_behind in _waiting(path):  # by saves that were killed; those in progress wait for the folder
        left_behind.unlink(missing_ok=True)


def finish_interrupted_save(path: str | os.PathLike[str]) -> None:
    """Put the checkpoint of a saved model into its place, if the process that saved it was killed before it could.

    Nothing is removed: where folders can't be locked, what waits may belong to a save in progress.

    Parameters
    ----------
    path
        Path of the model's file.
    """
    path = Path(path)
    if any(_waiting(path)):
        with lock_folder(path.parent, exclusive=True):
            if path.exists() and any(_waiting(path)):
                _finish_save(path)


def _finish_save(path: Path) -> None:
    _rename_if_there(_waiting_place(path, digest(path)), checkpoint_of(path))


def _rename_if_there(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):  # where folders can't be locked, another process may have been faster
        source.replace(target)


@contextmanager
def lock_folder(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Wait until no process reads or replaces saved models in a folder; nothing is written for it.

    Where folders can't be locked, as on some network drives, there is no waiting, and none for oneself.

    Parameters
    ----------
    folder
        Folder of the models.
    exclusive
        Whether models are to be replaced, and not only read.
    """
    folder = folder.absolute()
    with ExitStack() as stack:
        if fcntl is not None and folder not in _locked.get():
            token = _locked.set(_locked.get() | {folder})
            stack.callback(_locked.reset, token)
            try:
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)  # which unlocks it, as the process's end does
                fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            except OSError:
                pass
        yield


def _waiting_place(path: Path, digest_of_model: str) -> Path:
    return path.with_name(f".{path.name}.{digest_of_model[:_DIGITS]}.waiting")


def _waiting(path: Path) -> Iterator[Path]:
    return path.parent.glob(f".{glob.escape(path.name)}.{'?' * _DIGITS}.waiting")
