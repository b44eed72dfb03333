"""Damaged XML of recorders: each file is refused by name, or answered with a record, in time."""

import base64
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from modeling_ecgclip.aecg_ecgclip import is_aecg, read_aecg
from modeling_ecgclip.cardiosoft_ecgclip import is_cardiosoft, read_cardiosoft
from modeling_ecgclip.muse_ecgclip import is_muse, read_muse
from modeling_ecgclip.record_ecgclip import EcgRecord
from modeling_ecgclip.sierra_ecgclip import is_sierra, read_sierra
from tests.modeling_ecgclip.fuzzing import mutate, time_limit
from tests.modeling_ecgclip.vendor_samples import vendor_file
from tests.modeling_ecgclip.xml_writers import (
    PRIVATE,
    STORED_LEADS,
    aecg,
    cardiosoft,
    counts_of_12_leads,
    muse,
    sierra,
    xli,
)


SEED = 20260612
MUTATIONS_OF_OURS = 40
MUTATIONS_OF_REAL_ONES = 15
DELETIONS = 40
NONSENSE = 25
NONSENSES = ["", "0", "-1", "1e99", "-1e99", "1e-99", "9" * 30, "0." + "0" * 28 + "1", "nan", "inf", "x" * 9999,
             "\u0663", "1.5", "32768", "1 2 3", "1e300 1e300", "1,2", "=", "AAAA", "\U0001f600"]  # fmt: skip
COUNTS = counts_of_12_leads(100)
KINDS = (is_aecg, is_cardiosoft, is_muse, is_sierra)
OURS = {
    "aECG": (aecg(COUNTS), read_aecg),
    "MUSE": (muse(COUNTS[[0, 1, 6, 7, 8, 9, 10, 11]]), read_muse),
    "CardioSoft": (cardiosoft(COUNTS), read_cardiosoft),
    "Sierra 1.03": (sierra(COUNTS, version="1.03", compression="XLI"), read_sierra),
    "Sierra 1.04": (sierra(COUNTS, compression="XLI"), read_sierra),
    "Sierra in UTF-16": (sierra(COUNTS, text_encoding="UTF-16"), read_sierra),
    "Sierra in numbers": (sierra(COUNTS, encoding="Plain"), read_sierra),
}
REAL = {
    "1_03_129DYPRG.xml": read_sierra,
    "1_04_3191723.xml": read_sierra,
    "braveheart_example1.xml": read_muse,
    "ecgtoolkit_Example.aecg.xml": read_aecg,
    "fda_subject1_0.xml": read_aecg,
}


def parsed(content: bytes) -> ElementTree.Element:
    """The document as a tree of its own, with prefixes as they are written."""
    return ElementTree.fromstring(content.replace(b"xsi:type", b"type").replace(b"xmlns=", b"schema="))


def answer(path: Path, read: Callable[[Path], EcgRecord]) -> EcgRecord | None:
    """The record of a file that may be damaged; `None` where it is refused by name."""
    with time_limit(path.name):
        for is_kind in KINDS:
            assert isinstance(is_kind(path.read_bytes()[:4096]), bool)
        try:
            record = read(path)
        except ValueError as error:
            assert str(error).startswith(str(path)), error
            assert len(str(error)) < 900
            return None
    assert record.signal.dtype == np.float64
    assert record.signal.shape == (len(record.lead_names), record.signal.shape[1])
    assert record.unit == "uV"
    assert 10 <= record.sampling_rate <= 10_000
    assert np.isfinite(record.signal).all()
    return record


def damaged_answers(content: bytes, read: Callable[[Path], EcgRecord], n: int, seed: int, folder: Path) -> int:
    """How many of `n` damaged copies are answered with a record."""
    generator = np.random.default_rng(seed)
    path = folder / "damaged.xml"
    answers = 0
    for _ in range(n):
        damaged = mutate(content, generator)
        if generator.random() < 0.3:
            damaged = mutate(damaged, generator)
        path.write_bytes(damaged)
        answers += answer(path, read) is not None
    return answers


@pytest.mark.parametrize("kind", OURS)
def test_damaged_documents_are_refused_by_name_or_answered(tmp_path, kind):
    content, read = OURS[kind]
    (tmp_path / "whole.xml").write_bytes(content)
    assert answer(tmp_path / "whole.xml", read) is not None
    answers = damaged_answers(content, read, MUTATIONS_OF_OURS, SEED, tmp_path)
    assert answers < MUTATIONS_OF_OURS


@pytest.mark.parametrize("file_name", REAL)
def test_damaged_real_files_are_refused_by_name_or_answered(sample_data, tmp_path, file_name):
    content = vendor_file(sample_data, file_name).read_bytes()
    answers = damaged_answers(content, REAL[file_name], MUTATIONS_OF_REAL_ONES, SEED, tmp_path)
    assert answers < MUTATIONS_OF_REAL_ONES


def test_damaged_compressed_samples_in_whole_documents(tmp_path):
    generator = np.random.default_rng(SEED)
    packed = xli(COUNTS)
    path = tmp_path / "damaged.xml"
    refused = 0
    for _ in range(100):
        samples = base64.b64encode(mutate(packed, generator)).decode()
        path.write_bytes(sierra(COUNTS, compression="XLI", samples=samples))
        refused += answer(path, read_sierra) is None
    assert refused > 50


@pytest.mark.parametrize("kind", OURS)
def test_any_statement_may_be_nonsense(tmp_path, kind):
    content, read = OURS[kind]
    path = tmp_path / "nonsense.xml"
    generator = np.random.default_rng(SEED)
    statements = [(at, key) for at, node in enumerate(parsed(content).iter()) for key in (None, *node.attrib)]
    answers = 0
    for i in generator.integers(len(statements), size=NONSENSE):
        root = parsed(content)
        node, key = list(root.iter())[statements[i][0]], statements[i][1]
        if key is None:
            node.text = str(generator.choice(NONSENSES))
        else:
            node.attrib[key] = str(generator.choice(NONSENSES))
        path.write_bytes(ElementTree.tostring(root))
        answers += answer(path, read) is not None
    assert 0 < answers < NONSENSE  # some statements matter to no sample, others to all


@pytest.mark.parametrize("kind", OURS)
def test_without_any_one_statement_the_ecg_is_the_same_or_refused(tmp_path, kind):
    """Nothing is guessed: no element and no attribute can be left out so that another signal is read."""
    content, read = OURS[kind]
    path = tmp_path / "less.xml"
    path.write_bytes(content)
    truth = read(path)
    statements = [(at, key) for at, node in enumerate(parsed(content).iter()) for key in (None, *node.attrib)]
    chosen = np.random.default_rng(SEED).permutation(len(statements))[:DELETIONS]
    answers = 0
    for at, key in (statements[i] for i in chosen if statements[i] != (0, None)):
        root = parsed(content)
        node = list(root.iter())[at]
        if key is None:
            next(parent for parent in root.iter() if node in list(parent)).remove(node)
        else:
            del node.attrib[key]
        path.write_bytes(ElementTree.tostring(root))
        record = answer(path, read)
        if record is not None:
            answers += 1
            leads = [truth.lead_names.index(name) for name in record.lead_names]
            np.testing.assert_array_equal(record.signal, truth.signal[leads], f"without {node.tag} {key}")
            assert record.sampling_rate == truth.sampling_rate, (node.tag, key)
    assert answers


def test_no_damage_makes_a_name_leave_the_file(tmp_path):
    generator = np.random.default_rng(SEED)
    path = tmp_path / "damaged.xml"
    content = muse(COUNTS[[0, 1, 6, 7, 8, 9, 10, 11]], STORED_LEADS)
    for _ in range(100):
        path.write_bytes(mutate(content[:2500], generator) + content[2500:])
        record = answer(path, read_muse)
        if record is not None:
            assert PRIVATE["patient_id"] not in repr(record.metadata)
