import pytest
import torch

from modeling_ecgclip.pretrained_ecgclip import pretrained_folder
from space.analysis import Analyser
from space.example_list import EXAMPLES
from space.uploads import Form, read_upload
from space.words import (
    ELSEWHERE_REMARK,
    MIN_AHEAD,
    TEMPLATES,
    UNRELATED,
    UNRELATED_REMARK,
    Fit,
    Yardstick,
    phrases_of,
    stands_out,
)


def test_a_phrase_is_held_against_other_ecgs_and_unrelated_words():
    # Two directions: what all texts share, and one finding. The ECG has the finding, the others do not.
    others = torch.tensor([[0.8, 0.0], [0.8, -0.2]])
    words = torch.tensor([[1.0, 0.0]] * 9 + [[0.9, 0.1]])
    ecg, finding = torch.tensor([[0.6, 0.8]]), torch.tensor([[0.6, 0.8]])
    fits = Yardstick(others, words).fits(ecg, torch.cat([finding, words[:1], words[9:]]))
    assert fits[0].similarity == pytest.approx(1.0)
    assert fits[0].lead == pytest.approx(1.0 - (0.48 + 0.32) / 2)
    assert fits[0].ahead_of == 1.0
    assert fits[0].remark is None
    # A word that lies near any ECG says nothing, however similar.
    assert fits[1].similarity == pytest.approx(0.6)
    assert fits[1].ahead_of == 0.0
    assert fits[1].remark == UNRELATED_REMARK
    assert fits[2].ahead_of == pytest.approx(0.9)
    assert fits[2].lead < 0.0
    assert fits[2].remark == ELSEWHERE_REMARK


def test_the_least_share_stands_out():
    assert Fit(0.5, 0.1, MIN_AHEAD).remark is None
    assert Fit(0.5, 0.1, MIN_AHEAD - 0.01).remark == UNRELATED_REMARK
    assert Fit(0.5, 0.0, 1.0).remark == ELSEWHERE_REMARK
    assert stands_out(torch.tensor([0.1, 0.1, 0.0]), torch.tensor([0.5, 0.6, 1.0]), 0.6).tolist() == [
        False,
        True,
        False,
    ]


def test_banana_has_a_remark_whichever_example():
    analyser = Analyser.load(*(str(pretrained_folder(name)) for name in ("cls", "clip")))
    seen = {}
    for example in EXAMPLES:
        analysis = analyser.analyse(*read_upload(example.paths, Form()))
        for language in TEMPLATES:
            words = "banana\nQRS alargado, R alargada e entalhada em V5 e V6\nwide QRS, broad notched R in V5 and V6"
            for one in analyser.compare(analysis, words, language).words:
                seen[example.title, language, one["label"][:6]] = one["remark"]
    assert {remark for (_, _, phrase), remark in seen.items() if phrase == "banana"} == {UNRELATED_REMARK}
    assert seen["Left bundle branch block", "Português", "QRS al"] is None
    assert seen["Left bundle branch block", "English", "wide Q"] is None
    assert seen["Sinus tachycardia", "English", "wide Q"] is not None


def test_unrelated_words_differ():
    for words in UNRELATED.values():
        assert len(set(words)) == len(words) == 48
        assert "banana" not in words


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("one\n\n  ", "expected 2 to 20 phrases, one a line, .* found 1"),
        ("\n".join(map(str, range(21))), "found 21"),
        ("a\n" + "b" * 201, "at most 200 characters: found 201"),
        ("a\nb\na", 'must differ: found "a" more than once'),
    ],
)
def test_phrases_that_cannot_be_compared(words, error):
    with pytest.raises(ValueError, match=error):
        phrases_of(words)


def test_phrases_stand_one_a_line():
    assert phrases_of(" no P waves \n\nwide QRS") == ["no P waves", "wide QRS"]
