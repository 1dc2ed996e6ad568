"""Saved models and checkpoints are verified before loading: complete, unchanged, and from the same save."""

import hashlib
import os
import struct
import zipfile
import zlib
from pathlib import Path

import torch

_START_OF_A_ZIP_FILE = b"PK\x03\x04"
_ATTRIBUTE_OF_A_FOLDER = 0x10
_FILES_TO_LOOK_AT = 5


def verify_integrity(path: str | os.PathLike[str], *, trusted: bool = False) -> None:
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
    if fault is None or (trusted and fault.startswith("is not a PyTorch file")):
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
            return f"is damaged: it was truncated at {size} bytes, or changed ({error})"
        return "is not a PyTorch file, as saved models and checkpoints are"
    if broken is not None:
        return f"is damaged: bytes of its part {broken} have changed since it was written"
    if not any(part.filename.endswith("/data.pkl") for part in parts):
        return "is not a PyTorch file, as saved models and checkpoints are, but another archive"
    return None


def _passes_for_folder(part: zipfile.ZipInfo) -> bool:
    """Return whether PyTorch would read nothing of a part, and take what is in the memory for its numbers."""
    return bool(part.external_attr & _ATTRIBUTE_OF_A_FOLDER)


def _remedy(path: Path) -> str:
    """Return what to do about a file that can't be loaded: the newest files like it that can."""
    is_checkpoint = path.suffix == ".ckpt"
    others = [other for other in path.parent.glob(f"*{path.suffix}") if other != path and other.is_file()]
    if not is_checkpoint:
        others = [other for other in others if checkpoint_of(other).exists()]
    others.sort(key=lambda other: other.stat().st_mtime, reverse=True)
    whole = [other.name for other in others[:_FILES_TO_LOOK_AT] if _fault(other) is None]
    if whole:
        how = "as `file_name`" if path.name.startswith(("last-", "best-")) else "instead"
        return f"Intact files in the same folder, the newest first: {', '.join(whole)}. Name one of them {how}."
    return "There is no intact file of its kind in the same folder: restore a copy, or train again."


def checkpoint_of(path: Path) -> Path:
    """Return the path of the checkpoint beside a model."""
    return path.with_name(f"{path.name}.ckpt")
