"""A trained classifier as a folder: safetensors for numbers, JSON for the rest, and nothing that runs code.

=========================  =============================================================================
``manifest.json``          format, version of the package, SHA-256 of each other file
``model.json``             arguments, labels, class prior, history
``vocabulary.json``        the words, in the order of their vectors, and those with random vectors
``vectors.safetensors``    the word vectors
``network.safetensors``    the network's weights, and vectors that are random or were trained
=========================  =============================================================================
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from seq_plugins._files import raise_naming_file
from seq_plugins.text.linear_classifier import NgramClassifier
from seq_plugins.text.mixture import Mixture
from seq_plugins.text.network import SentimentNetwork
from seq_plugins.text.ngrams import N_CHARACTERS, NgramVocabulary
from seq_plugins.text.tokenizing import Tokenizer
from seq_plugins.text.typed_text import TREEBANK, TokenizerChoice
from seq_plugins.text.vectorizer import Word2VecVectorizer
from seq_plugins.text.word_vectors import make_keyed_vectors

FORMAT = 2
KIND = "seq_plugins sentiment classifier"
MANIFEST = "manifest.json"
FILES = ("model.json", "vocabulary.json", "vectors.safetensors", "network.safetensors")
_NOT_SAVED = ("vectors", "tokenizer")
_OWN, _TYPED = "own", "typed"

Classifier = TypeVar("Classifier")


def save_classifier(classifier: Any, folder: Path) -> None:
    """Write a trained classifier, as :meth:`SentimentClassifier.save` says."""
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"The folder of {folder} does not exist. Create it first, or name another.")
    if folder.exists() and not _is_ours(folder):
        raise FileExistsError(
            f"There is something other than a saved model at {folder}. Name another folder, or remove it."
        )
    model = _to_json(_describe(classifier))  # before anything is written
    temporary = folder.with_name(f"{folder.name}.{uuid4().hex}.part")
    try:
        temporary.mkdir()
        vectorizer = classifier.vectorizer_
        (temporary / "model.json").write_text(model, encoding="utf-8")
        ngrams, mixture = classifier.ngrams_, classifier.mixture_
        vocabulary: dict[str, Any] = {
            "words": vectorizer.vectors_.index_to_key,
            "unknown_words": vectorizer.unknown_words_,
        }
        if ngrams is not None:
            vocabulary |= {"ngrams": ngrams.vocabulary.names(), "n_characters": N_CHARACTERS}
        (temporary / "vocabulary.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        table = vectorizer.table_
        save_file({"vectors": np.ascontiguousarray(table.vectors)}, temporary / "vectors.safetensors")
        arrays = {f"network.{name}": value.cpu().numpy() for name, value in classifier.network_.state_dict().items()}
        arrays |= {
            "words.unknown": table.unknown,
            "words.more": table.more,
            "words.changed_ids": table.changed_ids,
            "words.changed_rows": table.changed_rows,
        }
        if ngrams is not None:
            arrays |= {
                "ngrams.weights": ngrams.weights,
                "ngrams.intercepts": ngrams.intercepts,
                "mixture": np.array([mixture.linear, mixture.network, *mixture.offsets]),
            }
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary / "network.safetensors"
        )
        manifest = {
            "kind": KIND,
            "format": FORMAT,
            "version": version("seq-plugins"),
            "sha256": {name: _hash(temporary / name) for name in FILES},
        }
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _put_in_place(temporary, folder)
    except OSError as error:
        raise_naming_file(error, folder, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_classifier(kind: Callable[..., Classifier], folder: Path, tokenizer: Tokenizer | None) -> Classifier:
    """Return the classifier of class `kind` that :meth:`SentimentClassifier.load` is asked for."""
    _check_folder(folder)
    try:
        model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        vectors = load_file(folder / "vectors.safetensors")["vectors"]
        arrays = load_file(folder / "network.safetensors")
        return _assemble(kind, model, vocabulary, vectors, arrays, _find_tokenizer(model, tokenizer))
    except _TokenizerError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"Expected a saved model in {folder}, but its parts do not fit: {error}. Save it again."
        ) from error


class _TokenizerError(ValueError):
    """A tokenizer that is missing or superfluous."""


def _find_tokenizer(model: dict[str, Any], given: Tokenizer | None) -> TokenizerChoice:
    """Return the tokenizer of a saved model; models of format 1 had their own or NLTK's as it is."""
    name = model.get("tokenizer", _OWN if model.get("has_tokenizer") else TREEBANK)
    if (name == _OWN) != (given is not None):
        raise _TokenizerError(
            "Expected tokenizer, the function that the model was trained with: load(path, tokenizer=...)."
            if name == _OWN
            else "Expected no tokenizer: the model was trained with one of the package's."
        )
    if name not in (_OWN, TREEBANK, _TYPED):
        raise ValueError(f"there is no tokenizer {name!r}")
    return given if name == _OWN else TREEBANK if name == TREEBANK else None


def _name_of_tokenizer(choice: TokenizerChoice) -> str:
    return _TYPED if choice is None else TREEBANK if choice == TREEBANK else _OWN


def _describe(classifier: Any) -> dict[str, Any]:
    arguments = {
        name: _plain(value) for name, value in classifier.get_params(deep=False).items() if name not in _NOT_SAVED
    }
    if isinstance(arguments["class_weight"], dict):
        arguments["class_weight"] = [[_plain(label), weight] for label, weight in arguments["class_weight"].items()]
    if isinstance(arguments["random_state"], np.random.RandomState):
        arguments["random_state"] = None
    return {
        "arguments": arguments,
        "tokenizer": _name_of_tokenizer(classifier.tokenizer),
        "classes": [_plain(label) for label in classifier.classes_.tolist()],
        "classes_dtype": classifier.classes_.dtype.str,
        "class_totals": classifier._class_totals.tolist(),
        "history": classifier.history_,
        "n_epochs": classifier.n_epochs_,
        "shape": {
            "n_dimensions": classifier.vectorizer_.table_.n_dimensions,
            "num_filters": classifier.network_.kernels[0].shape[1],
            "kernel_sizes": [len(kernel) for kernel in classifier.network_.kernels],
            "hidden_dim": len(classifier.network_.hidden),
            "n_outputs": len(classifier.network_.output),
        },
        "vectorizer": {
            "maxlen": classifier.vectorizer_.maxlen,
            "oov": classifier.vectorizer_.oov,
            "lowercase": bool(classifier.vectorizer_.lowercase_),
            "unknown_share": classifier.vectorizer_.unknown_share_,
        },
    }


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as Python's."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r} is not a JSON type")


def _to_json(model: dict[str, Any]) -> str:
    dtype = np.dtype(model["classes_dtype"])
    if dtype.kind not in "OUTbiuf" or not all(
        isinstance(label, str | bool | int | float) for label in model["classes"]
    ):
        raise TypeError(f"Expected labels that are strings or numbers, got {model['classes']}; others cannot be saved.")
    try:
        return json.dumps(model, indent=1, default=_plain_number)
    except TypeError as error:
        raise TypeError(f"Expected arguments that can be written as JSON: {error}.") from error


def _assemble(
    kind: Callable[..., Any],
    model: dict[str, Any],
    vocabulary: dict[str, Any],
    vectors: np.ndarray,
    arrays: dict[str, np.ndarray],
    tokenizer: TokenizerChoice,
) -> Any:
    arguments = dict(model["arguments"])
    if isinstance(arguments["class_weight"], list):
        arguments["class_weight"] = dict(arguments["class_weight"])
    words = vocabulary["words"]
    if len(words) != len(vectors):
        raise ValueError(f"{len(words)} words, but {len(vectors)} vectors")
    keyed_vectors = make_keyed_vectors(words, vectors)
    classifier = kind(vectors=keyed_vectors, tokenizer=tokenizer, **arguments)
    classifier._check_arguments()
    described = model["vectorizer"]
    vectorizer = Word2VecVectorizer(
        keyed_vectors,
        described["maxlen"],
        described["oov"],
        described["lowercase"],
        tokenizer,
        classifier.n_jobs,
        classifier.verbose,
    )
    unknown = np.concatenate([arrays["words.unknown"][None], arrays["words.more"]])
    vectorizer.restore(vocabulary["unknown_words"], unknown, described["unknown_share"])
    vectorizer.table_.change(arrays["words.changed_ids"], arrays["words.changed_rows"])
    network = SentimentNetwork(**model["shape"])
    network.load_state_dict(
        {
            name.removeprefix("network."): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith("network.")
        }
    )
    classifier.vectorizer_, classifier.network_ = vectorizer, network
    classifier.classes_ = np.array(model["classes"], dtype=np.dtype(model["classes_dtype"]))
    classifier._class_totals = np.array(model["class_totals"])
    classifier.class_prior_ = classifier._class_totals / classifier._class_totals.sum()
    classifier.history_, classifier.n_epochs_ = model["history"], model["n_epochs"]
    classifier._trainer = None
    classifier.ngrams_ = classifier.mixture_ = None
    if "ngrams" in vocabulary:
        names, weights = vocabulary["ngrams"], arrays["ngrams.weights"]
        if vocabulary.get("n_characters") != N_CHARACTERS:
            raise ValueError(f"the linear classifier has no n-grams of {N_CHARACTERS} characters, so fit it again")
        if weights.shape != (model["shape"]["n_outputs"], len(names)):
            raise ValueError(f"{len(names)} n-grams, but weights of shape {weights.shape}")
        known = NgramVocabulary.from_names(names, arguments["ngrams"])
        classifier.ngrams_ = NgramClassifier(known, weights, arrays["ngrams.intercepts"])
        linear, of_network, *offsets = arrays["mixture"].tolist()
        classifier.mixture_ = Mixture(linear, of_network, np.array(offsets))
    if len(classifier.classes_) != len(classifier._class_totals):
        raise ValueError("labels and class prior differ in number")
    return classifier


# --- folders


def _is_ours(folder: Path) -> bool:
    """Find out whether a folder is empty or holds a saved model."""
    if not folder.is_dir():
        return False
    try:
        return not any(folder.iterdir()) or json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["kind"] == KIND
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Let a folder take the place of another."""
    if not folder.exists():
        temporary.rename(folder)
        return
    old = folder.with_name(f"{folder.name}.{uuid4().hex}.part")
    folder.rename(old)
    try:
        temporary.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. Name one that `save` has written.")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        kind, found_format, by, hashes = (manifest[key] for key in ("kind", "format", "version", "sha256"))
        if kind != KIND or not isinstance(found_format, int):
            raise ValueError(f"it holds {kind!r}")
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected a saved model in {folder}, but {MANIFEST} is missing.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Expected a saved model in {folder}, but {MANIFEST} is not valid: {error}.") from error
    if found_format > FORMAT:
        raise ValueError(
            f"The model in {folder} was saved by a newer version, seq_plugins {by} (format {found_format}); this one, "
            f"{version('seq-plugins')}, reads up to format {FORMAT}. Install seq_plugins {by} or newer."
        )
    for name in FILES:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected a saved model in {folder}, but {name} is missing. Copy the whole folder."
            )
        if _hash(path) != hashes.get(name):
            raise ValueError(f"The file {path} is not the one that was saved: its SHA-256 has changed. Copy it again.")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
