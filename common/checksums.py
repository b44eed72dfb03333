"""Checksums of what is written, compared when it is read; they travel with the models, so their code does too."""

from modeling_ecgclip.checksums_ecgclip import (
    SUMS_FILE,
    file_digest,
    read_checksums,
    verify_checksums,
    write_checksums,
)


__all__ = ["SUMS_FILE", "file_digest", "read_checksums", "verify_checksums", "write_checksums"]
