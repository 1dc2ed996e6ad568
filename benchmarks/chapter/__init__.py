"""The command ``chapter``: the lecture's networks with its own protocol."""
