"""The code of this folder is the package ecgclip, with which its weights travel."""

try:
    from modeling_ecgclip import *  # noqa: F403
except ImportError as error:
    raise ImportError("this folder needs the package ecgclip: `pip install .` in its checkout") from error
