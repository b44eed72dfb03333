"""From uploaded files and a form to one ECG, or one sentence that says what was expected."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from modeling_ecgclip.formats_ecgclip import HEAD_BYTES, format_named, format_of, kinds_of_files
from modeling_ecgclip.leads_ecgclip import LEFT_OUT
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.record_ecgclip import EcgRecord
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from modeling_ecgclip.stated_ecgclip import UnstatedError, check_stated
from modeling_ecgclip.wfdb_header_ecgclip import main_header


KINDS = kinds_of_files()
MAX_FILE_MB = 20  # of an uploaded file, and of one in an archive
FORM_TITLE = "What the file does not say"  # where the page has the fields of `Form`


# What nobody stated, by its setting.
_UNSTATED = {"sampling_rate": "its sampling rate", "unit": "its unit", "lead_names": "its leads"}


class UnreadableError(ValueError):
    """
    An upload that its visitor can mend.

    Args:
        message (`str`): What is missing.
        fields (`tuple[str]`): Of [`Form`], what would mend it.
    """

    def __init__(self, message: str, fields: tuple[str, ...]) -> None:
        super().__init__(message)
        self.fields = fields


@dataclass(frozen=True)
class Form:
    """
    What a user states beside the file; every field may be left out where the file states it.

    Args:
        sampling_rate (`float`, *optional*): Hz.
        unit (`str`, *optional*): `"mV"`, `"uV"` or `"V"`.
        lead_names (`str`, *optional*): In the order of the file, parted by commas or spaces.
        exam_id (`str`, *optional*): Which exam of an HDF5 file.
        repair_nan (`bool`), allow_missing_leads (`bool`): As in `EcgFeatureExtractor`.
    """

    sampling_rate: float | None = None
    unit: str | None = None
    lead_names: str | None = None
    exam_id: str | None = None
    repair_nan: bool = False
    allow_missing_leads: bool = False


def read_upload(paths: Sequence[str | Path], form: Form) -> tuple[EcgRecord, list[str]]:
    """
    Returns the ECG of one upload, and what was assumed about it.

    Args:
        paths (`list` of paths): One file, or the files of one WFDB record; they may lie in different folders.
        form ([`Form`]): What the user states.

    Returns:
        `tuple` of [`EcgRecord`], whose name is the file's without its folder and whose sampling rate and unit are
        known, and the assumptions as sentences.

    Raises:
        [`UnreadableError`]: where the form lacks what the file does not state.
        `ValueError`, `TypeError`, `FileNotFoundError`: naming the file, without its folder, and what was expected.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError(f"no file: expected an ECG as {KINDS}")
    main = _main_file(files)
    with _side_by_side(files) as folder:
        try:
            exam_id = _exam_id(folder / main.name, form.exam_id)
            record = read_ecg(
                folder / main.name, exam_id, form.sampling_rate or None, _lead_list(form.lead_names), form.unit or None
            )
        except UnreadableError:
            raise
        except (ValueError, TypeError, FileNotFoundError) as error:
            # Where the server keeps uploads concerns nobody.
            text = str(error).replace(f"{folder}{os.sep}", "")
            # A plain one of its kind: some take more than a text.
            kind = next(kind for kind in (FileNotFoundError, TypeError, ValueError) if isinstance(error, kind))
            raise kind(text) from error
    record = replace(record, name=main.name if exam_id is None else f"{main.name}, exam {exam_id}")
    try:
        check_stated(record.name, record.signal.shape, record.sampling_rate, record.lead_names, record.unit)
    except UnstatedError as error:
        # All at once, and not the first alone, which is what the error names.
        missing = [name for name in ("sampling_rate", "unit") if getattr(record, name) is None]
        needed = missing or [error.setting]
        may_state = ("lead_names",) if record.lead_names is None else ()
        raise UnreadableError(
            f"{record.name}: the file does not state {' and '.join(_UNSTATED[name] for name in needed)}: enter "
            f'{"it" if needed in (["sampling_rate"], ["unit"]) else "them"} under "{FORM_TITLE}"',
            (*missing, *may_state),
        ) from error
    return record, _assumptions(record)


def read_with_one_form(paths: Sequence[str | Path], form: Form) -> tuple[EcgRecord, list[str]]:
    """
    Returns [`read_upload`] where one form is for several ECGs: of rate, unit and leads only what this one does not
    state is taken from it.

    Args, returns and errors: as [`read_upload`].
    """
    taken = replace(form, sampling_rate=None, unit=None, lead_names=None)
    while True:
        try:
            return read_upload(paths, taken)
        except ValueError as error:
            setting = getattr(error.__cause__, "setting", None)
            if setting is None or not getattr(form, setting) or getattr(taken, setting):
                raise
            taken = replace(taken, **{setting: getattr(form, setting)})


def _main_file(files: Sequence[Path]) -> Path:
    """The file that names the ECG; the header of a WFDB record."""
    names = ", ".join(file.name for file in files)
    header_suffix, *signal_suffixes = format_named("wfdb").suffixes
    headers = {file.name: file for file in files if file.suffix.lower() == header_suffix}
    main = main_header({name: file.read_bytes()[:HEAD_BYTES] for name, file in headers.items()})
    if main is not None:
        return headers[main]
    if headers:
        raise ValueError(f"{names}: expected one ECG: found {len(headers)} WFDB headers")
    if len(files) > 1:
        raise ValueError(f"{names}: expected one file, or one WFDB header (.hea) with its signal files")
    if files[0].suffix.lower() in signal_suffixes:
        raise ValueError(f"{names}: a WFDB signal file needs its header: upload the .hea file together with it")
    if format_of(files[0]) is None:
        raise ValueError(f"{names}: expected an ECG as {KINDS}: found {files[0].suffix or 'no suffix'}")
    return files[0]


@contextmanager
def _side_by_side(files: Sequence[Path]) -> Iterator[Path]:
    """A folder that holds all files under their names, as a WFDB header expects; removed in the end."""
    with tempfile.TemporaryDirectory(prefix="ecgclip-") as folder:
        for file in files:
            shutil.copyfile(file, Path(folder, file.name))
        yield Path(folder)


def _exam_id(path: Path, stated: str | None) -> str | None:
    """The exam stated; needed for an HDF5 file."""
    exam_id = (stated or "").strip() or None
    kind = format_of(path)
    if kind is not None and kind.many_exams and exam_id is None:
        raise UnreadableError(
            f'{path.name}: an HDF5 file holds many exams: enter the exam\'s id under "{FORM_TITLE}"', ("exam_id",)
        )
    return exam_id


def _lead_list(text: str | None) -> list[str] | None:
    """Lead names of a line of text; None for an empty one."""
    names = (text or "").replace(";", " ").replace(",", " ").split()
    return names or None


def _assumptions(record: EcgRecord) -> list[str]:
    """What is taken for granted because neither file nor user states it."""
    assumed = []
    left_out = record.metadata.get(LEFT_OUT)
    if left_out:
        assumed.append(f"Channels that are none of the twelve leads are left out: {', '.join(left_out)}.")
    if record.lead_names is None:
        names = ", ".join(LEAD_NAMES)
        assumed.append(f"The leads are not named: taken to be {names}, in this order, as the limb leads allow.")
    return assumed


__all__ = ["FORM_TITLE", "KINDS", "Form", "UnreadableError", "read_upload", "read_with_one_form"]
