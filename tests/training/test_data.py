import numpy as np
import pytest
import torch
from accelerate import PartialState
from datasets import Dataset, List, Value, concatenate_datasets

from data_scripts.tables.schema import ExamSchema, load_exam_table, text_features
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.labels_ecgclip import Label
from modeling_ecgclip.signal_ecgclip import INDEPENDENT_LEADS, SignalSpec
from training import data
from training.data import (
    EmbeddedSplit,
    ExamSplit,
    ExamTable,
    StepPlan,
    TextEmbeddings,
    fraction_of_patients,
    hold_recordings,
    microvolts_per_unit,
    ordered_batches,
    training_batches,
    usable_splits,
)


CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def train(exam_table):
    return load_exam_table(exam_table)["train"]


@pytest.fixture(scope="module")
def text():
    rows = {"report_id": [4, 0, 1, 3], "report": list("abcd"), "text_embeds": np.eye(4, 3, dtype=np.float32)}
    return TextEmbeddings(Dataset.from_dict(rows, features=text_features(3)))


def test_batches_equal_the_table_row_by_row(train):
    split = ExamSplit(train, np.array([5, 80, 17, 3]))
    batch = split.__getitems__([2, 0, 3])
    for place, row in enumerate((17, 5, 3)):
        assert batch["ecg"][place].flatten().tolist() == train[row]["ecg"]
        assert batch["labels"][place].tolist() == list(train[row]["labels"].values())
    assert batch["ecg"].dtype == torch.int16
    assert split.exam_ids.tolist() == ["train-5", "train-80", "train-17", "train-3"]


def test_a_split_knows_ages_and_sexes_and_which_are_unknown(train):
    rows = train.select(range(3)).flatten_indices().remove_columns(["age", "sex"])
    rows = rows.add_column("age", [30.0, None, 70.5]).add_column("sex", ["male", "female", None])
    split = ExamSplit(rows, np.array([2, 0, 1]))
    for known in (split, EmbeddedSplit(split, torch.zeros(3, 1))):
        np.testing.assert_array_equal(known.ages, [70.5, 30, np.nan])
        assert known.sexes.tolist() == [None, "male", "female"]


def table_of(schema, n_exams=5):
    """A split of zeros, whose first sample counts the exams, of any signal, labels and targets."""
    ecg = np.zeros((n_exams, schema.ecg_length), dtype=np.int16)
    ecg[:, 0] = np.arange(n_exams)
    columns = {
        **{name: [None] * n_exams for name in ("source", "age", "sex", "report")},
        "exam_id": [f"e{i}" for i in range(n_exams)],
        "patient_id": [f"p{i}" for i in range(n_exams)],
        "ecg": list(ecg),
        "n_samples": [schema.signal.n_samples] * n_exams,
        "sampling_rate": [schema.signal.sampling_rate] * n_exams,
        "lead_names": [list(schema.signal.lead_names)] * n_exams,
        "labels": [{name: (i + k) % 3 - 1 for k, name in enumerate(schema.label_names)} for i in range(n_exams)],
        "report_id": [-1] * n_exams,
        "quality": [[]] * n_exams,
    }
    return Dataset.from_dict(columns, features=schema.features)


@pytest.mark.parametrize("leads", [("II",), INDEPENDENT_LEADS])
def test_any_signal_and_labels_are_read(leads):
    schema = ExamSchema(SignalSpec(leads, 500, 50), (Label("NORM"), Label("MI")))
    split = ExamSplit(table_of(schema), np.array([4, 0]))
    assert split.shape == (len(leads), 50)
    batch = split.__getitems__([1, 0])
    assert batch["ecg"].shape == (2, len(leads), 50) and batch["ecg"][:, 0, 0].tolist() == [0, 4]
    assert batch["labels"].tolist() == [[-1, 0], [0, 1]]
    split.hold_on(torch.device("cpu"))
    assert torch.equal(split.__getitems__([1, 0])["ecg"], batch["ecg"])


@pytest.mark.parametrize("older", [False, True])
def test_a_split_without_rows_has_the_shape_of_its_columns(older):
    schema = ExamSchema(SignalSpec(("II", "V2"), 500, 50))
    rows = table_of(schema, 0)
    if older:  # 12 x 4096 and a list of six labels
        rows = table_of(ExamSchema(), 0).remove_columns(["sampling_rate", "lead_names", "labels"])
        rows = rows.add_column("labels", [], feature=List(Value("int8"), length=6))
    split = ExamSplit(rows)
    assert len(split) == 0 and split.labels.shape == (0, 6)
    assert split.shape == ((12, 4096) if older else (2, 50))


def test_tables_in_several_pieces_read_the_same(train):
    pieces = concatenate_datasets([train.select(range(40)), train.select(range(40, 90))])
    assert pieces.data.column("ecg").num_chunks > 1
    rows = np.random.default_rng(0).permutation(90)
    assert torch.equal(ExamSplit(pieces).ecg(rows), ExamSplit(train).ecg(rows))


def test_index_mappings_are_refused(train):
    with pytest.raises(ValueError, match="flatten_indices"):
        ExamSplit(train.shuffle(seed=0))


def test_text_embeddings_are_found_by_report_id(text):
    np.testing.assert_array_equal(text[np.array([0, 4, 3])], np.eye(4, 3, dtype=np.float32)[[1, 0, 3]])
    text.check(np.array([4, 0]), "train")
    for unknown in (2, 9, -1):
        with pytest.raises(ValueError, match=f"1 exams of split train.*first {unknown}"):
            text.check(np.array([4, unknown]), "train")


def test_plan_covers_an_epoch_once_in_another_order_each_time():
    plan = StepPlan(n_exams=20, batch_size=3, accumulation=2, seed=1)
    assert (plan.global_batch_size, plan.steps_per_epoch, plan.left_out_per_epoch) == (6, 3, 2)
    epochs = [sum(plan.batches(0, start, start + 3), []) for start in (0, 3)]
    assert all(len(set(epoch)) == 18 for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(("n_exams", "accumulation"), [(23, 1), (24, 1), (21, 2), (5, 1)])
def test_rows_of_a_step_are_those_that_each_process_sees(n_exams, accumulation):
    plan = StepPlan(n_exams, batch_size=4, accumulation=accumulation, world_size=2)
    for step in range(2 * plan.steps_per_epoch):
        seen = [sum(map(len, plan.batches(rank, step, step + 1))) for rank in range(2)]
        assert plan.rows(step) == seen


def test_last_step_is_used_from_half_full_on():
    assert StepPlan(n_exams=14, batch_size=4).steps_per_epoch == 4
    assert StepPlan(n_exams=13, batch_size=4).left_out_per_epoch == 1
    assert StepPlan(n_exams=5, batch_size=64).steps_per_epoch == 1
    with pytest.raises(ValueError, match="too few"):
        StepPlan(n_exams=3, batch_size=4, world_size=2)


def test_processes_together_see_what_one_sees():
    one = StepPlan(n_exams=52, batch_size=8, seed=3)
    two = StepPlan(n_exams=52, batch_size=4, world_size=2, seed=3)
    joined = [a + b for a, b in zip(two.batches(0, 0, 12), two.batches(1, 0, 12), strict=True)]
    assert joined == list(one.batches(0, 0, 12))


def test_a_plan_started_later_goes_on_as_if_it_had_never_stopped():
    plan = StepPlan(n_exams=50, batch_size=8, accumulation=2, seed=3)
    assert list(plan.batches(0, 0, 9))[2 * 5 :] == list(plan.batches(0, 5, 9))


@pytest.mark.parametrize("workers", [0, 2])
def test_training_batches_follow_the_plan(train, workers):
    plan = StepPlan(len(train), batch_size=16, seed=0)
    split, cpu = ExamSplit(train), torch.device("cpu")
    found = list(training_batches(split, plan, 0, 3, 8, workers, cpu))
    for batch, indices in zip(found, plan.batches(0, 3, 8), strict=True):
        assert torch.equal(batch["ecg"], split.ecg(np.array(indices)))


def test_ordered_batches_of_all_ranks_are_the_whole(train):
    embeds = torch.arange(90.0)[:, None]
    split = EmbeddedSplit(ExamSplit(train), embeds)
    cpu = torch.device("cpu")
    parts = [batch["embeds"] for rank in range(4) for batch in ordered_batches(split, 7, rank, 4, 0, cpu)]
    assert torch.equal(torch.cat(parts), embeds)


def test_fractions_are_nested_and_keep_patients_whole():
    patients = np.array([f"p{i // 3}" for i in np.random.default_rng(0).permutation(3000)])
    small, large = (set(fraction_of_patients(patients, share, seed=0)) for share in (0.05, 0.368))
    assert small < large
    assert 150 <= len(small) <= 153
    assert {patients[i] for i in small}.isdisjoint({patients[i] for i in set(range(3000)) - small})
    assert set(fraction_of_patients(patients, 0.05, seed=1)) != small
    assert len(fraction_of_patients(patients, 1.0, seed=0)) == 3000
    assert len(fraction_of_patients(patients, 1e-9, seed=0)) == 3


def test_unit_conversion_knows_scale_and_refuses_filters():
    signal = SignalSpec()
    assert microvolts_per_unit(EcgFeatureExtractor(), signal) == 1000
    assert microvolts_per_unit(EcgFeatureExtractor(do_scale=True, scale=2.0), signal) == 500
    with pytest.raises(ValueError, match="without filters"):
        microvolts_per_unit(EcgFeatureExtractor(highpass_hz=0.5), signal)
    with pytest.raises(ValueError, match="the exam table has .* 5000 samples at 500 Hz; found the feature extractor"):
        microvolts_per_unit(EcgFeatureExtractor(), SignalSpec(sampling_rate=500, n_samples=5000))


@pytest.fixture
def table(exam_table):
    return ExamTable.load(str(exam_table))


def test_rows_from_the_hub_are_compared_as_they_arrived(table, monkeypatch):
    monkeypatch.setattr(data, "load_exam_table", lambda *_, **__: table.splits)
    monkeypatch.setattr(data, "conversion_record", lambda *_: {**(table.record or {}), "digest": "of other rows"})
    with pytest.raises(ValueError, match="exam table user/exams: expected rows with the digest of other rows"):
        ExamTable.load("user/exams")
    assert ExamTable.load("user/exams", verify=False).splits is table.splits


def some(table, text=None):
    """A part of the training split in an order of its own; every exam has one of the texts."""
    split = ExamSplit(table.splits["train"], np.random.default_rng(0).permutation(90)[:50], text)
    split.report_ids = np.array([0, 1, 3, 4])[np.arange(50) % 4]
    return split


def test_bits_and_order_are_the_same_from_map_threads_cache_and_shared_table(table, text):
    splits = {name: some(table, text) for name in ("map", "threads", "cache", "shared")}
    splits["cache"].hold_on(CPU)
    whole = splits["shared"].recordings.on_device(CPU)
    assert whole.shape == (90, 12, 4096) and splits["cache"]._held.recordings.shape == (50, 12, 4096)
    splits["shared"].hold_on(CPU, whole)
    assert [split.on_device for split in splits.values()] == [False, False, True, True]
    plan = StepPlan(50, batch_size=16, accumulation=2, seed=0)
    workers = {"map": 0, "threads": 3, "cache": 3, "shared": 0}
    for read in (
        lambda name: training_batches(splits[name], plan, 0, 1, 6, workers[name], CPU),
        lambda name: ordered_batches(splits[name], 7, 1, 2, workers[name], CPU),
    ):
        batches = zip(*map(read, splits), strict=True)
        count = 0
        for first, *others in batches:
            count += 1
            assert first.keys() == {"ecg", "labels", "n_samples", "report_ids", "text_embeds"}
            for other in others:
                assert first.keys() == other.keys()
                assert all(torch.equal(first[name], other[name]) for name in first)
                assert all(first[name].dtype == other[name].dtype for name in first)
        assert count in (10, 4)


def test_what_a_table_holds_serves_all_splits_but_where_the_cache_is_off(table):
    parts = {
        name: ExamSplit(table.splits["validation"], np.arange(k, 30, 2))
        for k, name in ((0, "train"), (1, "validation"))
    }
    parts["test"] = ExamSplit(table.splits["test"])
    table.held.update({name: ExamSplit(rows).recordings.on_device(CPU) for name, rows in table.splits.items()})
    assert hold_recordings("off", table, parts, CPU) == "read from the memory map, as asked for"
    assert not any(split.on_device for split in parts.values())
    expected = {name: split.__getitems__([3, 1])["ecg"] for name, split in parts.items()}
    assert hold_recordings("auto", table, parts, CPU) == "held on cpu, for all runs on this table"
    for name, split in parts.items():
        assert split.on_device and torch.equal(split.__getitems__([3, 1])["ecg"], expected[name])
        assert split._held.recordings is table.held["test" if name == "test" else "validation"]


def test_what_is_read_once_is_held_only_where_that_is_asked_for(table):
    splits = {name: ExamSplit(rows) for name, rows in table.splits.items()}
    assert "each is read once" in hold_recordings("auto", table, splits, CPU, each_read_once=True)
    assert "on a CPU" in hold_recordings("auto", table, splits, CPU)
    assert not any(split.on_device for split in splits.values())
    assert hold_recordings("on", table, splits, CPU, each_read_once=True).startswith(
        "held on cpu: 0.0 GiB of recordings"
    )
    assert [split.on_device for split in splits.values()] == [True, True, False]  # test is read once in any run


def test_training_needs_exams_whatever_is_allowed_and_other_splits_are_named(train):
    PartialState(cpu=True)  # of the logger
    splits = {name: ExamSplit(train, np.arange(n)) for name, n in (("train", 4), ("validation", 0), ("test", 2))}

    def usable(allow_empty, least=1):
        return usable_splits(splits, lambda split: len(split) >= least, "a report", "add some", allow_empty)

    assert list(usable(allow_empty=True)) == ["train", "test"]
    message = "split validation: none of 0 exams has a report: add some, .*--allow_empty_splits .the last step is kept"
    with pytest.raises(ValueError, match=message):
        usable(allow_empty=False)
    with pytest.raises(ValueError, match="split train: none of 4 exams has a report, and training needs some: add"):
        usable(allow_empty=True, least=5)
