"""The command ``speed``: the same work done by us and by others, and how long it takes."""
