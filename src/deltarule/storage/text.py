"""Text from a file, made safe to print."""


def printable(text: object) -> str:
    r"""Return ``str(text)`` with every character escaped that a terminal would act on.

    Class names, paths and the like come from files, so they may hold anything: colour codes,
    line breaks, marks that turn the reading direction. Letters of every script stay as they are.

    >>> print(printable("\x1b[31mzwei\u202e"))
    \x1b[31mzwei\u202e
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )
