import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from modeling_ecgclip import LABEL_NAMES, LEAD_NAMES, EcgFeatureExtractor, EcgMeasurements, plot_ecg, read_ecg
from modeling_ecgclip.visualization_ecgclip import WAVE_COLOURS


@pytest.fixture
def ecg():
    """Sines of 1 mV to either side, each lead with an offset of its own; 10 s at 400 Hz."""
    t = np.arange(4000) / 400
    return np.sin(2 * np.pi * t) + np.arange(12)[:, None]


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def traces_of(figure):
    """x and y (mm) of the twelve pieces and the strip, the calibration pulses left out."""
    return [line.get_data() for line in figure.axes[0].lines if len(line.get_xdata()) > 6]


def test_paper_is_at_true_size(ecg):
    figure = plot_ecg(ecg, 400)
    traces = traces_of(figure)
    assert len(traces) == 13
    x, y = traces[0]
    assert x[-1] - x[0] == pytest.approx(2.5 * 25, abs=0.1)
    assert y.max() - y.min() == pytest.approx(20, abs=0.05)  # 2 mV
    strip_x, _ = traces[-1]
    assert strip_x[-1] - strip_x[0] == pytest.approx(250, abs=0.1)
    axes = figure.axes[0]
    width_mm, height_mm = figure.get_size_inches() * 25.4
    assert axes.get_xlim()[1] == pytest.approx(width_mm)
    assert axes.get_ylim()[1] == pytest.approx(height_mm)


def test_columns_follow_in_time(ecg):
    ramp = np.tile(np.arange(4000) / 400, (12, 1))  # seconds as millivolts
    middle = [np.median(y) for _, y in traces_of(plot_ecg(ramp, 400))[:4]]
    assert np.ptp(middle) < 0.5  # each piece is centred on its own median
    starts = [x[0] for x, _ in traces_of(plot_ecg(ecg, 400))[:4]]
    np.testing.assert_allclose(np.diff(starts), 62.5)


def test_leads_and_notes(ecg):
    texts = texts_of(plot_ecg(ecg, 400, title="exam 5", rhythm_lead="V1"))
    assert [texts.count(lead) for lead in LEAD_NAMES] == [1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]
    assert "exam 5" in texts
    assert any("25 mm/s" in text and "10 mm/mV" in text for text in texts)


def test_short_recording_shows_every_lead(ecg):
    figure = plot_ecg(ecg[:, :2934], 400)
    assert [len(x) for x, _ in traces_of(figure)] == [1000] * 12 + [2934]
    assert any("7.3 s recorded" in text for text in texts_of(figure))
    assert [len(x) for x, _ in traces_of(plot_ecg(ecg[:, :600], 400))] == [600] * 13


def test_a_single_lead_is_one_strip_whose_time_does_not_overlap(ecg):
    figure = plot_ecg(ecg[:1, :2934], 400, lead_names=["V2"])
    assert [len(x) for x, _ in traces_of(figure)] == [2934]
    assert any(text.endswith("7.3 s recorded") for text in texts_of(figure))
    assert any("columns overlap" in text for text in texts_of(plot_ecg(ecg[:, :2934], 400)))


def test_start(ecg):
    figure = plot_ecg(ecg, 400, start_s=4)
    assert len(traces_of(figure)[-1][0]) == 6 * 400


def test_tall_complexes_move_rows_apart(ecg):
    heights = [plot_ecg(ecg * scale, 400).get_size_inches()[1] for scale in (0.5, 1.5, 50)]
    assert heights[0] < heights[1] < heights[2] < 15


def test_probabilities(ecg):
    probabilities = dict(zip(LABEL_NAMES, (0.9, 0.002, 0.3, 0.4, 0.5, 0.6), strict=True))
    figure = plot_ecg(ecg, 400, probabilities=probabilities, thresholds=[0.5] * 6)
    panel = figure.axes[1]
    bold = {text.get_text() for text in panel.texts if text.get_weight() == "bold"} & set(LABEL_NAMES)
    assert bold == {"1dAVb", "AF", "ST"}  # at the threshold is above it
    assert {"90 %", "< 1 %"} <= set(texts_of(figure))
    by_name = plot_ecg(ecg, 400, probabilities=probabilities, thresholds=dict.fromkeys(LABEL_NAMES, 0.5))
    assert texts_of(by_name) == texts_of(figure)


def test_given_figure(ecg):
    figure = Figure()
    assert plot_ecg(ecg, 400, figure=figure) is figure
    plot_ecg(ecg, 400, figure=figure)
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rhythm_lead": "V9"}, "rhythm_lead must be one of"),
        ({"start_s": 10}, "start_s must lie within the 10 s"),
        ({"start_s": -1}, "start_s"),
        ({"lead_names": LEAD_NAMES[:11]}, r"shape \(11, samples\): found \(12, 4000\)"),
    ],
)
def test_refused(ecg, kwargs, message):
    with pytest.raises(ValueError, match=message):
        plot_ecg(ecg, 400, **kwargs)


def test_real_recording_fits_on_the_paper(sample_data, tmp_path):
    record = read_ecg(sample_data / "code15_sample/exams_part11.hdf5", exam_id=438277)
    standard = EcgFeatureExtractor().standardize(record.signal, 400, record.lead_names, record.unit)
    figure = plot_ecg(standard.signal, 400, title=record.name)
    top = figure.axes[0].get_ylim()[1]
    assert all(0 < y.min() and y.max() < top for _, y in traces_of(figure))
    figure.savefig(tmp_path / "ecg.png")
    assert (tmp_path / "ecg.png").stat().st_size > 20_000


def marks_of(figure, wave):
    """x and middle (mm) of the marks of one wave, in the order in which they were drawn."""
    colour = to_rgba(WAVE_COLOURS[wave])
    lines = [one for one in figure.axes[0].collections if isinstance(one, LineCollection)]
    drawn = [one for one in lines if tuple(one.get_colors()[0]) == colour]
    return np.array([segment.mean(axis=0) for one in drawn for segment in one.get_segments()])


def test_waves_are_marked_on_the_trace(ecg):
    marks_s = np.full((2, 12, 3, 3), np.nan)
    marks_s[0, 1, 1] = [0.5, 0.55, 0.6]  # QRS of lead II: in its column, and in the strip
    marks_s[1, 1, 1] = [5.0, 5.05, 5.1]  # in the strip alone
    marks_s[:, 3, 2] = [[3.0, 3.1, 3.2], [9.0, 9.1, 9.2]]  # T of aVR, whose column begins at 2.5 s
    measurements = EcgMeasurements(LEAD_NAMES, np.ones(12, bool), marks_s=marks_s)
    plain, figure = plot_ecg(ecg, 400), plot_ecg(ecg, 400, measurements=measurements)
    assert marks_of(figure, "P").size == 0 and marks_of(plain, "QRS").size == 0
    qrs, t_wave = marks_of(figure, "QRS"), marks_of(figure, "T")
    np.testing.assert_allclose(qrs[:, 0] - 15, 25 * np.array([0.5, 0.6, 0.5, 0.6, 5.0, 5.1]))
    np.testing.assert_allclose(t_wave[:, 0] - 15, 25 * np.array([3.0, 3.2]))
    x, y = traces_of(figure)[-1]
    np.testing.assert_allclose(qrs[2:, 1], np.interp(qrs[2:, 0], x, y))
    assert {*WAVE_COLOURS} <= set(texts_of(figure)) and not {*WAVE_COLOURS} & set(texts_of(plain))
    assert plot_ecg(ecg[:1], 400, lead_names=["II"], measurements=EcgMeasurements(("V1",), np.ones(1, bool)))
