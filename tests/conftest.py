"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest


PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of real ECGs (`code15_sample`, `ptbxl_sample`); the test skips where it is absent."""
    folder = Path(os.environ.get("ECGCLIP_SAMPLE_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "ptbxl_sample" / "ptbxl_database.csv").is_file():
        pytest.skip(f"real samples not found in {folder}: set ECGCLIP_SAMPLE_DATA")
    return folder
