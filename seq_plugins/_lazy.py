"""Names that are imported when they are first used, so that ``import seq_plugins`` does not import PyTorch."""

import ast
from pathlib import Path


def stub_modules(package: str, package_file: str) -> dict[str, str]:
    """Return the module of each name that the stub beside a package's ``__init__.py`` imports.

    Type checkers and editors read the names from the stub, and so does the package itself: one line a name.

    Parameters
    ----------
    package
        The package's ``__name__``.
    package_file
        The package's ``__file__``.
    """
    stub = ast.parse(Path(package_file).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        imported.name: f"{package}.{statement.module}"
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom)
        for imported in statement.names
    }
