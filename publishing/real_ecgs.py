"""What a classifier that is published was measured to do on real ECGs, beside the test split of its own run."""

import hashlib
from pathlib import Path


RECORD = "real_ecgs.json"  # in the folder of a run; benchmarks/real/run.py writes it


def weights_digest(folder: Path) -> str:
    """Returns the sha256 of a folder's weights, by which a record tells whether it speaks of them."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
