"""Users' tables as series: reading, validation, and a report of everything that was inferred."""

from seq_plugins.tables.panel import Panel, component_names, make_panel
from seq_plugins.tables.reading import Rows, TableOptions, join_rows, read_rows

__all__ = ["Panel", "Rows", "TableOptions", "component_names", "join_rows", "make_panel", "read_rows"]
