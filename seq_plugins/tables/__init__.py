"""People's tables as series: read, checked, and every guess told."""

from seq_plugins.tables.panel import Panel, component_names, make_panel
from seq_plugins.tables.reading import Rows, TableOptions, join_rows, read_rows

__all__ = ["Panel", "Rows", "TableOptions", "component_names", "join_rows", "make_panel", "read_rows"]
