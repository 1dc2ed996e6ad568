"""Saved models and checkpoints: written as a whole, two files as one, and looked at before they are loaded.

A saved model is two files: the model, and beside it the checkpoint with the weights. The model holds the SHA-256 of its
checkpoint, so that files of two saves can't be taken for one model. A save counts from when the model's file has taken
its place. Until then the checkpoint waits under a name that says to which model it belongs; a save that was killed
before the checkpoint took its place, too, is finished when the model is loaded.
"""

import errno
import glob
import hashlib
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import torch
from darts.utils.serialization.torch import _DartsCheckpointIO

from seq_plugins._files import flush_to_disk, raise_naming_file, temporary_path, whole_file

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

checkpoint_beside: ContextVar[str | None] = ContextVar("checkpoint_beside", default=None)
"""While a model is written: the digest of the checkpoint beside it, empty if it has none; else ``None``."""

_locked: ContextVar[frozenset[Path]] = ContextVar("locked", default=frozenset())
_ERRORS_OF_A_FOLDER = (errno.EACCES, errno.EPERM, errno.EROFS)  # both files alike can't be written then
_START_OF_A_ZIP_FILE = b"PK\x03\x04"
_ATTRIBUTE_OF_A_FOLDER = 0x10
_FILES_TO_LOOK_AT = 5
_DIGITS = 16


class TwoFiles(NamedTuple):
    """The files of a saved model."""

    model: Path
    checkpoint: Path


def check_whole(path: str | os.PathLike[str], *, trusted: bool = False) -> None:
    """Check that a file is one that PyTorch has written, and that none of its bytes has changed since.

    PyTorch itself loads changed weights without a word. Nothing is unpickled here.

    Parameters
    ----------
    path
        Saved model or checkpoint.
    trusted
        Whether the file may be of another format, such as that of old versions of PyTorch.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is empty, cut short, changed, or of another kind. The error names files beside it that are whole.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"Expected a saved model or checkpoint, but {path} is a folder.")
    fault = _fault(path)
    if fault is None or (trusted and fault.startswith("is no file of PyTorch")):
        return
    raise ValueError(f"{path} {fault}. It was not loaded. {_remedy(path)}")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_same_save(model: str | os.PathLike[str] | None, checkpoint: str | os.PathLike[str], expected: str) -> None:
    """Check that a checkpoint is the one with which a model was saved.

    Parameters
    ----------
    model
        Path of the model's file, for the error.
    checkpoint
        Path of the checkpoint.
    expected
        Digest that the model holds of its checkpoint.

    Raises
    ------
    ValueError
        If it is another.
    """
    if digest(Path(checkpoint)) != expected:
        model = str(checkpoint).removesuffix(".ckpt") if model is None else model
        raise ValueError(
            f"{checkpoint} is not the checkpoint that was saved together with {model}: one of them has been replaced "
            f"or edited since. Neither was loaded. Put both files of one save there. {_remedy(Path(checkpoint))}"
        )


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


@contextmanager
def whole_pair(path: str | os.PathLike[str]) -> Iterator[TwoFiles]:
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
    files = TwoFiles(temporary_path(path), temporary_path(_checkpoint_of(path)))
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
            place = _checkpoint_of(path) if is_of_checkpoint and not is_of_folder else path
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
    checkpoint, has_checkpoint = _checkpoint_of(path), files.checkpoint.exists()
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
    _rename_if_there(_waiting_place(path, digest(path)), _checkpoint_of(path))


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


class WholeCheckpointIO(_DartsCheckpointIO):
    """Writes the checkpoints of training as whole files, and looks at them before they are loaded.

    Lightning's own way goes through the folder for temporary files, which is often on another disk: of a checkpoint
    whose copying was interrupted, a part would stand in its place.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            write_with_torch(checkpoint, temporary)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if "://" not in str(path):
            check_whole(path, trusted=kwargs.get("weights_only") is False)
        loaded: dict[str, Any] = super().load_checkpoint(path, *args, **kwargs)
        return loaded


def _checkpoint_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.ckpt")


def _waiting_place(path: Path, digest_of_model: str) -> Path:
    return path.with_name(f".{path.name}.{digest_of_model[:_DIGITS]}.waiting")


def _waiting(path: Path) -> Iterator[Path]:
    return path.parent.glob(f".{glob.escape(path.name)}.{'?' * _DIGITS}.waiting")


def _fault(path: Path) -> str | None:
    """Return what is wrong with a file, as the end of a sentence."""
    size = path.stat().st_size
    if size == 0:
        return "is empty"
    with path.open("rb") as file:
        starts_well = file.read(len(_START_OF_A_ZIP_FILE)) == _START_OF_A_ZIP_FILE
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            broken = archive.testzip() or next((part.filename for part in parts if _passes_for_folder(part)), None)
        torch._C.PyTorchFileReader(str(path))  # which is stricter about how an archive is made up, but not about bytes
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if starts_well:
            return f"is damaged: it was cut short at {size} bytes, or changed ({error})"
        return "is no file of PyTorch, which saved models and checkpoints are"
    if broken is not None:
        return f"is damaged: bytes of its part {broken} have changed since it was written"
    if not any(part.filename.endswith("/data.pkl") for part in parts):
        return "is no file of PyTorch, which saved models and checkpoints are, but another archive"
    return None


def _passes_for_folder(part: zipfile.ZipInfo) -> bool:
    """Return whether PyTorch would read nothing of a part, and take what is in the memory for its numbers."""
    return bool(part.external_attr & _ATTRIBUTE_OF_A_FOLDER)


def _remedy(path: Path) -> str:
    """Return what to do about a file that can't be loaded: the newest files like it that can."""
    is_checkpoint = path.suffix == ".ckpt"
    others = [other for other in path.parent.glob(f"*{path.suffix}") if other != path and other.is_file()]
    if not is_checkpoint:
        others = [other for other in others if _checkpoint_of(other).exists()]
    others.sort(key=lambda other: other.stat().st_mtime, reverse=True)
    whole = [other.name for other in others[:_FILES_TO_LOOK_AT] if _fault(other) is None]
    if whole:
        how = "as `file_name`" if path.name.startswith(("last-", "best-")) else "instead"
        return f"Whole files beside it, the newest first: {', '.join(whole)}. Name one of them {how}."
    return "There is no whole file like it beside it: take a copy from elsewhere, or train again."
