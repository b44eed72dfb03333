"""Text tables: each distinct text once, in any batch, with the weights they were made with."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, DatasetDict

from common.checksums import SUMS_FILE, verify_checksums, write_checksums
from data_scripts.code15 import main as convert_code15
from data_scripts.embed_reports import (
    distinct_reports,
    embed_texts,
    load_text_encoder,
    load_text_table,
    main,
    token_limit,
    weights_fingerprint,
)
from data_scripts.tables.schema import load_exam_table
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit


TEXTS = ["onda p normal", "q", "desvio do eixo do qrs para a direita e para cima", "onda p normal e st normal"]


@pytest.fixture
def exam_table(code15_folder, tmp_path):
    """50 exams with 4 distinct descriptions, two of them without any."""
    reports = [TEXTS[i % 4] + ". Conclusão: ECG normal" for i in range(48)] + ["Conclusão: ECG normal", ""]
    pd.DataFrame({"exam_id": range(61, 111), "report": reports}).to_csv(tmp_path / "reports.csv", index=False)
    arguments = ["--source_dir", str(code15_folder), "--output_dir", str(tmp_path / "table")]
    convert_code15([*arguments, "--reports", str(tmp_path / "reports.csv")])
    return tmp_path / "table"


def run(exam_table, model, *arguments):
    return main(
        ["--dataset_name_or_path", str(exam_table), "--text_model_name_or_path", str(model), *map(str, arguments)]
    )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_batches_and_order_change_nothing(text_model_folder, pooling):
    model, tokenizer = load_text_encoder(text_model_folder)
    embeds = embed_texts(TEXTS, model, tokenizer, pooling, batch_size=3, device="cpu", progress=False)
    assert embeds.dtype == np.float32 and embeds.shape == (4, 16)
    for text, embed in zip(TEXTS, embeds, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = hidden.mean(dim=0) if pooling == "mean" else hidden[0]
        np.testing.assert_allclose(embed, expected.numpy(), atol=1e-6)


def test_long_texts_are_cut_and_empty_ones_refused(text_model_folder):
    model, tokenizer = load_text_encoder(text_model_folder)
    limit = token_limit(model, tokenizer)
    assert limit == 64
    long, longer = "a" * 62, "a" * 500
    embeds = embed_texts([long, longer], model, tokenizer, device="cpu", progress=False)
    np.testing.assert_allclose(embeds[0], embeds[1], atol=1e-6)
    tokenizer.model_max_length = int(1e30)
    assert token_limit(model, tokenizer) == 64
    with pytest.raises(ValueError, match="text 1 of 2 is empty"):
        embed_texts(["a", " \n"], model, tokenizer, device="cpu", progress=False)


def test_each_distinct_report_is_embedded_once(exam_table, text_model_folder, capsys):
    record = run(exam_table, text_model_folder, "--batch_size", 2)
    assert record["count"] == 4 and record["width"] == 16 and record["pooling"] == "mean"
    folder = exam_table / "text_table" / "toy-bert-mean"
    assert json.loads((folder / "text_table.json").read_text()) == record

    model, tokenizer = load_text_encoder(text_model_folder)
    text = load_text_table(exam_table, text_model_folder, "mean", model=model)
    table = load_exam_table(exam_table)  # still opens with a text table inside
    by_id = {row["report_id"]: row for row in text}
    for split in table.values():
        for report_id, report in zip(split["report_id"], split["report"], strict=True):
            assert (report_id == -1) if report is None else (by_id[report_id]["report"] == report)
    expected = embed_texts(text["report"][:], model, tokenizer, device="cpu", progress=False)
    np.testing.assert_allclose(np.array(text["text_embeds"]), expected, atol=1e-6)

    capsys.readouterr()
    assert run(exam_table, text_model_folder) == record
    assert "holds these 4 embeddings already" in capsys.readouterr().out
    assert run(exam_table, text_model_folder, "--text_pooling", "cls")["pooling"] == "cls"
    assert len(load_text_table(exam_table, text_model_folder, "cls")) == 4


def test_a_flipped_bit_of_each_file_is_refused_and_embedded_again(exam_table, text_model_folder, capsys):
    record = run(exam_table, text_model_folder)
    folder = exam_table / "text_table" / "toy-bert-mean"
    names = verify_checksums(folder)
    assert sorted(names) == sorted({path.name for path in folder.iterdir()} - {SUMS_FILE})
    for name in names:
        content = (folder / name).read_bytes()
        flip_bit(folder / name, len(content) // 2)
        with pytest.raises(ValueError, match=f"{folder / name}: expected SHA-256"):
            load_text_table(exam_table, text_model_folder)
        (folder / name).write_bytes(content)
    flip_bit(folder / "data-00000-of-00001.arrow", -100)
    assert load_text_table(exam_table, text_model_folder, verify=False)
    assert run(exam_table, text_model_folder) == record
    assert "embedding again: " in capsys.readouterr().err
    assert len(load_text_table(exam_table, text_model_folder)) == 4


def test_a_flipped_bit_of_a_table_is_refused_before_its_reports_are_embedded(exam_table, text_model_folder):
    rows = exam_table / "train" / "data-00000-of-00001.arrow"
    flip_bit(rows, -1000)
    write_checksums(exam_table)
    flip_bit(rows, -1000)
    with pytest.raises(ValueError, match=f"{rows}: expected SHA-256"):
        run(exam_table, text_model_folder)
    assert run(exam_table, text_model_folder, "--no_verify")["count"] == 4


def test_other_weights_under_the_same_name_are_noticed(exam_table, text_model_folder, tmp_path):
    model, tokenizer = load_text_encoder(text_model_folder)
    for folder in (tmp_path / "a" / "bert", tmp_path / "b" / "bert"):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        with torch.no_grad():
            model.embeddings.word_embeddings.weight += 1
    first = run(exam_table, tmp_path / "a" / "bert")
    with pytest.raises(ValueError, match="made with other weights than .*expected fingerprint .*, found"):
        load_text_table(exam_table, tmp_path / "b" / "bert", model=load_text_encoder(tmp_path / "b" / "bert")[0])
    second = run(exam_table, tmp_path / "b" / "bert")
    assert first["fingerprint"] != second["fingerprint"]
    loaded = load_text_encoder(tmp_path / "b" / "bert")[0]
    assert len(load_text_table(exam_table, tmp_path / "b" / "bert", model=loaded)) == 4


def test_fingerprint_ignores_the_pooler_only(text_model_folder):
    model, _ = load_text_encoder(text_model_folder)
    fingerprint = weights_fingerprint(model)
    with torch.no_grad():
        model.pooler.dense.weight += 1
    assert weights_fingerprint(model) == fingerprint
    assert weights_fingerprint(model.to(torch.float64)) == fingerprint
    with torch.no_grad():
        model.embeddings.LayerNorm.bias[0] += 1e-3
    assert weights_fingerprint(model) != fingerprint


def test_what_is_missing_is_named(exam_table, text_model_folder, code15_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent: no such folder, and no id on the Hub"):
        run(exam_table, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: expected a model's folder, found no config.json in it"):
        run(exam_table, tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text((text_model_folder / "config.json").read_text())
    with pytest.raises(FileNotFoundError, match="empty: found neither here nor on the Hub"):
        run(exam_table, tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; for a data set on the Hub name an"):
        run(tmp_path / "nowhere", text_model_folder)
    with pytest.raises(FileNotFoundError, match="no text table .*toy-bert-cls: make it with python -m data_scripts"):
        load_text_table(exam_table, text_model_folder, "cls")
    convert_code15(["--source_dir", str(code15_folder), "--output_dir", str(tmp_path / "silent")])
    with pytest.raises(ValueError, match="silent has no reports: nothing to embed"):
        run(tmp_path / "silent", text_model_folder)


def test_an_id_for_two_texts_is_refused():
    rows = Dataset.from_dict({"report_id": [0, -1, 0], "report": ["a", None, "b"]})
    with pytest.raises(ValueError, match="split train: report_id 0 stands for two texts"):
        distinct_reports(DatasetDict({"train": rows}), "x")
