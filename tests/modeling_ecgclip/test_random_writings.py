"""Known ECGs written in two thousand random ways: each is read as it was, or refused, and never as another one."""

from collections import Counter

import numpy as np
import pytest
import wfdb

from modeling_ecgclip.configuration_ecgclip import LEAD_NAMES
from modeling_ecgclip.leads_ecgclip import UNITS_PER_MV, canonical_lead_name, canonical_unit
from modeling_ecgclip.reading_ecgclip import read_ecg


SEED = 20260503
N_WRITINGS = 2000
RATES = (100, 128, 250, 257, 360, 400, 500, 512, 977, 1000)
UNIT_SPELLINGS = {
    "mV": ("mV", "mv", "millivolt"),
    "uV": ("uV", "\u00b5V", "\u03bcV", "microvolts"),
    "V": ("V", "volt"),
}
LEAD_SPELLINGS = ("{}", "Lead {}", "ECG {}", "MDC_ECG_LEAD_{}", " {} ", "{}+")
# Writings that are refused by design, because they may mean two things.
MAY_BE_REFUSED = ("may be a decimal sign or part thousands",)


def choose(generator, *options):
    return options[generator.integers(len(options))]


class Truth:
    """An ECG, and what a file may say of it; what it does not, the caller does."""

    def __init__(self, generator):
        self.rate = int(choose(generator, *RATES))
        self.unit = choose(generator, *UNITS_PER_MV)
        order = generator.permutation(12) if generator.random() < 0.5 else np.arange(12)
        self.leads = [LEAD_NAMES[i] for i in order]
        n = int(generator.integers(60, 200))
        beats = np.exp(-(((np.arange(n) / self.rate) % 0.3 - 0.1) ** 2) / 2e-4)
        wave = beats * generator.normal(1, 0.5, (12, 1)) + generator.normal(0, 0.1, (12, n))
        self.microvolts = np.round(1000 * wave)  # whole, so that every unit writes them exactly
        self.signal = self.microvolts / 1000 * UNITS_PER_MV[self.unit]  # in its unit
        self.stated = {"sampling_rate": self.rate, "unit": self.unit, "lead_names": self.leads}

    def spelled_unit(self, generator):
        return choose(generator, *UNIT_SPELLINGS[self.unit])

    def spelled_leads(self, generator):
        spelling = choose(generator, *LEAD_SPELLINGS)
        return [spelling.format(choose(generator, name, name.upper(), name.lower())) for name in self.leads]

    def assert_read(self, record, where):
        assert record.sampling_rate == self.rate, where
        per_mv = UNITS_PER_MV[canonical_unit(record.unit)]
        signal = record.signal if len(record.lead_names) == record.signal.shape[0] else record.signal.T
        rows = [list(map(canonical_lead_name, record.lead_names)).index(name) for name in self.leads]
        np.testing.assert_allclose(
            1000.0 * signal[rows].astype(float) / per_mv, self.microvolts, atol=1e-3, err_msg=where
        )


def write_npy(truth, folder, generator):
    dtype = choose(generator, np.float32, np.float64, np.int16, np.int32) if truth.unit == "uV" else np.float64
    signal = (truth.signal if np.issubdtype(dtype, np.floating) else np.round(truth.signal)).astype(dtype)
    np.save(folder / "ecg.npy", signal.T if generator.random() < 0.5 else signal)
    return folder / "ecg.npy", truth.stated


def write_npz(truth, folder, generator):
    keys = {
        "sampling_rate": ("fs", "sfreq", "sampling_rate", "sample_rate", "rate", "Hz", "sampling_frequency"),
        "unit": ("unit", "units", "ecg_unit"),
        "lead_names": ("leads", "lead_names", "channels", "ch_names", "sig_name"),
    }
    values = {
        "sampling_rate": choose(generator, truth.rate, float(truth.rate), np.array([truth.rate])),
        "unit": choose(generator, truth.spelled_unit(generator), [truth.spelled_unit(generator)] * 12),
        "lead_names": truth.spelled_leads(generator),
    }
    told = {name for name in keys if generator.random() < 0.7}
    members = {choose(generator, *keys[name]): values[name] for name in told}
    members[choose(generator, "ecg", "signal", "data", "x", "p_signal")] = truth.signal
    choose(generator, np.savez, np.savez_compressed)(folder / "ecg.npz", **members)
    return folder / "ecg.npz", {name: value for name, value in truth.stated.items() if name not in told}


def number_writer(truth, generator, separator, decimal):
    """How numbers are printed."""
    if truth.unit == "uV" and generator.random() < 0.3:
        mark = choose(generator, ",.".replace(decimal, ""), "'", "\u202f") if separator not in ", " else "'"
        return lambda value: f"{round(value):,}".replace(",", mark)
    digits = {"mV": 3, "uV": int(generator.integers(0, 3)), "V": 6}[truth.unit]
    form = choose(
        generator, f"{{:.{digits}f}}", f"{{:+.{digits}f}}", "{:.9g}", f"{{:10.{digits}f}}".replace("10", "1")
    )
    return lambda value: form.format(value).replace(".", decimal)


def write_csv(truth, folder, generator):
    separator = choose(generator, ",", ",", ";", "\t", "|", " ")
    decimal = "." if separator == "," else choose(generator, ".", ",")
    write = number_writer(truth, generator, separator, decimal)
    stated = dict(truth.stated)
    names, columns = None, [[write(value) for value in lead] for lead in truth.signal.tolist()]
    if generator.random() < 0.8:
        names = truth.spelled_leads(generator) if separator != " " else list(truth.leads)
        del stated["lead_names"]
        if generator.random() < 0.4 and separator != " ":
            form = choose(generator, "{} ({})", "{} [{}]", "{}_{}", "{}/{}")
            names = [form.format(name.strip(), truth.spelled_unit(generator)) for name in names]
            del stated["unit"]
    n = len(columns[0])
    if names and generator.random() < 0.5:
        unit, per_second = choose(generator, ("s", 1), ("ms", 1000), ("us", 1_000_000))
        form = choose(generator, "time_{}", "Time [{}]", "t_{}", "Time ({})") if separator != " " else "time_{}"
        digits = {"s": choose(generator, 4, 6), "ms": choose(generator, 1, 3), "us": 1}[unit]
        names.insert(0, form.format(unit))
        columns.insert(0, [f"{i / truth.rate * per_second:.{digits}f}".replace(".", decimal) for i in range(n)])
        del stated["sampling_rate"]
    elif names and generator.random() < 0.5 and separator != " ":
        names.insert(0, choose(generator, "", "Unnamed: 0", "index", "sample"))
        columns.insert(0, [str(i) for i in range(n)])
    return finish_csv(folder, generator, separator, names, columns, stated, truth)


def finish_csv(folder, generator, separator, names, columns, stated, truth):
    rows = ([names] if names else []) + [list(row) for row in zip(*columns, strict=True)]
    quote = '"' if separator != " " and generator.random() < 0.2 else ""
    lines = [separator.join(f"{quote}{cell}{quote}" for cell in row) for row in rows]
    if separator != " " and generator.random() < 0.2:
        lines = [line + separator for line in lines]
    if "sampling_rate" in stated and generator.random() < 0.3:
        lines = [choose(generator, "# fs = {}", "Sampling rate: {} Hz").format(truth.rate), *lines]
        del stated["sampling_rate"]
    if generator.random() < 0.1 and separator == ";":
        lines = ["sep=;", *lines]
    end = choose(generator, "\n", "\r\n", "\r")
    content = end.join(lines) + choose(generator, "", end, 3 * end)
    (folder / "ecg.csv").write_bytes(content.encode(choose(generator, "utf-8", "utf-8-sig", "utf-16")))
    return folder / "ecg.csv", stated


def write_wfdb(truth, folder, generator):
    steps_per_unit = {"mV": 1000.0, "uV": 1.0, "V": 1e6}[truth.unit]
    baseline = int(generator.integers(-20, 20))
    steps = truth.microvolts.T.astype(int) + baseline
    fmt = choose(generator, "16", "24", "32") if np.abs(steps).max() > 2000 else choose(generator, "16", "24", "212")
    cuts = sorted({0, len(steps), *generator.integers(1, len(steps), generator.integers(3)).tolist()})
    for i, (start, stop) in enumerate(zip(cuts, cuts[1:], strict=False)):
        wfdb.wrsamp(
            f"r_{i}", truth.rate, [truth.unit] * 12, truth.leads, d_signal=steps[start:stop], fmt=[fmt] * 12,
            adc_gain=[steps_per_unit] * 12, baseline=[baseline] * 12, write_dir=str(folder),
        )  # fmt: skip
    if len(cuts) == 2:
        return folder / "r_0", {}
    segments = [f"r_{i} {stop - start}" for i, (start, stop) in enumerate(zip(cuts, cuts[1:], strict=False))]
    first = f"r/{len(segments)} 12 {truth.rate} {len(steps)} {choose(generator, '', '2006', '10:00:00 1/2/2003')}"
    (folder / "r.hea").write_text("\n".join([first, *segments]))
    return folder / "r.hea", {}


WRITERS = (write_npy, write_npz, write_csv, write_csv, write_csv, write_wfdb)


def test_random_writings(tmp_path):
    generator = np.random.default_rng(SEED)
    outcomes = Counter()
    for i in range(N_WRITINGS):
        truth = Truth(generator)
        writer = choose(generator, *WRITERS)
        folder = tmp_path / str(i)
        folder.mkdir()
        path, stated = writer(truth, folder, generator)
        try:
            record = read_ecg(path, **stated)
        except ValueError as error:
            assert any(reason in str(error) for reason in MAY_BE_REFUSED), f"{path}: {error}"
            outcomes["refused"] += 1
            continue
        truth.assert_read(record, str(path))
        outcomes[writer.__name__] += 1
    assert outcomes["refused"] <= 0.05 * N_WRITINGS, outcomes
    assert len(outcomes) >= 4 and min(outcomes[writer.__name__] for writer in WRITERS) > 0.05 * N_WRITINGS


@pytest.mark.parametrize("writer", set(WRITERS), ids=lambda writer: writer.__name__)
def test_a_contradiction_is_refused_in_every_writing(tmp_path, writer):
    """What the file states, the caller may not state otherwise."""
    generator = np.random.default_rng(SEED)
    refused = Counter()
    for i in range(60):
        truth = Truth(generator)
        folder = tmp_path / str(i)
        folder.mkdir()
        path, stated = writer(truth, folder, generator)
        others = {
            "sampling_rate": truth.rate + 1,
            "unit": "uV" if truth.unit != "uV" else "mV",
            "lead_names": truth.leads[::-1],
        }
        for name in set(others) - set(stated):
            with pytest.raises(ValueError, match="contradicts it|may be a decimal sign"):
                read_ecg(path, **{**stated, name: others[name]})
            refused[name] += 1
    assert writer is write_npy or min(refused[name] for name in ("sampling_rate", "unit", "lead_names")) > 5
