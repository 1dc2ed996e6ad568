"""How much memory a process takes at most."""

from pathlib import Path

_PROCESS = Path("/proc/self")


class PeakMemory:
    """By how many megabytes this process grows at most within a ``with`` block; ``None`` where there is no Linux."""

    megabytes: float | None = None

    def __enter__(self) -> "PeakMemory":
        self._before = None
        if (_PROCESS / "clear_refs").exists():
            (_PROCESS / "clear_refs").write_text("5", encoding="ascii")  # the peak is counted anew
            self._before = _read_megabytes("VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            self.megabytes = _read_megabytes("VmHWM") - self._before


def _read_megabytes(name: str) -> float:
    lines = (_PROCESS / "status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
