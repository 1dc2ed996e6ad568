"""Files that are written as a whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

_ERRORS_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
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
    OSError
        If the disk is full, or can't be written to. The error names `path`, which stays as it was.
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
    """Return a new hidden path in the folder of `path`; a ``FileNotFoundError`` if there is no such folder."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder of {path} does not exist. Make it first, or name another.")
    return path.with_name(f".{path.name}.{uuid4().hex}.part")


def flush_to_disk(path: Path) -> None:
    """Wait until the bytes of a file are on the disk, so that no crash of the machine leaves a part of them."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def raise_naming_file(error: OSError, path: Path, temporary: Path) -> NoReturn:
    """Raise `error` again; one of the disk, in writing `temporary`, with the name of the file that was asked for."""
    if error.errno not in _ERRORS_OF_THE_DISK or error.filename not in (None, str(temporary)):
        raise error
    reason = f"{os.strerror(error.errno)}; the file was not written, and what was there before stays"
    raise OSError(error.errno, reason, str(path)) from error
