"""The command that splits a table of reports."""

import pandas as pd
import pyarrow.parquet as pq

from data_scripts.reports import main
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from tests.data_scripts.text.test_reports import CONCLUSION, DESCRIPTION, PAPER


def test_command_line_splits_a_table(tmp_path, capsys):
    reports = [PAPER, DESCRIPTION, "", f"Conclusão: {CONCLUSION} label: {{RBBB: 1, ST: 1}}"]
    pd.DataFrame({"exam_id": [1, 2, 3, 4], "report": reports}).to_csv(tmp_path / "reports.csv", index=False)
    counts = main(["--reports", str(tmp_path / "reports.csv"), "--output", str(tmp_path / "parts.csv")])
    assert counts["reports"] == 4 and counts["empty"] == 1 and counts["without_heading"] == 1
    assert counts["conflicts"] == counts["conflicts_LBBB"] == 1 and counts["conflicts_ST"] == 0
    assert "conflicts: 1\n" in capsys.readouterr().out
    parts = pd.read_csv(tmp_path / "parts.csv", dtype={"exam_id": str}, keep_default_na=False)
    assert parts["exam_id"].tolist() == ["1", "2", "3", "4"]
    assert parts["description"].tolist() == [DESCRIPTION, DESCRIPTION, "", ""]
    assert parts.loc[0, list(LABEL_NAMES)].tolist() == [0, 1, 1, 0, 0, 1]
    assert parts.loc[1, list(LABEL_NAMES)].tolist() == [-1] * 6
    assert parts["conflicts"].tolist() == ["LBBB", "", "", ""]

    main(["--reports", str(tmp_path / "reports.csv"), "--output", str(tmp_path / "parts.parquet")])
    again = pq.read_table(tmp_path / "parts.parquet").to_pandas()
    pd.testing.assert_frame_equal(again, parts, check_dtype=False)


def test_headings_of_ones_own_and_diagnoses_that_are_left(tmp_path, capsys):
    reports = ["P normal. Parecer: FA", "Secundárias ao BRD. Conclusion: RBBB"]
    pd.DataFrame({"exam_id": [1, 2], "report": reports}).to_csv(tmp_path / "reports.csv", index=False)
    arguments = ["--reports", str(tmp_path / "reports.csv"), "--output", str(tmp_path / "parts.csv")]
    assert main(arguments)["without_heading"] == 1
    assert 'such as "P normal. Parecer: FA"' in capsys.readouterr().out
    facts = main([*arguments, "--conclusion_headings", "Parecer"])
    assert facts["without_heading"] == 0 and facts["with_diagnosis_words"] == 1
    assert '  right bundle branch block: 1, such as "Secundárias ao BRD."\n' in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "parts.csv")["description"].tolist() == ["P normal.", "Secundárias ao BRD."]
    assert pd.read_csv(tmp_path / "parts.csv")["conclusion"].tolist() == ["FA", "RBBB"]


def test_diagnoses_are_masked_on_request(tmp_path, capsys):
    reports = ["P normal. Conclusão: FA", "Secundárias ao BRD. Conclusion: RBBB", "FA. Conclusão: FA"]
    pd.DataFrame({"exam_id": [1, 2, 3], "report": reports}).to_csv(tmp_path / "reports.csv", index=False)
    arguments = ["--reports", str(tmp_path / "reports.csv"), "--output", str(tmp_path / "parts.csv")]
    facts = main([*arguments, "--mask_diagnoses"])
    assert (facts["had_diagnosis_words"], facts["masked"], facts["with_diagnosis_words"]) == (2, 2, 0)
    # A mask alone describes nothing.
    assert facts["without_description"] == 1 and facts["free_of_conclusions"] is True
    assert "diagnosis words left in descriptions: none" in capsys.readouterr().out
    parts = pd.read_csv(tmp_path / "parts.csv", keep_default_na=False)
    assert parts["description"].tolist() == ["P normal.", "Secundárias ao ___.", ""]
    assert parts["conclusion"].tolist() == ["FA", "RBBB", "FA"]
    facts = main(arguments)
    assert (facts["had_diagnosis_words"], facts["masked"], facts["with_diagnosis_words"]) == (2, 0, 2)
