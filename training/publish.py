"""
Publishes the folder of a finished run on the Hub, and a Space that runs it; see publishing/model.py.

Example:
    python -m training.publish --folder runs/cls --repo_id user/ecgclip-code15 --space
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys

from publishing.model import main


__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
