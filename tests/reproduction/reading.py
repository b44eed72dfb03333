"""A stand-in for a training script, which a process can import by name: it writes into what all processes share."""

from reproduction.sharing import open_table


def count_up(words):
    """Adds one to the first sample of the training split, as this process holds it."""
    flags = dict(zip(words[::2], words[1::2], strict=True))
    table = open_table(flags["--dataset_name_or_path"], None)
    assert open_table(flags["--dataset_name_or_path"], None) is table
    table.held["train"][0, 0, 0] += 1
    return words
