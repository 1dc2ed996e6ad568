"""Where the time of a training step goes."""

from collections.abc import Sequence

from benchmarks.core.timing import TimingRow

STEP_PARTS = {
    "step-network": "network forward and backward",
    "step-loading": "loading the batch",
    "step-optimizer": "optimizer",
}


def step_shares(rows: Sequence[TimingRow]) -> dict[str, dict[str, float]]:
    """Return the shares of a training step, ours and Darts'; the rest is the loop around it."""
    found = {row.case: (row.ours_s, row.rival_s) for row in rows if row.ours_s and row.rival_s}
    if not {"step-whole", *STEP_PARTS} <= found.keys():
        return {}
    shares: dict[str, dict[str, float]] = {}
    for side, name in enumerate(("ours", "darts")):
        whole = found["step-whole"][side]
        parts = {text: found[case][side] / whole for case, text in STEP_PARTS.items()}
        shares[name] = parts | {"the rest": 1 - sum(parts.values())}
    return shares


def share_lines(rows: Sequence[TimingRow]) -> list[str]:
    """Return the shares, a line for each side."""
    return [
        f"a training step of {name}: " + ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        for name, shares in step_shares(rows).items()
    ]
