import contextlib
import json

import h5py
import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, pipeline
from transformers.pipelines.pt_utils import KeyDataset
from transformers.utils import logging

from modeling_ecgclip import (
    LABEL_NAMES,
    LEAD_NAMES,
    EcgClassificationPipeline,
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    EcgMeasurementPipeline,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    measure_ecg,
    read_ecg,
    save_for_hub,
)
from tests.simulated import simulated


STATED = {"sampling_rate": 400, "unit": "uV"}


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny")).eval()
    # Spread the random head's probabilities, so that a mix-up between ECGs shows.
    torch.nn.init.normal_(model.classifier.weight, std=0.01)
    return model


@pytest.fixture(scope="module")
def clip(text_model):
    torch.manual_seed(0)
    return EcgClipModel.from_ecg_text_pretrained(EcgResNetConfig.from_preset("tiny"), str(text_model)).eval()


@pytest.fixture(scope="module")
def processor(text_model):
    return EcgClipProcessor(EcgFeatureExtractor(), AutoTokenizer.from_pretrained(text_model))


@pytest.fixture
def classify(classifier):
    return pipeline("ecg-classification", model=classifier, feature_extractor=EcgFeatureExtractor())


@pytest.fixture
def zero_shot(clip, processor):
    return pipeline("zero-shot-ecg-classification", model=clip, processor=processor)


@pytest.fixture
def ecgs():
    """Five simulated ECGs of different length and amplitude, whole microvolts at 400 Hz."""
    return [np.rint(simulated(i, n) * 500 * (i + 1)).astype(int) for i, n in enumerate((4096, 3000, 2934, 4096, 2100))]


def scores(results):
    return {result["label"]: result["score"] for result in results}


class TestClassification:
    def test_result(self, classify, classifier, ecgs):
        results = classify(ecgs[1], sampling_rate=400, unit="uV")
        assert [result["score"] for result in results] == sorted((r["score"] for r in results), reverse=True)
        assert all(set(result) == {"label", "score"} for result in results)
        inputs = EcgFeatureExtractor()(ecgs[1] / 1000, sampling_rate=400, unit="mV", return_tensors="pt")
        with torch.no_grad():
            expected = classifier(**inputs).logits[0].sigmoid().tolist()
        assert scores(results) == pytest.approx(dict(zip(LABEL_NAMES, expected, strict=True)), abs=1e-6)

    def test_positive_where_there_are_thresholds(self, ecgs):
        model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny", thresholds=[0.0, 1.0] * 3)).eval()
        results = EcgClassificationPipeline(model, feature_extractor=EcgFeatureExtractor())(ecgs[0], **STATED)
        positive = {result["label"]: result["positive"] for result in results}
        assert positive == dict(zip(LABEL_NAMES, [True, False] * 3, strict=True))

    def test_one_label_of_several(self, ecgs):
        config = EcgResNetConfig.from_preset("tiny", problem_type="single_label_classification")
        pipe = EcgClassificationPipeline(
            EcgResNetForSignalClassification(config).eval(), feature_extractor=EcgFeatureExtractor()
        )
        assert sum(scores(pipe(ecgs[0], **STATED)).values()) == pytest.approx(1)

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
    def test_batches_equal_one_by_one(self, classify, ecgs, batch_size):
        alone = [scores(classify(ecg, sampling_rate=400, unit="uV")) for ecg in ecgs]
        together = classify(ecgs, sampling_rate=400, unit="uV", batch_size=batch_size)
        assert [scores(results) for results in together] == [pytest.approx(one, abs=1e-5) for one in alone]
        assert len({round(one["AF"], 4) for one in alone}) == 5

    def test_array_tuple_and_generator(self, classify, ecgs):
        pair = [ecgs[0], ecgs[3]]
        expected = classify(pair, **STATED)
        assert classify(tuple(pair), **STATED) == expected
        assert classify(np.stack(pair), **STATED) == expected
        assert classify(torch.from_numpy(np.stack(pair)), **STATED) == expected
        assert list(classify((ecg for ecg in pair), **STATED)) == expected
        assert classify([]) == []

    def test_top_k(self, classify, ecgs):
        assert classify(ecgs[0], **STATED, top_k=2) == classify(ecgs[0], **STATED)[:2]

    def test_missing_leads_on_request(self, classify, ecgs):
        source = {"ecg": ecgs[0][:11], "lead_names": LEAD_NAMES[:11], "sampling_rate": 400, "unit": "uV"}
        with pytest.raises(ValueError, match="missing V6"):
            classify(source)
        assert len(classify(source, allow_missing_leads=True)) == 6
        mixed = classify([source, ecgs[1]], allow_missing_leads=True, **STATED, batch_size=2)
        assert scores(mixed[0]) == pytest.approx(scores(classify(source, allow_missing_leads=True)), abs=1e-5)

    def test_nan_on_request(self, classify, ecgs):
        broken = ecgs[0] / 1000
        broken[4, 7] = np.nan
        with pytest.raises(ValueError, match="aVL: 1 of 4096"):
            classify(broken, sampling_rate=400, unit="mV")
        results = classify(broken, sampling_rate=400, unit="mV", repair_nan=True)
        assert len(results) == 6
        assert {one["quality"][0]["code"] for one in results} == {"nan_repaired:aVL:0.0%"}

    def test_defaults_given_to_the_constructor(self, classifier, ecgs, classify):
        pipe = pipeline(
            "ecg-classification",
            model=classifier,
            feature_extractor=EcgFeatureExtractor(),
            unit="uV",
            sampling_rate=500,
            top_k=1,
        )
        assert pipe(ecgs[0]) == classify(ecgs[0], unit="uV", sampling_rate=500)[:1]

    def test_bfloat16(self, ecgs):
        model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny")).eval().to(torch.bfloat16)
        pipe = EcgClassificationPipeline(model, feature_extractor=EcgFeatureExtractor())
        assert all(0 < score < 1 for score in scores(pipe(ecgs[0], **STATED)).values())

    def test_plot(self, classify, ecgs):
        figure = classify.plot({"ecg": ecgs[2], "name": "bed 4"}, unit="uV", sampling_rate=400)
        texts = {text.get_text() for axes in figure.axes for text in axes.texts}
        assert {"bed 4", *LABEL_NAMES} <= texts

    def test_refused(self, classify, classifier, ecgs):
        with pytest.raises(TypeError, match="no argument named sampling_rte"):
            classify(ecgs[0], sampling_rte=500)
        with pytest.raises(ValueError, match="needs a feature extractor"):
            EcgClassificationPipeline(classifier)
        with pytest.raises(FileNotFoundError, match="absent.npy"):
            classify("absent.npy")


class TestMeasurement:
    @pytest.fixture
    def measure(self, classifier):
        return EcgMeasurementPipeline(classifier, feature_extractor=EcgFeatureExtractor())

    def test_result_is_that_of_measure_ecg(self, measure, ecgs):
        found = measure(ecgs[0], **STATED)
        assert set(found) == {"measurements", "quality"}
        assert found["measurements"] == measure_ecg(ecgs[0] / 1000, 400).to_dict()
        assert found["measurements"]["heart_rate_bpm"] is not None and found["quality"] == []
        assert json.loads(json.dumps(found, allow_nan=False)) == found

    def test_at_the_rate_of_the_recording(self, measure, ecgs):
        """What the model reads is resampled to 400 Hz; what is measured is not."""
        found = measure(ecgs[0] / 1000, sampling_rate=500, unit="mV")
        assert found["measurements"] == measure_ecg(ecgs[0] / 1000, 500).to_dict()

    @pytest.mark.parametrize("batch_size", [1, 3])
    def test_several(self, measure, ecgs, batch_size):
        together = measure(ecgs, **STATED, batch_size=batch_size)
        assert together == [measure(ecg, **STATED) for ecg in ecgs]
        assert len({one["measurements"]["heart_rate_bpm"] for one in together}) == 5

    def test_missing_leads_are_left_out(self, measure, ecgs):
        source = {"ecg": ecgs[0][[1, 6, 7]], "lead_names": ["II", "V1", "V2"], "sampling_rate": 400, "unit": "uV"}
        for given in ({}, {"allow_missing_leads": False}):
            found = measure(source, **given)["measurements"]
            assert found["leads_read"] == ["II", "V1", "V2"] == list(found["leads"])
            assert found["qrs_ms"] is not None
            assert found["qrs_axis_deg"] is None and "leads I and II" in found["reasons"]["qrs_axis_deg"]

    def test_all_leads_of_the_recording_whatever_the_model_reads(self, ecgs):
        config = EcgResNetConfig.from_preset("tiny", lead_names=("II",))
        extractor = EcgFeatureExtractor.for_model(config)
        model = EcgResNetForSignalClassification(config).eval()
        found = EcgMeasurementPipeline(model, feature_extractor=extractor)(ecgs[0], **STATED)
        assert found["measurements"]["leads_read"] == list(LEAD_NAMES)

    def test_quality(self, measure):
        noise = np.random.default_rng(0).normal(0, 0.3, (12, 4000))
        found = measure(noise, sampling_rate=400, unit="mV", lead_names=LEAD_NAMES)
        assert "not_an_ecg" in [one["code"] for one in found["quality"]]
        with pytest.raises(ValueError, match="aVL: 1 of 4000"):
            measure(np.where(np.arange(48000).reshape(12, -1) == 16500, np.nan, noise), sampling_rate=400, unit="mV")

    def test_beside_labels(self, classify, measure, ecgs):
        plain = classify(ecgs, **STATED, batch_size=2)
        both = classify(ecgs, **STATED, batch_size=2, return_measurements=True)
        assert [one["labels"] for one in both] == plain
        assert [one["measurements"] for one in both] == [measure(ecg, **STATED)["measurements"] for ecg in ecgs]
        assert classify(ecgs[0], **STATED, return_measurements=False) == classify(ecgs[0], **STATED)
        assert len(classify(ecgs[0], **STATED, top_k=1, return_measurements=True)["labels"]) == 1

    def test_plot_of_a_classifier_that_measures(self, classifier, ecgs):
        settings = {"feature_extractor": EcgFeatureExtractor(), "return_measurements": True}
        pipe = EcgClassificationPipeline(classifier, **settings)
        assert set(pipe(ecgs[0], **STATED)) == {"labels", "measurements"}
        texts = {text.get_text() for axes in pipe.plot(ecgs[0], **STATED).axes for text in axes.texts}
        assert set(LABEL_NAMES) <= texts

    def test_refused(self, measure, ecgs):
        with pytest.raises(TypeError, match="EcgMeasurementPipeline takes no argument named top_k"):
            measure(ecgs[0], **STATED, top_k=1)


class TestSources:
    def test_every_form_of_one_ecg(self, classify, ecgs, tmp_path):
        """Array, .npy, .npz, .csv, HDF5 and exam-table row of the same ECG."""
        ecg = ecgs[2]
        np.save(tmp_path / "a.npy", ecg)
        np.savez(tmp_path / "a.npz", ecg=ecg, sampling_rate=400, unit="uV", lead_names=LEAD_NAMES)
        rows = [",".join(LEAD_NAMES), *(",".join(map(str, row)) for row in ecg.T)]
        (tmp_path / "a.csv").write_text("\n".join(rows))
        padded = np.pad(ecg, ((0, 0), (581, 581)))
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            file["exam_id"] = np.array([3, 9])
            file["tracings"] = np.stack([padded.T * 0, padded.T * 2 / 1000]).astype(np.float32)
        expected = scores(classify({"ecg": ecg, "unit": "uV", "sampling_rate": 400}))
        found = {
            "npy": classify(tmp_path / "a.npy", **STATED),
            "npz": classify(str(tmp_path / "a.npz")),
            "csv": classify(str(tmp_path / "a.csv"), **STATED),
            "hdf5": classify(str(tmp_path / "a.hdf5"), exam_id=9),
            "hdf5 in a dictionary": classify({"path": tmp_path / "a.hdf5", "exam_id": 9}),
            "several exams": classify(str(tmp_path / "a.hdf5"), exam_id=[9, 9])[1],
            "row": classify(
                {"exam_id": "9", "ecg": padded.astype(np.int16).reshape(-1), "n_samples": 2934, "age": 50}
            ),
        }
        for form, results in found.items():
            assert scores(results) == pytest.approx(expected, abs=1e-5), form
        with pytest.raises(ValueError, match="exam 3: the tracing is all zeros"):
            classify(str(tmp_path / "a.hdf5"), exam_id=[9, 3])

    def test_real_recordings_in_one_batch(self, classify, sample_data):
        record = str(sample_data / "ptbxl_sample/records500/00000/00001_hr")
        exam = {"path": sample_data / "code15_sample/exams_part11.hdf5", "exam_id": 438277}
        together = classify([record, exam], batch_size=2)
        assert scores(together[0]) == pytest.approx(scores(classify(record)), abs=1e-5)
        assert scores(together[1]) == pytest.approx(scores(classify(exam)), abs=1e-5)

    def test_rows_of_an_exam_table(self, classify, exam_table):
        from datasets import load_from_disk

        rows = load_from_disk(str(exam_table))["test"].select(range(4))
        results = classify(list(rows), batch_size=2)
        assert [scores(one) for one in results] == [pytest.approx(scores(classify(row)), abs=1e-5) for row in rows]


class TestSeveral:
    """What users of transformers and `datasets` give a pipeline, and which one of it failed."""

    @pytest.fixture
    def paths(self, ecgs, tmp_path):
        for i, ecg in enumerate(ecgs[:3]):
            np.savez(tmp_path / f"{i}.npz", ecg=ecg, lead_names=LEAD_NAMES, **STATED)
        return [str(tmp_path / f"{i}.npz") for i in range(3)]

    @pytest.mark.parametrize("batch_size", [1, 2])
    def test_datasets(self, classify, paths, batch_size):
        table = Dataset.from_dict({"path": paths})
        expected = classify(paths, batch_size=batch_size)
        assert classify(table["path"], batch_size=batch_size) == expected
        assert classify(table, batch_size=batch_size) == expected  # rows, each a dictionary with a path
        streamed = [
            KeyDataset(table, "path"),
            table.to_iterable_dataset(),
            table.to_iterable_dataset()["path"],
            map(str, paths),
        ]
        for inputs in streamed:
            results = classify(inputs, batch_size=batch_size)
            assert not isinstance(results, list) and list(results) == expected

    def test_lists_of_numbers(self, classify, ecgs):
        """As JSON and a column of a `datasets.Dataset` without a format have them; `read_ecg` takes them too."""
        expected = classify([ecgs[0], ecgs[3]], **STATED)
        lists = [ecgs[0].tolist(), ecgs[3].tolist()]
        assert classify(lists[0], **STATED) == expected[0] == classify(list(ecgs[0]), **STATED)
        assert classify(lists, **STATED) == expected
        table = Dataset.from_dict({"ecg": lists})
        assert classify(table["ecg"], **STATED) == expected
        assert list(classify(KeyDataset(table, "ecg"), **STATED)) == expected
        assert classify(KeyDataset(table.with_format("numpy"), "ecg")[0], **STATED) == expected[0]
        np.testing.assert_array_equal(read_ecg(lists[0]).signal, ecgs[0])

    def test_an_error_names_the_place_of_its_ecg(self, classify, zero_shot, paths, tmp_path):
        absent, place = [*paths, "absent.npz"], r"^inputs\[3\]: absent\.npz: no such file"
        for batch_size in (1, 2):
            with pytest.raises(FileNotFoundError, match=place):
                classify(absent, batch_size=batch_size)
        with pytest.raises(FileNotFoundError, match=place):
            list(classify(path for path in absent))
        with pytest.raises(FileNotFoundError, match=place):
            list(classify(KeyDataset(Dataset.from_dict({"path": absent}), "path")))
        with pytest.raises(FileNotFoundError, match=place):
            zero_shot(absent, ["a", "b"])
        with pytest.raises(ValueError, match=r"^inputs\[1\]: .*expected an array of numbers, all leads of one length"):
            classify([paths[0], [[1, 2], [3]]])
        with pytest.raises(TypeError, match=r"^inputs\[0\]: an ECG may be .*found list"):
            classify([paths, paths])  # lists of lists of ECGs
        with pytest.raises(FileNotFoundError, match="^absent.npz"):
            classify("absent.npz")


class TestQuality:
    """Refused where it would be read wrongly, said where it is doubtful, in every entry of that ECG alone."""

    NOISE = {**STATED, "lead_names": LEAD_NAMES, "ecg": np.random.default_rng(0).normal(0, 300, (12, 4096))}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"sampling_rate": None}, "expected sampling_rate in Hz: neither"),
            ({"unit": None}, "expected unit .mV, uV, V.: neither"),
            ({"unit": "mV"}, "amplitudes of .* mV"),
            ({"unit": "V"}, "expected samples below 1e.06 mV.*Is the unit another one"),
            ({"lead_names": [*LEAD_NAMES[6:], *LEAD_NAMES[:6]]}, "the leads look like I II III aVR aVL aVF V1-V6"),
        ],
    )
    def test_refused(self, classify, ecgs, change, message):
        with pytest.raises(ValueError, match=f"bed 4.*{message}"):
            classify({"ecg": ecgs[1], "name": "bed 4", **STATED, **change})

    @pytest.mark.parametrize("batch_size", [1, 2, 3])
    def test_said(self, classify, zero_shot, ecgs, batch_size):
        sources = [ecgs[0], self.NOISE, ecgs[1], {"ecg": ecgs[2][:, :1600], **STATED}]
        for results in (
            classify(sources, **STATED, batch_size=batch_size, top_k=3),
            zero_shot(sources, ["a", "b", "c"], **STATED, batch_size=batch_size),
        ):
            codes = [[[one["code"] for one in entry.get("quality", [])] for entry in entries] for entries in results]
            doubtful = ["limb_leads_disagree", "not_an_ecg"]
            assert codes == [[[]] * 3, [doubtful] * 3, [[]] * 3, [["short"]] * 3]
            assert all("quality" not in entry for entry in results[0])
            one = results[1][0]["quality"][1]
            assert one["severity"] == "warning"
            assert one["message"].startswith("this does not look like an ECG but like noise")

    def test_said_of_embeddings(self, classifier, ecgs, caplog):
        extract = pipeline("ecg-feature-extraction", model=classifier, feature_extractor=EcgFeatureExtractor())
        sources = [ecgs[0], {**self.NOISE, "name": "bed 4"}]
        with caplog.at_level("WARNING"), _propagated():
            plain = extract(sources, **STATED, batch_size=2)
        assert sum(record.message.startswith("bed 4: ") for record in caplog.records) == 2
        beside = extract(sources, **STATED, batch_size=2, return_quality=True)
        assert [one["embedding"] for one in beside] == plain
        assert [[finding["code"] for finding in one["quality"]] for one in beside] == [
            [],
            ["limb_leads_disagree", "not_an_ecg"],
        ]

    def test_old_tables_keep_their_rows(self, classify, exam_table):
        """A row states rate, unit and leads; what the detective doubts is said and refuses nothing."""
        from datasets import load_from_disk

        row = load_from_disk(str(exam_table))["test"][0]  # noise
        for one in (row, {"ecg": row["ecg"], "n_samples": row["n_samples"]}):
            assert {finding["code"] for finding in classify(one)[0]["quality"]} >= {"not_an_ecg"}

    def test_archives_under_other_names(self, classify, ecgs, tmp_path):
        """What an archive states under another usual name is used, like what the caller states."""
        path, signal = tmp_path / "a.npz", ecgs[0] / 1e6
        expected = scores(classify(ecgs[0], sampling_rate=500, unit="uV"))
        order = [*range(6, 12), *range(6)]
        leads = np.array(LEAD_NAMES)[order]
        for stated, given in (
            ({"fs": 500, "units": "V"}, {}),
            ({"sfreq": 500.0, "leads": leads, "units": ["V"] * 12}, {}),
            ({"channels": leads, "unit": "V"}, {"sampling_rate": 500}),
        ):
            named = "leads" in stated or "channels" in stated
            np.savez(path, ecg=signal[order] if named else signal, **stated)
            assert scores(classify(str(path), **given)) == pytest.approx(expected, abs=1e-5), stated
            with pytest.raises(ValueError, match="contradicts"):
                classify(str(path), **{"unit": "mV", **given})
        np.savez(path, ecg=signal, fs=500)
        with pytest.raises(ValueError, match="expected unit"):
            classify(str(path))


@contextlib.contextmanager
def _propagated():
    """The logs of transformers where pytest sees them."""
    logging.enable_propagation()
    try:
        yield
    finally:
        logging.disable_propagation()


class TestZeroShot:
    LABELS = ("RSR em V1", "intervalo PR aumentado", "sem onda P")

    def test_result(self, zero_shot, clip, processor, ecgs):
        results = zero_shot(ecgs[0], candidate_labels=self.LABELS, unit="uV", sampling_rate=400)
        texts = [f"Eletrocardiograma com {label}." for label in self.LABELS]
        inputs = processor(ecg=ecgs[0], text=texts, unit="uV", sampling_rate=400, return_tensors="pt")
        with torch.no_grad():
            expected = clip(**inputs).logits_per_ecg[0].softmax(-1).tolist()
        assert scores(results) == pytest.approx(dict(zip(self.LABELS, expected, strict=True)), abs=1e-6)
        assert [result["score"] for result in results] == sorted((r["score"] for r in results), reverse=True)

    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    def test_batches_equal_one_by_one(self, zero_shot, ecgs, batch_size):
        alone = [scores(zero_shot(ecg, self.LABELS, **STATED)) for ecg in ecgs]
        together = zero_shot(ecgs, self.LABELS, **STATED, batch_size=batch_size)
        assert [scores(results) for results in together] == [pytest.approx(one, abs=1e-5) for one in alone]
        assert len({round(one[self.LABELS[0]], 6) for one in alone}) == 5

    def test_labels_as_text_and_template(self, zero_shot, ecgs):
        as_text = zero_shot(ecgs[0], "RSR em V1, sem onda P", **STATED, hypothesis_template="Laudo: {}")
        as_list = zero_shot(ecgs[0], ["Laudo: RSR em V1", "Laudo: sem onda P"], **STATED, hypothesis_template="{}")
        assert [result["score"] for result in as_text] == [result["score"] for result in as_list]
        assert {result["label"] for result in as_text} == {"RSR em V1", "sem onda P"}
        # Braces in a label are text, not a template.
        assert len(zero_shot(ecgs[0], ["a{0}", "b"], **STATED)) == 2

    def test_defaults_given_to_the_constructor(self, clip, processor, ecgs, zero_shot):
        pipe = pipeline("zero-shot-ecg-classification", model=clip, processor=processor, candidate_labels=self.LABELS)
        assert pipe(ecgs[0], **STATED) == zero_shot(ecgs[0], self.LABELS, **STATED)

    @pytest.mark.parametrize(
        ("labels", "template", "message"),
        [
            (None, None, "one or more texts"),
            ([], None, "one or more texts"),
            ("a,,b", None, "one or more texts"),
            (["a", "a"], None, "must differ"),
            (["a"], "no place", "hold {} once"),
            (["a"], "{} and {}", "hold {} once"),
        ],
    )
    def test_refused(self, zero_shot, ecgs, labels, template, message):
        with pytest.raises(ValueError, match=message):
            zero_shot(ecgs[0], labels, hypothesis_template=template, **STATED)

    def test_needs_a_tokenizer(self, clip):
        with pytest.raises(ValueError, match="needs a tokenizer"):
            pipeline("zero-shot-ecg-classification", model=clip, feature_extractor=EcgFeatureExtractor())


class TestFeatureExtraction:
    def test_dual_encoder_gives_the_joint_space(self, clip, processor, ecgs):
        extract = pipeline("ecg-feature-extraction", model=clip, processor=processor)
        embeds = extract(ecgs, **STATED, batch_size=2)
        assert np.shape(embeds) == (5, 32)
        np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(embeds[3], extract(ecgs[3], **STATED), atol=1e-5)

    def test_classifier_and_its_tower_give_the_embedding(self, classifier, ecgs):
        tensors = [
            pipeline("ecg-feature-extraction", model=model, feature_extractor=EcgFeatureExtractor())(
                ecgs[0], **STATED, return_tensors=True
            )
            for model in (classifier, classifier.ecg_model)
        ]
        assert tensors[0].shape == (classifier.config.hidden_size,)
        assert torch.equal(*tensors)


def test_installed_package_serves_a_saved_folder(classifier, classify, ecgs, tmp_path):
    save_for_hub(classifier, tmp_path, EcgFeatureExtractor())
    loaded = pipeline("ecg-classification", model=str(tmp_path), trust_remote_code=True)
    assert type(loaded.model) is EcgResNetForSignalClassification
    assert loaded(ecgs[0], **STATED) == classify(ecgs[0], **STATED)
    local = pipeline("ecg-classification", model=str(tmp_path), pipeline_class=EcgClassificationPipeline)
    assert local(ecgs[0], **STATED) == classify(ecgs[0], **STATED)


def test_a_model_with_bounds_says_what_it_leaves_open(classify):
    ecg = {"ecg": simulated(1), "sampling_rate": 400, "unit": "mV"}
    scores = {one["label"]: one["score"] for one in classify(ecg)}
    told = [scores[name] for name in LABEL_NAMES]
    config = classify.model.config
    with pytest.raises(ValueError, match="no bounds to abstain by"):
        classify(ecg, abstain=True)
    config.abstention = {
        "error": 0.1,
        "low": [told[0] - 0.01, told[1] + 0.01, told[2] - 0.02, None, 0.0, 0.0],
        "high": [told[0] + 0.01, told[1] + 0.02, told[2], None, 1.0, 1.0],
    }
    try:
        found = {one["label"]: one["decision"] for one in classify(ecg)}
        assert [found[name] for name in LABEL_NAMES[:4]] == ["uncertain", "negative", "positive", None]
        assert all("decision" not in one for one in classify(ecg, abstain=False))
    finally:
        config.abstention = None


def test_thresholds_are_told_with_the_share_that_they_were_chosen_at(classify):
    ecg, config = {"ecg": simulated(1), "sampling_rate": 400, "unit": "mV"}, classify.model.config
    config.thresholds, config.threshold_prevalence = (0.5,) * 6, (0.1, None, 0.1, 0.1, 0.1, 0.1)
    try:
        found = {one["label"]: one for one in classify(ecg, return_thresholds=True)}
        assert (found["1dAVb"]["threshold"], found["1dAVb"]["threshold_prevalence"]) == (0.5, 0.1)
        assert found["RBBB"]["threshold_prevalence"] is None and "threshold" not in classify(ecg)[0]
    finally:
        config.thresholds = config.threshold_prevalence = None
