"""Numbers to words: each limit from both sides, and nothing where nothing is known."""

import numpy as np
import pytest

from data_scripts.text.description import LANGUAGES, TABLES, Detail, Hand, PlainHand, Reading, write_by
from data_scripts.text.reading_of import neighbouring, reading_of
from data_scripts.text.words_left import diagnoses_named
from modeling_ecgclip.measurements_ecgclip import EcgMeasurements, RhythmEvidence
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


SINGLE = ("heart_rate_bpm", "p_ms", "pr_ms", "qrs_ms", "qt_ms", "qtc_bazett_ms", "qrs_axis_deg")
USUAL = {
    "heart_rate_bpm": 70.0,
    "p_ms": 100.0,
    "pr_ms": 160.0,
    "qrs_ms": 90.0,
    "qt_ms": 390.0,
    "qtc_bazett_ms": 420.0,
    "qrs_axis_deg": 50.0,
}
WAVES = {
    "p_mv": 0.1,
    "q_mv": -0.02,
    "r_mv": 0.9,
    "s_mv": -0.3,
    "r2_mv": 0.0,
    "st_j_mv": 0.0,
    "st_j60_mv": 0.0,
    "t_mv": 0.3,
}


def measurements(rhythm=None, morphology=None, amplitudes=None, quality=0.9, **changes):
    """A usual ECG with changes; `amplitudes` by name and lead."""
    single = USUAL | changes
    waves = {name: np.full(12, value) for name, value in WAVES.items()}
    for name, by_lead in (amplitudes or {}).items():
        for lead, value in by_lead.items():
            waves[name][LEAD_NAMES.index(lead)] = value
    evidence = {"irregularity": 0.01, "p_before_qrs": 1.0, "p_likeness": 0.9, "tp_power": 0.1} | (rhythm or {})
    beats_s = np.arange(0.5, 9.5, 0.857)
    return EcgMeasurements(
        LEAD_NAMES,
        np.ones(12, dtype=bool),
        **single,
        rhythm=RhythmEvidence(**evidence),
        amplitudes=waves,
        morphology=morphology or {},
        beats_s=beats_s,
        beat_kinds=["dominant"] * len(beats_s),
        marks_s=np.full((len(beats_s), 12, 3, 3), np.nan),
        quality=dict.fromkeys(SINGLE, quality),
    )


def test_a_usual_ecg():
    assert reading_of(measurements(), 50, "male") == Reading(
        rate="usual", heart_rate=70, cycles="regular", axis_deg=50, p="usual", pr="usual", pr_ms=160, qrs="usual",
        qrs_ms=90, st="level", qtc="usual", qtc_ms=420,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({"heart_rate_bpm": 49.9}, "rate", "slow"),
        ({"heart_rate_bpm": 50.0}, "rate", "usual"),
        ({"heart_rate_bpm": 100.0}, "rate", "usual"),
        ({"heart_rate_bpm": 100.6}, "rate", "fast"),
        ({"pr_ms": 119.0}, "pr", "short"),
        ({"pr_ms": 120.0}, "pr", "usual"),
        ({"pr_ms": 200.4}, "pr", "usual"),
        ({"pr_ms": 201.0}, "pr", "above"),
        ({"qrs_ms": 109.4}, "qrs", "usual"),
        ({"qrs_ms": 110.0}, "qrs", "borderline"),
        ({"qrs_ms": 119.4}, "qrs", "borderline"),
        ({"qrs_ms": 120.0}, "qrs", "wide"),
        ({"qrs_ms": 201.0}, "qrs", None),
        ({"qrs_ms": 201.0}, "axis_deg", None),
        ({"qrs_ms": 130.0}, "qtc", "none"),
        ({"qrs_axis_deg": -31.0}, "qrs", "narrow"),
        ({"qrs_axis_deg": None}, "qrs", "narrow"),
        ({"p_ms": 120.4}, "p", "usual"),
        ({"p_ms": 121.0}, "p", "long"),
        ({"amplitudes": {"p_mv": {"II": 0.26}}}, "p", "tall"),
        ({"amplitudes": {"p_mv": {"II": -0.1}}}, "p", "negative"),
        ({"qt_ms": None, "qtc_bazett_ms": None}, "st", None),
        ({"qtc_bazett_ms": None}, "qtc", None),
        ({"rhythm": {"irregularity": 0.04}}, "cycles", "regular"),
        ({"rhythm": {"irregularity": 0.04, "premature_beats": 1}}, "cycles", "even"),
        ({"rhythm": {"irregularity": 0.06}}, "cycles", "varying"),
        ({"rhythm": {"irregularity": 0.12}}, "cycles", "uneven"),
        ({"rhythm": {"irregularity": 0.12}}, "qtc", "none"),
        ({"rhythm": {"irregularity": None}}, "cycles", None),
        ({"morphology": {"low_voltage_limb": True}}, "voltage", "low"),
        ({"morphology": {"sokolow_lyon_mv": 3.5}}, "voltage", "sokolow"),
        ({"morphology": {"sokolow_lyon_mv": 3.4}}, "voltage", None),
        ({"rhythm": {"paced_beats": 11}}, "spikes", True),
        ({"rhythm": {"paced_beats": 2}}, "spikes", False),
    ],
)
def test_limits(changes, field, word):
    assert getattr(reading_of(measurements(**changes), 50, "male"), field) == word


@pytest.mark.parametrize(
    ("value", "sex", "word"),
    [(449.0, "male", "usual"), (450.0, "male", "long"), (459.0, "female", "usual"), (460.0, "female", "long"),
     (455.0, None, None), (449.0, None, "usual"), (460.0, None, "long")],
)  # fmt: skip
def test_qtc_by_sex(value, sex, word):
    assert reading_of(measurements(qtc_bazett_ms=value), 50, sex).qtc == word


def test_fibrillation_is_told_by_what_is_seen():
    rhythm = {"irregularity": 0.2, "p_likeness": 0.3, "p_before_qrs": 0.0, "tp_power": 1.5}
    reading = reading_of(measurements(rhythm=rhythm, pr_ms=None, p_ms=None), 70, "male")
    assert (reading.p, reading.pr, reading.cycles, reading.qtc) == ("none", "none", "irregular", "none")
    quiet = reading_of(measurements(rhythm=rhythm | {"tp_power": 0.2}, pr_ms=None, p_ms=None))
    assert (quiet.p, quiet.cycles) == ("absent", "irregular")
    texts = [write_by(PlainHand(language), reading) for language in LANGUAGES]
    assert "ausente" in texts[0] and "absent" in texts[1] and not any(map(diagnoses_named, texts))


def test_a_doubtful_p_wave_is_not_called_absent():
    rhythm = {"p_likeness": 0.6, "p_before_qrs": 0.0}
    reading = reading_of(measurements(rhythm=rhythm, pr_ms=None, p_ms=None))
    assert reading.p is None and reading.pr is None and reading.cycles == "even"


def test_right_and_left_pictures_of_a_wide_qrs():
    right = {"wide_s_i_v6": True, "notched_r_lateral": True}
    amplitudes = {"r2_mv": {"V1": 0.8}, "s_mv": {"V1": -0.3}, "r_mv": {"V1": 0.2}}
    reading = reading_of(measurements(qrs_ms=140.0, morphology=right, amplitudes=amplitudes))
    assert reading.qrs_details == (Detail("rsr", ("V1",)), Detail("broad_s", ("I", "V6")))
    left = {"wide_s_i_v6": True, "notched_r_lateral": True, "absent_q_lateral": True}
    amplitudes = {"r2_mv": {"V1": 0.4}, "s_mv": {"V1": -1.5}, "r_mv": {"V1": 0.1}}
    reading = reading_of(measurements(qrs_ms=140.0, morphology=left, amplitudes=amplitudes))
    assert reading.qrs_details == (Detail("notched_r", ("I", "aVL", "V5", "V6")), Detail("no_q", ("I", "V6")))


def test_st_and_t_need_two_leads_and_the_right_ones():
    def details(amplitudes, age=50, sex="male", **changes):
        return reading_of(measurements(amplitudes=amplitudes, **changes), age, sex).st_details

    assert details({"st_j_mv": {"II": 0.15}}) == ()
    assert details({"st_j_mv": {"II": 0.15, "III": 0.15, "aVF": 0.15}}) == (Detail("st_up", ("II", "III", "aVF")),)
    v2_v3 = {"st_j_mv": {"V2": 0.17, "V3": 0.17}}
    assert details(v2_v3) == () and details(v2_v3, sex="female") == (Detail("st_up", ("V2", "V3")),)
    down = {"st_j_mv": {"V5": -0.1, "V6": -0.1}}
    assert details(down) == () and details(down | {"st_j60_mv": {"V5": -0.1, "V6": -0.12}})[0].word == "st_down"
    negative = {"t_mv": {"V4": -0.2, "V5": -0.2, "V6": 0.05}}
    assert details(negative) == (Detail("t_negative", ("V4", "V5")),)
    assert details(negative, age=12) == ()
    opposed = {"t_mv": {"V5": -0.2, "V6": -0.2, "aVR": -0.4}}
    assert details(opposed, qrs_ms=140.0) == (Detail("t_opposed", ("V5", "V6")),)
    assert neighbouring(["I", "II"]) == [] and neighbouring(["V4", "V3", "II"]) == ["V3", "V4"]


def test_children_have_no_word_for_their_rate():
    assert reading_of(measurements(heart_rate_bpm=120.0), 3, "male").rate is None
    assert reading_of(measurements(heart_rate_bpm=120.0), None, "male").rate == "fast"


def test_nothing_is_said_of_what_is_missing_or_doubtful():
    nothing = EcgMeasurements(LEAD_NAMES, np.zeros(12, dtype=bool))
    doubtful = measurements(quality=0.1, rhythm={"p_likeness": None})
    for measured in (nothing, doubtful):
        reading = reading_of(measured)
        assert reading == Reading() and write_by(PlainHand(), reading) == ""


def random_reading(rng):
    """Any words and details, together or not."""
    words = {name: [None, *table][rng.integers(len(table) + 1)] for name, table in TABLES.items()}
    numbers = {name: int(rng.integers(30, 600)) for name in ("heart_rate", "pr_ms", "qrs_ms", "qtc_ms")}
    details = {}
    for name, table in (("qrs_details", "QRS_DETAILS"), ("st_details", "ST_DETAILS")):
        keys = list(getattr(LANGUAGES["pt"], table))
        chosen = rng.choice(keys, size=rng.integers(4), replace=False)
        leads = tuple(lead for lead in LEAD_NAMES if rng.random() < 0.4) or ("II",)
        details[name] = tuple(Detail(str(word), leads) for word in chosen)
    flags = {name: bool(rng.random() < 0.3) for name in ("fascicle", "spikes")}
    return Reading(axis_deg=int(rng.integers(-180, 180)), **words, **numbers, **details, **flags)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_diagnosis_is_named_in_any_reading(language):
    rng = np.random.default_rng(5)
    for seed in range(1000):
        reading = random_reading(rng)
        for hand in (Hand(np.random.default_rng(seed), language), PlainHand(language)):
            text = write_by(hand, reading)
            assert not diagnoses_named(text), text
            assert "{" not in text and "None" not in text
