"""Diagnosis words that cutting leaves in descriptions: found in four languages, counted, shown, masked on request."""

import pytest

from data_scripts.text.folding import fold
from data_scripts.text.languages import FINDINGS, LANGUAGES, Words
from data_scripts.text.reports import ReportCutter
from data_scripts.text.words_left import WordsLeft, diagnoses_named, lines_of, mask_diagnoses, names_diagnosis


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("atrial fibrillation, Vorhofflimmern, fibrilação atrial, fibrilación auricular", {"fibrillation"}),
        *((one, {"fibrillation"}) for one in ("Vorhof-Flimmern", "FIBRILACAO ATRIAL", "FA", "AF with RVR", "VHF")),
        *((one, {"flutter"}) for one in ("Flutter atrial", "Vorhofflattern", "aleteo auricular", "atrial flutter")),
        *(
            (one, {"right bundle branch block"})
            for one in ("Alterações secundárias ao BRD.", "Rechtsschenkelblock", "iRBBB", "right bundle branch QRS")
        ),
        *(
            (one, {"left bundle branch block"})
            for one in ("bloqueio de ramo esquerdo", "Bloqueo de rama izquierda", "left bundle-branch block", "BRIHH")
        ),
        *((one, {"left bundle branch block"}) for one in ("Links-Schenkelblock", "com BRE", "LBBB pattern", "LSB")),
        ("Bloqueo incompleto de rama derecha", {"right bundle branch block"}),
        ("BRD ou BRE", {"right bundle branch block", "left bundle branch block"}),
        *((one, {"bundle branch block"}) for one in ("bloqueio de ramo", "BBB", "Schenkelblock", "bundle branch")),
        *((one, {"AV block"}) for one in ("AV-Block I. Grades", "A-V block", "bloqueio atrioventricular", "BAV")),
        *((one, {"AV block"}) for one in ("Bloqueo auriculoventricular", "complete heart block", "BAV1", "1dAVb")),
        *((one, {"AV block"}) for one in ("1st degree AV", "2nd deg block", "BAVT", "3AVB")),
        *(
            (one, {"fascicular block"})
            for one in ("Hemiblock", "hemibloqueo anterior", "BDAS", "linksanteriorer Hemiblock")
        ),
        *((one, {"bradycardia"}) for one in ("Bradicardia sinusal", "sinus bradycardia", "Sinusbradykardie")),
        *((one, {"tachycardia"}) for one in ("taquicardia", "tachycardic", "tachykardes", "Sinustachykardie")),
        *((one, {"infarction"}) for one in ("Infarto", "old infarct", "Vorderwandinfarkt", "STEMI")),
        *((one, {"infarction"}) for one in ("necrosis inferior", "área eletricamente inativa")),
        *((one, {"ischaemia"}) for one in ("isquemia", "ischemic", "ischaemia", "Ischämie", "Myokardischaemie")),
        *(
            (one, {"hypertrophy"})
            for one in ("sobrecarga do VE", "LVH", "Linkshypertrophie", "hipertrofia ventricular")
        ),
        *((one, {"grade of the ECG"}) for one in ("sonst normales EKG", "ECG normal", "Normal ECG", "Grenzbefund")),
        ("Sinusrhythmus", {"sinus rhythm"}),
        ("PR dentro dos limites da normalidade", {"within normal limits"}),
        ("ECG within normal limits", {"within normal limits", "grade of the ECG"}),
        ("no evidence of infarction", {"infarction"}),  # denied, and yet named
        # What a description is made of.
        ("Onda P: amplitude e duração normais. QRS alargado, RSR em V1. Eixo para a direita e para cima.", set()),
        ("Complexos QRS em faixa normal; afastado artefato. Baixa voltagem. Bradi.", set()),
        ("P waves upright, PR 160 ms, blocked beat after a pause, ST segments normal, T waves inverted", set()),
        ("Linkstyp, QRS breit, T-Negativierung in V1, kein U; Belastung bis 100 W", set()),
        ("Ondas P ausentes, RR irregular, QRS ancho con R empastada, eje normal", set()),
    ],
)
def test_diagnoses_that_a_text_names(text, named):
    for one in (text, text.upper(), fold(text)):
        assert set(diagnoses_named(one)) == named, one


def test_every_language_has_words_for_every_diagnosis():
    for language in LANGUAGES:
        assert set(language.diagnoses) == set(LANGUAGES[0].diagnoses), language.name


def test_counts_and_examples():
    left = WordsLeft()
    long = "QRS alargado em todas as derivações; alterações secundárias ao BRD observadas em V1 e V2 neste traçado."
    for text in (long, long, "Com BRE. FA.", "Com BRD, FA, fibrilação.", "P normal.", "Ritmo sinusal."):
        left.look(text)
    record = left.record()
    facts = record["diagnosis_words_left"]
    assert list(facts) == ["right bundle branch block", "fibrillation", "left bundle branch block", "sinus rhythm"]
    example = "... alterações secundárias ao BRD observadas em V1 e V2 neste ..."
    assert facts["right bundle branch block"] == {"reports": 3, "examples": [example, "Com BRD, FA, fibrilação."]}
    assert facts["fibrillation"]["reports"] == 2
    assert record["labels_named"] == {"1dAVb": 0, "RBBB": 3, "LBBB": 1, "SB": 0, "AF": 2, "ST": 0}
    assert record["with_diagnosis_words"] == 4  # a sinus rhythm is a finding
    lines = lines_of(facts)
    assert lines[1] == f'  right bundle branch block: 3, such as "{example}"' and len(lines) == 5
    assert lines_of({}) == ["diagnosis words left in descriptions: none"]


def test_the_check_cuts_nothing_and_looks_at_descriptions_alone():
    cutter = ReportCutter()
    text = "Secundárias ao BRD. Conclusão: fibrilação atrial"
    assert cutter.cut(text).description == "Secundárias ao BRD."
    facts = cutter.facts()
    assert list(facts["diagnosis_words_left"]) == ["right bundle branch block"] and facts["with_diagnosis_words"] == 1
    assert facts["free_of_conclusions"] is False


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        # The paper's own description, figure 3.
        ("Alterações secundárias ao BRD.", "Alterações secundárias ao ___."),
        ("QRS largo, secundário a bloqueio completo de ramo direito.", "QRS largo, secundário a ___."),
        ("Fibrilação atrial com BRE e RR irregular", "___ com ___ e RR irregular"),
        ("bloqueio AV de primeiro grau; BAV de 2º grau", "___; ___"),
        ("Bloqueio divisional ântero-superior esquerdo", "___"),
        ("sobrecarga ventricular esquerda; eixo para a esquerda", "___; eixo para a esquerda"),
        ("atrial fibrillation, incomplete right bundle branch block", "___, ___"),
        ("1st degree AV block, left axis", "___, left axis"),
        ("Vorhofflimmern, inkompletter Rechtsschenkelblock (iRSB)", "___, ___ (___)"),
        ("AV-Block I. Grades, QRS schmal", "___, QRS schmal"),
        ("Bloqueo incompleto de rama derecha del haz de His, PR normal", "___, PR normal"),
        ("no evidence of infarction", "no evidence of ___"),
        # A finding is not masked, unless it goes with a diagnosis.
        (
            "Ritmo sinusal. PR dentro dos limites da normalidade.",
            "Ritmo sinusal. PR dentro dos limites da normalidade.",
        ),
        ("Sinus rhythm, sinus bradycardia", "Sinus rhythm, ___"),
    ],
)
def test_masks_take_the_whole_diagnosis(text, masked):
    assert mask_diagnoses(text) == masked
    assert not names_diagnosis(masked)
    assert mask_diagnoses(text.upper()) == masked.upper()


def test_every_phrase_of_every_language_can_be_masked():
    for language in LANGUAGES:
        for name, phrases in language.diagnoses.items():
            for phrase in phrases:
                written = " ".join(word.split("|")[0].strip("*") for word in phrase.split() if word[0] != "[")
                assert names_diagnosis(written) == (name not in FINDINGS), written
                assert not names_diagnosis(mask_diagnoses(f"QRS, {written}, V1")), written


def test_how_words_are_written():
    def found(phrase, text):
        return [match[0] for match in Words.of([phrase]).find(fold(text))]

    assert found("[final] conclusión|fin [of] ECG", "Final conclusion of ECG, fin ECG, fin") == [
        *("final conclusion of ecg", "fin ecg")
    ]
    assert found("*flimmern|bradyk*", "Vorhofflimmern bradykard tabradyk flimmernd") == ["flimmern", "bradykard"]
    assert found("A-V block", "AV block, A V  block, a-v block, avblock") == ["av block", "a v  block", "a-v block"]
    assert found("a/b", "a / b, a/b, ab") == ["a / b", "a/b"]
    assert Words.of(["[of] left|right block", "blocks"]).letters == ("block",)
