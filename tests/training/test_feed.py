import numpy as np
import torch
from accelerate import Accelerator

from data_scripts.tables.schema import load_exam_table
from modeling_ecgclip import EcgFeatureExtractor, EcgResNetConfig, EcgResNetModel
from modeling_ecgclip.signal_ecgclip import SignalSpec
from training.augmentation import SignalInput
from training.classification import embed_split
from training.data import ExamSplit, StepPlan
from training.feed import ExamFeed


def feed_of(extractor, batch_size=7):
    return ExamFeed(Accelerator(cpu=True), SignalInput(extractor, SignalSpec()), batch_size)


def test_rows_of_all_exams_come_in_order(exam_table):
    split = ExamSplit(load_exam_table(exam_table)["validation"], np.arange(29, -1, -1))
    found = feed_of(EcgFeatureExtractor()).rows(split, lambda batch: batch["ecg"][:, 0, :3].float(), 3)
    np.testing.assert_array_equal(found, split.ecg(np.arange(30))[:, 0, :3].numpy())
    nothing = ExamSplit(load_exam_table(exam_table)["validation"], np.arange(0))
    assert feed_of(EcgFeatureExtractor()).rows(nothing, lambda batch: batch["ecg"], 3).shape == (0, 3)


def test_training_batches_are_those_of_the_plan(exam_table):
    split = ExamSplit(load_exam_table(exam_table)["train"])
    plan = StepPlan(len(split), batch_size=16, accumulation=2)
    found = list(feed_of(EcgFeatureExtractor()).training(split, plan, 1, 2))
    for batch, indices in zip(found, plan.batches(0, 1, 2), strict=True):
        assert torch.equal(batch["ecg"], split.ecg(np.array(indices)))


def test_embeddings_see_the_unit_and_the_padding_of_the_model(exam_table):
    split = ExamSplit(load_exam_table(exam_table)["validation"])
    torch.manual_seed(0)
    encoder = EcgResNetModel(EcgResNetConfig.from_preset("tiny", input_samples=5120)).eval()
    extractor = EcgFeatureExtractor(pad_to_multiple_of=5120, do_scale=True, scale=2.0)
    embedded = embed_split(feed_of(extractor), encoder, split)
    # What it does with an ECG's samples: noise is none that it would take.
    inputs = np.stack([extractor.frame(2 * one) for one in split.ecg(np.arange(30)).numpy() / np.float32(1000)])
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(inputs)).pooler_output
    torch.testing.assert_close(embedded.embeds, expected)
    assert embedded.exam_ids.tolist() == split.exam_ids.tolist()
