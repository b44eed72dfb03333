import numpy as np
import pytest
import torch
from datasets import DatasetDict, load_from_disk

from modeling_ecgclip import EcgClipModel
from space import index_reports
from space.nearest import INDEX_FILE, ReportIndex, embed_reports
from tests.conftest import REPORTS


@pytest.fixture
def index():
    return ReportIndex(["a", "b", "ção"], np.eye(3, dtype=np.float32), "f" * 64, "simulated")


def test_nearest_first(index):
    found = index.nearest(np.array([0.0, 0.6, 0.8]), count=2)
    assert [one["report"] for one in found] == ["ção", "b"]
    assert [one["similarity"] for one in found] == pytest.approx([0.8, 0.6])


def test_saved_and_loaded(index, tmp_path):
    index.save(tmp_path / "new" / "index.npz")
    loaded = ReportIndex.load(tmp_path / "new" / "index.npz")
    assert (loaded.reports, loaded.fingerprint, loaded.source) == (index.reports, index.fingerprint, index.source)
    np.testing.assert_array_equal(loaded.text_embeds, index.text_embeds)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["index.npz"]


def test_other_files_are_refused(index, tmp_path, models):
    with pytest.raises(FileNotFoundError, match="no such report index: make one with"):
        ReportIndex.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", ecg=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", reports=np.array([{}], dtype=object))
    for name in ("text.npz", "other.npz", "pickle.npz"):
        with pytest.raises(ValueError, match=f"{name}: expected a report index"):
            ReportIndex.load(tmp_path / name)
    ReportIndex(["a"], index.text_embeds, "", "").save(tmp_path / "uneven.npz")
    with pytest.raises(ValueError, match="one embedding for each of 1 reports"):
        ReportIndex.load(tmp_path / "uneven.npz")
    index.save(tmp_path / "foreign.npz")
    with pytest.raises(ValueError, match="embedded by another dual encoder"):
        ReportIndex.load(tmp_path / "foreign.npz", EcgClipModel.from_pretrained(models[1]))


def test_command_embeds_the_table(models):
    index = ReportIndex.load(models[1] / INDEX_FILE, EcgClipModel.from_pretrained(models[1]))
    assert sorted(index.reports) == sorted(REPORTS)
    assert index.source == "simulated"
    np.testing.assert_allclose(np.linalg.norm(index.text_embeds, axis=1), 1, rtol=1e-5)


def test_embeddings_are_those_of_the_pipeline(analyser):
    reports = list(REPORTS)
    embeds = embed_reports(analyser.zero_shot.model, analyser.zero_shot.tokenizer, reports)
    one_by_one = torch.cat([analyser.zero_shot.embed([report]) for report in reports]).numpy()
    np.testing.assert_allclose(embeds, one_by_one, atol=1e-5)


def test_number_of_reports_and_its_limits(models, exam_table, capsys, tmp_path):
    output = tmp_path / "two.npz"
    common = ["--clip_model_name_or_path", str(models[1]), "--dataset_name_or_path", str(exam_table)]
    assert index_reports.main([*common, "--num_reports", "2", "--output_file", str(output)]) == 0
    assert len(ReportIndex.load(output).reports) == 2
    assert index_reports.main([*common, "--num_reports", "0"]) == 2
    assert "--num_reports must be at least 1" in capsys.readouterr().err
    nowhere = ["--clip_model_name_or_path", "someone/clip", "--dataset_name_or_path", str(exam_table)]
    assert index_reports.main(nowhere) == 2
    assert "name an --output_file" in capsys.readouterr().err


def test_reports_of_patients_need_permission(models, exam_table, tmp_path, capsys):
    table = load_from_disk(str(exam_table))
    real = DatasetDict(
        {name: rows.map(lambda _: {"source": "clinic"}, features=rows.features) for name, rows in table.items()}
    )
    real.save_to_disk(str(tmp_path / "real"))
    arguments = ["--clip_model_name_or_path", str(models[1]), "--dataset_name_or_path", str(tmp_path / "real")]
    arguments += ["--output_file", str(tmp_path / "index.npz")]
    assert index_reports.main(arguments) == 2
    assert "come from clinic and may speak of patients" in capsys.readouterr().err
    assert not (tmp_path / "index.npz").exists()
    assert index_reports.main([*arguments, "--allow_real_reports"]) == 0
    assert ReportIndex.load(tmp_path / "index.npz").source == "clinic"
