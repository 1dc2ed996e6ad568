"""Ridership, transformer loads, electricity prices and M4 Hourly, with the interface of ``darts.datasets``."""

import hashlib
import os
import tarfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from threading import Event, Thread
from typing import ClassVar

import numpy as np
import pandas as pd
from darts import TimeSeries
from tqdm import tqdm

from seq_plugins._arguments import check_choice
from seq_plugins._files import atomic_file

__all__ = [
    "CTARidershipDataset",
    "ChicagoRidershipDataset",
    "DatasetError",
    "ETTh1Dataset",
    "ElectricityPricesDataset",
    "M4HourlyDataset",
]

DATA_VARIABLE = "SEQ_PLUGINS_DATA"
DAY_TYPES = ("W", "A", "U")


class DatasetError(OSError):
    """A data set could not be read, downloaded or stored; the message says how to supply it."""


class ChicagoRidershipDataset:
    """Daily entries at Clark/Lake, a station of Chicago's "L", with day types and weather; bundled with the package.

    5698 days, 2001-01-22 to 2016-08-28, none missing. Components:

    - ``ridership``: entries at the station's turnstiles, riders per day
    - ``day_type_W``, ``day_type_A``, ``day_type_U``: 1 on weekdays, on Saturdays, and on Sundays and holidays, else 0;
      known in advance
    - ``temp_min``, ``temp``, ``temp_max``: lowest, median and highest temperature, °F
    - ``dew``: median dew point, °F
    - ``humidity``: median relative humidity, %
    - ``pressure``: median pressure at sea level, inches of mercury
    - ``wind``: median wind speed, miles per hour
    - ``gust_max``: strongest gust, miles per hour, 0 if none was reported
    - ``precipitation_max``: largest precipitation in one report, inches
    - ``weather_rain``, ``weather_snow``, ``weather_cloud``, ``weather_storm``: share, 0 to 1, of the day's reports
      with such weather; ``weather_storm`` includes overcast skies

    The weather was observed at Midway airport and is not known in advance: use it as past covariates.

    Source: the data set ``Chicago`` of the R package modeldata (MIT licence), from Kuhn and Johnson, Feature
    Engineering and Selection (2020), https://bookdown.org/max/FES/, with counts from the City of Chicago Data Portal.
    The day types were added; see ``data/README.md``.

    Examples
    --------
    >>> from seq_plugins.datasets import ChicagoRidershipDataset
    >>> series = ChicagoRidershipDataset().load()
    >>> target, day_types = series["ridership"], series[["day_type_W", "day_type_A", "day_type_U"]]
    """

    CSV_NAME = "chicago_ridership.csv"
    CSV_SHA256 = "feb879328c901729c079912c86a39ec5eeb569b324c2df1e83ac58c64d4445ad"

    def load(self) -> TimeSeries:
        """Return the series.

        Returns
        -------
        TimeSeries
            Daily series of 5698 days and 17 components, float64.

        Raises
        ------
        DatasetError
            If the shipped file is missing or not the one that was shipped.
        """
        package = Path(__file__).parent
        installed = package / "_data" / self.CSV_NAME  # in a wheel; otherwise this is a checkout
        path = installed if installed.exists() else package.parent / "data" / self.CSV_NAME
        try:
            content = path.read_bytes()
            _check_sha256(str(path), content, self.CSV_SHA256)
        except OSError as error:
            raise DatasetError(
                f"Could not load the bundled Chicago ridership: {error}. Reinstall seq-plugins; in a checkout, "
                f"recreate the file with `python -m benchmarks.remake_chicago_data --output data/{self.CSV_NAME}`."
            ) from error
        table = pd.read_csv(BytesIO(content), index_col="date", parse_dates=["date"])
        weather = table.columns.drop(["ridership", "day_type"])
        return _to_series(table, counts=["ridership"], others=list(weather))


class _DownloadedFile:
    """A CSV file that is downloaded on first use, or supplied by the user."""

    URL: str
    CSV_NAME: str
    CSV_SHA256: str

    CONNECT_TIMEOUT = 10.0  # seconds
    READ_TIMEOUT = 30.0  # seconds without a byte
    DEADLINE = 300.0  # seconds for the whole download
    MAX_BYTES = 10_000_000  # of what is downloaded

    _TITLE: str  # what could not be loaded
    _HOW_TO_GET: str  # where the file stands, at the URL

    def __init__(self, root_path: str | os.PathLike[str] | None = None) -> None:
        self.root_path = Path("~/.seq_plugins/datasets" if root_path is None else root_path).expanduser()

    def read(self) -> bytes:
        """Return the bytes of the file, downloading it if need be.

        Raises
        ------
        DatasetError
            If the file could not be read, downloaded or stored, or is not the pinned one.
        """
        try:
            return self._content()
        except (OSError, tarfile.TarError) as error:
            raise DatasetError(
                f"Could not load {self._TITLE}: {error}. You can supply the file `{self.CSV_NAME}`, {self._HOW_TO_GET} "
                f"{self.URL}, in two ways: put it at {self._cache_path} and leave {DATA_VARIABLE} unset, or set the "
                f"environment variable {DATA_VARIABLE} to a folder that holds it."
            ) from error

    def _unpack(self, downloaded: bytes) -> bytes:
        """Return the CSV file's bytes of what was downloaded."""
        return downloaded

    @property
    def _cache_path(self) -> Path:
        return self.root_path / self.CSV_NAME

    def _content(self) -> bytes:
        """Return the CSV file's bytes from the user's folder, the cache or the network."""
        if folder := os.environ.get(DATA_VARIABLE):
            return self._supplied(Path(folder).expanduser())
        if self._cache_path.exists():
            content = self._cache_path.read_bytes()
            if _sha256(content) == self.CSV_SHA256:
                return content
        content = self._unpack(self._download())
        _check_sha256(f"`{self.CSV_NAME}` in {self.URL}", content, self.CSV_SHA256)
        try:
            replace_file(self._cache_path, content)
        except OSError as error:
            raise OSError(f"the cache {self.root_path} could not be written ({error})") from error
        return content

    def _supplied(self, folder: Path) -> bytes:
        try:
            content = (folder / self.CSV_NAME).read_bytes()
            _check_sha256(str(folder / self.CSV_NAME), content, self.CSV_SHA256)
        except OSError as error:
            raise OSError(f"the environment variable {DATA_VARIABLE} names the folder {folder}, but {error}") from error
        return content

    def _download(self) -> bytes:
        """Return the bytes at the URL."""
        transfer = _Transfer(self.URL, (self.CONNECT_TIMEOUT, self.READ_TIMEOUT), self.MAX_BYTES)
        deadline = time.monotonic() + self.DEADLINE
        transfer.start()
        try:
            with tqdm(desc=PurePosixPath(self.URL).name, unit="B", unit_scale=True) as progress:
                while transfer.is_alive():
                    transfer.join(timeout=0.1)
                    progress.total = transfer.expected_bytes
                    progress.update(len(transfer.body) - progress.n)
                    if time.monotonic() > deadline:
                        raise OSError(f"{self.URL} could not be read completely within {self.DEADLINE:g} seconds")
        finally:
            transfer.abandoned.set()
        if transfer.error is not None:
            raise OSError(f"{self.URL} could not be read ({transfer.error})") from transfer.error
        return bytes(transfer.body)


class _DownloadedDataset(_DownloadedFile, ABC):
    """A series that stands in one CSV file."""

    def load(self) -> TimeSeries:
        """Return the series, downloading it if need be.

        Returns
        -------
        TimeSeries
            The components that the class names, float64.

        Raises
        ------
        DatasetError
            If the file could not be read, downloaded or stored, or is not the pinned one.
        """
        return self._parse(self.read())

    @abstractmethod
    def _parse(self, content: bytes) -> TimeSeries:
        """Return the series of the CSV file's bytes."""


class CTARidershipDataset(_DownloadedDataset):
    """Daily boardings of the Chicago Transit Authority's buses and trains; downloaded on first use.

    7639 days, 2001-01-01 to 2021-11-30, none missing. Components:

    - ``bus``, ``rail``: boardings per day
    - ``day_type_W``, ``day_type_A``, ``day_type_U``: 1 on weekdays, on Saturdays, and on Sundays and holidays, else 0;
      known in advance

    The months 2011-10 and 2014-07, which are duplicated in the file, are used once.

    If the environment variable ``SEQ_PLUGINS_DATA`` names a folder, the CSV file is read from there and nothing is
    downloaded. Otherwise it is read from the cache, `root_path`; if it is missing there, or has the wrong hash, it is
    downloaded. The SHA-256 of the file is always verified.

    Source: "CTA - Ridership - Daily Boarding Totals" of the City of Chicago Data Portal,
    https://data.cityofchicago.org/d/6iiy-9s97, as packed in https://github.com/ageron/data. The data set's entry in
    the catalogue does not state a licence; the portal's terms of use apply.

    Parameters
    ----------
    root_path
        Folder of the cache; ``~/.seq_plugins/datasets`` if ``None``.

    Examples
    --------
    >>> from seq_plugins.datasets import CTARidershipDataset
    >>> series = CTARidershipDataset().load()  # doctest: +SKIP
    >>> target = series[["bus", "rail"]]  # doctest: +SKIP
    """

    URL = "https://github.com/ageron/data/raw/main/ridership.tgz"
    ARCHIVE_SHA256 = "0ff99f3dddd886ddea161b68f25f90b56b0468f5c91949b75376fb494516c794"
    CSV_NAME = "CTA_-_Ridership_-_Daily_Boarding_Totals.csv"
    CSV_SHA256 = "34faaba085ca21434b7dd3e0abcbaf8cde5be3a4f170dda1c8caef72c5c4bd06"

    _TITLE = "the CTA ridership"
    _HOW_TO_GET = "unpacked from"

    def _parse(self, content: bytes) -> TimeSeries:
        table = pd.read_csv(BytesIO(content)).drop_duplicates("service_date")
        table.index = pd.to_datetime(table["service_date"], format="%m/%d/%Y")
        table = table.rename(columns={"rail_boardings": "rail"}).sort_index()
        return _to_series(table, counts=["bus", "rail"], others=[])

    def _unpack(self, downloaded: bytes) -> bytes:
        """Return the CSV file's bytes, whatever folder of the archive it lies in; nothing is written."""
        _check_sha256(self.URL, downloaded, self.ARCHIVE_SHA256)
        with tarfile.open(fileobj=BytesIO(downloaded), mode="r:gz") as members:
            for member in members:
                if member.isfile() and PurePosixPath(member.name).name == self.CSV_NAME:
                    file = members.extractfile(member)
                    return file.read() if file else b""
        raise OSError(f"{self.URL} holds no `{self.CSV_NAME}`")


class ETTh1Dataset(_DownloadedDataset):
    """Hourly loads and oil temperature of an electricity transformer; downloaded on first use.

    17420 hours, 2016-07-01 00:00 to 2018-06-26 19:00, none missing. Components:

    - ``HUFL``, ``HULL``, ``MUFL``, ``MULL``, ``LUFL``, ``LULL``: high, middle and low load, useful and useless
    - ``OT``: oil temperature

    Read, cached, downloaded and checked like :class:`CTARidershipDataset`.

    Source: H. Zhou et al., "Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting", AAAI
    2021, https://arxiv.org/abs/2012.07436; https://github.com/zhouhaoyi/ETDataset, licence CC BY-ND 4.0.

    Parameters
    ----------
    root_path
        Folder of the cache; ``~/.seq_plugins/datasets`` if ``None``.

    Examples
    --------
    >>> from seq_plugins.datasets import ETTh1Dataset
    >>> series = ETTh1Dataset().load()  # doctest: +SKIP
    """

    URL = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv"
    CSV_NAME = "ETTh1.csv"
    CSV_SHA256 = "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"

    _TITLE = "ETTh1"
    _HOW_TO_GET = "from"

    def _parse(self, content: bytes) -> TimeSeries:
        table = pd.read_csv(BytesIO(content), index_col="date", parse_dates=["date"])
        return TimeSeries.from_dataframe(table.astype("float64"), freq="h")


class ElectricityPricesDataset(_DownloadedDataset):
    """Hourly day-ahead electricity prices, and two forecasts published the day before; downloaded on first use.

    52416 hours, none missing. Components:

    - ``price``: euros per MWh in NP and FR, dollars in PJM
    - two forecasts that are published before the price is set, MW: in ``"NP"`` (Nord Pool, 2013-01-01 to 2018-12-24)
      ``load_forecast`` and ``wind_forecast``; in ``"PJM"`` (Commonwealth Edison's zone, the same years)
      ``load_forecast`` and ``zonal_load_forecast``; in ``"FR"`` (France, 2011-01-09 to 2016-12-31)
      ``generation_forecast`` and ``load_forecast``

    Prices are set for a whole day at once: a forecast from midnight knows the prices up to the last hour of the day
    before and both forecasts of the coming day. The last 728 days are the test period of the literature.

    Read, cached, downloaded and checked like :class:`CTARidershipDataset`.

    Source: J. Lago et al., "Forecasting day-ahead electricity prices: A review of state-of-the-art algorithms, best
    practices and an open-access benchmark", Applied Energy 293, 2021, https://doi.org/10.1016/j.apenergy.2021.116983,
    as packed in https://github.com/thuml/TimeXer, which does not state a licence.

    Parameters
    ----------
    market
        ``"NP"``, ``"PJM"`` or ``"FR"``.
    root_path
        Folder of the cache; ``~/.seq_plugins/datasets`` if ``None``.

    Raises
    ------
    ValueError
        If there is no such market.

    Examples
    --------
    >>> from seq_plugins.datasets import ElectricityPricesDataset
    >>> series = ElectricityPricesDataset("NP").load()  # doctest: +SKIP
    """

    _HOW_TO_GET = "from"

    _MARKETS: ClassVar = {
        "NP": ("load_forecast", "wind_forecast", "cbba6af8cf505d6d1fcadf87e86b6651abdae4a1adf616ee4956f6c1cd039fb8"),
        "PJM": (
            "load_forecast",
            "zonal_load_forecast",
            "58cc0ad32e22e61d9e183b0dc8201747f8c2ef822e469832c5beea8d88251cc0",
        ),
        "FR": (
            "generation_forecast",
            "load_forecast",
            "ac400691243cc3aac32a4680d5f428f720da61385277813083b9fe61e642bd0c",
        ),
    }

    def __init__(self, market: str, root_path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(root_path)
        check_choice("`market`", market, list(self._MARKETS))
        self.market = market
        self.URL = f"https://raw.githubusercontent.com/thuml/TimeXer/main/dataset/EPF/{market}.csv"
        self.CSV_NAME = f"epf/{market}.csv"
        *self._forecasts, self.CSV_SHA256 = self._MARKETS[market]
        self._TITLE = f"the prices of {market}"

    def _parse(self, content: bytes) -> TimeSeries:
        table = pd.read_csv(BytesIO(content), index_col="date", parse_dates=["date"])
        first, second, price = table.columns
        table = table[[price, first, second]].set_axis(["price", *self._forecasts], axis=1)
        return TimeSeries.from_dataframe(table.astype("float64"), freq="h")


class M4HourlyDataset:
    """The 414 hourly series of the M4 competition, including the 48 hours to be forecast; downloaded on first use.

    Series of 748 or 1008 hours, most with daily and weekly seasonality; the last 48 are the competition's test period.
    Each series has a single component, named by its id, ``H1`` to ``H414``, and time steps are counted from 0.

    Read, cached, downloaded and checked like :class:`CTARidershipDataset`.

    Source: S. Makridakis et al., "The M4 Competition: 100,000 time series and 61 forecasting methods", International
    Journal of Forecasting 36, 2020, https://doi.org/10.1016/j.ijforecast.2019.04.014;
    https://github.com/Mcompetitions/M4-methods, which does not state a licence.

    Parameters
    ----------
    root_path
        Folder of the cache; ``~/.seq_plugins/datasets`` if ``None``.

    Examples
    --------
    >>> from seq_plugins.datasets import M4HourlyDataset
    >>> series = M4HourlyDataset().load()  # doctest: +SKIP
    """

    HORIZON = 48
    """Number of time steps of the test."""

    _SHA256: ClassVar = {
        "Train": "ea59b7783573c49077a835ab6465c7d66f1474783360f310988a9a737fbca62f",
        "Test": "71a57fccb15e534d973626ada4fb87febf789e9317715b7cc6dd3b5f90db6f42",
    }

    def __init__(self, root_path: str | os.PathLike[str] | None = None) -> None:
        self._files = [_M4HourlyFile(part, sha256, root_path) for part, sha256 in self._SHA256.items()]
        self.root_path = self._files[0].root_path

    def load(self) -> list[TimeSeries]:
        """Return the series, training and test in one, downloading them if need be.

        Returns
        -------
        list
            Series of one component, float64.

        Raises
        ------
        DatasetError
            If a file could not be read, downloaded or stored, or is not the pinned one.
        """
        training, test = (pd.read_csv(BytesIO(file.read()), index_col=0) for file in self._files)
        series = []
        for name, row in training.iterrows():
            values = np.concatenate([row.dropna().to_numpy(float), test.loc[[name]].to_numpy(float)[0]])
            series.append(TimeSeries.from_values(values, columns=[str(name)]))
        return series


class _M4HourlyFile(_DownloadedFile):
    _TITLE = "M4 Hourly"
    _HOW_TO_GET = "from"

    def __init__(self, part: str, sha256: str, root_path: str | os.PathLike[str] | None) -> None:
        super().__init__(root_path)
        name = f"Hourly-{part.lower()}.csv"
        self.URL = f"https://raw.githubusercontent.com/Mcompetitions/M4-methods/master/Dataset/{part}/{name}"
        self.CSV_NAME = f"m4/{name}"
        self.CSV_SHA256 = sha256


class _Transfer(Thread):
    """Reading of a URL into memory.

    It is a thread of its own so that it can be left behind at any time: the timeouts of `requests` bound neither the
    look-up of a name nor a server that sends a byte now and then. Nor does pooch, which is built on them: a server that
    sent a byte every 50 ms held pooch 1.9 with a timeout of 0.5 s for as long as it went on (20 s), and an empty folder
    was left behind.

    Parameters
    ----------
    url
        Address to read.
    timeouts
        Seconds to wait for a connection, and for the next byte.
    max_bytes
        Size from which on reading is given up.
    """

    def __init__(self, url: str, timeouts: tuple[float, float], max_bytes: int) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.timeouts = timeouts
        self.max_bytes = max_bytes
        self.expected_bytes: int | None = None
        self.body = bytearray()
        self.error: Exception | None = None
        self.abandoned = Event()

    def run(self) -> None:
        """Read until the end, an error, or the moment when nobody waits any longer."""
        import requests  # here, since importing it changes the warnings' filters

        try:
            headers = {"Accept-Encoding": "identity"}  # the checksum is that of the archive as it is stored
            with requests.get(self.url, stream=True, timeout=self.timeouts, headers=headers) as response:
                response.raise_for_status()
                self.expected_bytes = int(response.headers.get("Content-Length", 0)) or None
                for chunk in response.iter_content(chunk_size=2**14):
                    if self.abandoned.is_set():
                        return
                    self.body += chunk
                    if len(self.body) > self.max_bytes:
                        raise OSError(f"it is larger than {self.max_bytes} bytes")
        except Exception as error:  # raised again in the thread that waits
            self.error = error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all, in place of one that may be there.

    Parameters
    ----------
    path
        File to write; its folder is made if it is missing.
    content
        Bytes to write.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, temporary.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _to_series(table: pd.DataFrame, counts: Sequence[str], others: Sequence[str]) -> TimeSeries:
    """Build a daily series of the counts, the day types as 0 and 1, and the other columns."""
    day_types = {f"day_type_{day_type}": table["day_type"] == day_type for day_type in DAY_TYPES}
    columns = [*counts, *day_types, *others]
    return TimeSeries.from_dataframe(table.assign(**day_types)[columns].astype("float64"), freq="D")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_sha256(name: str, content: bytes, expected: str) -> None:
    if (found := _sha256(content)) != expected:
        raise OSError(f"{name} has SHA-256 {found}, expected {expected}")
