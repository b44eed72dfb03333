"""ECG files of every kind whose texts try to be HTML, Markdown or a template."""

import re

import numpy as np

from space.example_list import EXAMPLES
from tests.modeling_ecgclip.dicom_files import group, note, write_dicom
from tests.modeling_ecgclip.recorder_files import edf_simple, ishne_file
from tests.modeling_ecgclip.test_fuzz_every_format import RESEALS, files_of_every_kind


# What a page would show or fetch if it took text for HTML or Markdown; each piece fits into a field of 16 characters.
HOSTILE = (
    '<form action="http://127.0.0.1:9/f"><input name=password></form><img src="http://127.0.0.1:9/i" onerror="hit=1">'
    '<svg onload="hit=2"></svg><script>hit=3</script><iframe src="http://127.0.0.1:9/n"></iframe>'
    "![m](http://127.0.0.1:9/m) [l](http://127.0.0.1:9/l) ${hit} {{hit}}"
)
SHORT = "<svg onload=a()>"
WORD = re.compile(rb"[A-Za-z][A-Za-z_^ ]{5,}")
# Elements of XML files that hold what people, or their machines, wrote.
NAMED = re.compile(
    rb"(<\w*(?:name|comment|statement|text|family|given|patient|device|manufact|model|site|description)\w*"
    rb"(?: [^>]*)?>[^<]*)</",
    re.IGNORECASE,
)


def hostile_bytes(content):
    """A file's bytes, the words behind its first sixteen replaced by as many bytes of hostile text."""
    return content[:16] + WORD.sub(lambda word: (SHORT + HOSTILE * 9).encode()[: len(word[0])], content[16:])


def hostile_xml(content):
    """An XML file whose names and remarks go on with hostile text."""
    text = HOSTILE.translate(str.maketrans({"<": "&lt;", '"': "&quot;"})).encode()
    return NAMED.sub(lambda found: found[1] + text + b"</", content)


def hostile_files(folder):
    """Files of every kind, by what is hostile in them; two hold an ECG, and the others are read or refused."""
    found = {}
    made = folder / "valid"
    made.mkdir()
    for kind, (path, _) in files_of_every_kind(made).items():
        target = folder / f"hostile-{len(found):02}{path.suffix}"
        change = hostile_xml if path.suffix == ".xml" else hostile_bytes
        content = change(path.read_bytes())
        reseal = RESEALS.get(path.suffix)
        target.write_bytes(reseal(content) if reseal else content)
        found[kind] = [target, *(one for one in path.parent.iterdir() if one.suffix == ".dat" and one != path)]
    with np.load(EXAMPLES[2].paths[0]) as held:
        ecg, names = held["ecg"], [str(name) for name in held["lead_names"]]
    codes = np.rint(ecg[:, :4000] * 400).astype(np.int16)
    stated = {"sampling_rate": 400.0, "unit": "mV"}
    target = found.setdefault("npz: another channel", [folder / f"{SHORT} another channel.npz"])[0]
    np.savez(target, ecg=np.vstack([ecg, ecg[:1]]), lead_names=[*names, HOSTILE], **stated)
    target = found.setdefault("npz: a wrong unit", [folder / f"{SHORT} a wrong unit.npz"])[0]
    np.savez(target, ecg=ecg, lead_names=names, **{**stated, "unit": HOSTILE})
    target = found.setdefault("csv: a value", [folder / "cell.csv"])[0]
    cell = HOSTILE.replace('"', '""')
    rows = [",".join(f"{value:.4f}" for value in row) for row in ecg.T]
    rows[7] = f'{rows[7].rpartition(",")[0]},"{cell}"'
    target.write_text("\n".join([",".join(names), *rows, ""]))
    found["wfdb: another channel"] = [folder / "hostile.hea", folder / "hostile.dat"]
    first, *lines = EXAMPLES[0].paths[0].read_text().splitlines()
    signals = [line.replace(EXAMPLES[0].files[1], "hostile.dat") for line in lines if line.startswith("simulated")]
    more = re.sub(r" \S+$", f" {HOSTILE}", signals[0])
    header = "\n".join([first.replace("simulated_normal 12", "hostile 13"), *signals, more, f"# {HOSTILE}", ""])
    (folder / "hostile.hea").write_text(header)
    whole = np.fromfile(EXAMPLES[0].paths[1], "<i2").reshape(-1, 12)
    np.hstack([whole, whole[:, :1]]).tofile(folder / "hostile.dat")
    for kind, content in (
        ("edf: a label and a patient", edf_simple(codes, 400, (*names[:11], SHORT), patient=HOSTILE[:80])),
        ("ecg: a comment", ishne_file(codes, comment=HOSTILE.encode())),
    ):
        found[kind] = [folder / f"hostile {kind[-7:]}.{kind[:3]}"]
        found[kind][0].write_bytes(content)
    target = found.setdefault("dicom: patient, maker, notes", [folder / "hostile patient.dcm"])[0]
    write_dicom(
        target, [group(codes, 400)], notes=[note(HOSTILE)], PatientName=HOSTILE[:60], Manufacturer=HOSTILE[:64]
    )
    return found
