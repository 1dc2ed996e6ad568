"""Files that are written as a whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

_ERRORS_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""Those that may come without the name of a file."""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what has been written there takes the place of `path` if nothing failed.

    The temporary file's name starts with a dot, so that no pattern for the names of whole files finds it. Its bytes are
    on the disk before it takes its place.

    Parameters
    ----------
    path
        File to write; its folder must exist.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    IsADirectoryError
        If `path` is a folder.
    OSError
        If the disk is full, the folder can't be written to, or there is a folder at `path`. The error names `path`,
        which stays as it was.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        raise_naming_file(error, path, temporary)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return a new hidden path in the folder of `path`; an ``OSError`` if there is none, or `path` is a folder."""
    if path.is_dir():
        raise IsADirectoryError(f"Expected the path of a file, but {path} is a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder of {path} does not exist. Create it first, or name another.")
    return path.with_name(f".{path.name}.{uuid4().hex}.part")


def flush_to_disk(path: Path) -> None:
    """Wait until the bytes of a file are on the disk, so that no crash of the machine leaves a part of them."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def raise_naming_file(error: OSError, path: Path, temporary: Path) -> NoReturn:
    """Raise `error` again; one in writing `temporary`, or something in it, with the name of what was asked for."""
    if error.filename is None:
        is_in_writing = error.errno in _ERRORS_OF_THE_DISK
    else:
        is_in_writing = Path(os.fsdecode(error.filename)).is_relative_to(temporary)
    if not is_in_writing or error.errno is None:
        raise error
    reason = f"{os.strerror(error.errno)}; it was not written, and an existing file was left as it was"
    raise OSError(error.errno, reason, str(path)) from error


def is_of_writing(error: OSError, path: Path) -> bool:
    """Return whether an error is one of the disk, or names `path`, something in it, or a temporary path beside it.

    Parameters
    ----------
    error
        The error.
    path
        File or folder that was being written.
    """
    if error.filename is None:
        return error.errno is None or error.errno in _ERRORS_OF_THE_DISK  # those of ours have words alone
    path = path.absolute()
    found = Path(os.fsdecode(error.filename)).absolute()
    return any(
        place == path or (place.parent == path.parent and place.name.startswith(f".{path.name}."))
        for place in (found, *found.parents)
    )


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new temporary folder beside `path`; it takes the place of `path`, and all in it, if nothing failed.

    Parameters
    ----------
    path
        Folder to write; the one that it is in must exist.

    Raises
    ------
    OSError
        If it can't be written; what was at `path` stays.
    """
    path = path.absolute()
    temporary, before = (path.with_name(f".{path.name}.{uuid4().hex}.{end}") for end in ("part", "old"))
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                flush_to_disk(file)
        if path.exists():
            path.rename(before)
        try:
            temporary.rename(path)
        except BaseException:
            if before.exists():
                before.rename(path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if path.exists():
            shutil.rmtree(before, ignore_errors=True)
