"""What goes wrong in a way that the user can mend."""


class UserError(Exception):
    """Something that the user can mend: told in one line, without a traceback."""
