"""What a head learns, and how it is measured: labels side by side, one of several, numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset, List, Value
from sklearn.metrics import accuracy_score, mean_absolute_error

from data_scripts.tables.schema import ExamSchema
from modeling_ecgclip import EcgResNetConfig
from modeling_ecgclip.labels_ecgclip import CODE_LABELS, Label
from modeling_ecgclip.losses_ecgclip import labelled_loss, multilabel_loss
from training.arguments import ClassificationArguments
from training.targets import MAX_POS_WEIGHT, MultiClass, MultiLabel, Regression, balanced_pos_weight, targets_of


A, B, C = (Label(name) for name in "ABC")
SCHEMA = ExamSchema(labels=(A, Label("B", "bee", "buzz"), C), target_names=("potassium",))
ROWS = Dataset.from_dict(
    {
        "labels": [dict(zip("ABC", row, strict=True)) for row in ([1, 0, 0], [0, 1, -1], [1, 1, 0], [0, 0, 0])],
        "age": [50.0, None, 70.0, 60.0],
        "targets": [{"potassium": value} for value in (4.0, 5.0, None, 3.0)],
    },
    features=SCHEMA.features.__class__({name: SCHEMA.features[name] for name in ("labels", "age", "targets")}),
)


def exams(labels):
    ids = [f"e{i}" for i in range(len(labels))]
    return SimpleNamespace(exam_ids=ids, patient_ids=ids, ages=None, sexes=None, labels=labels)


def arguments(**given):
    return ClassificationArguments(**given)


def test_the_table_names_what_is_learned_unless_the_command_line_does():
    assert targets_of(arguments(), SCHEMA).labels == SCHEMA.labels
    some = targets_of(arguments(labels=["C", "B"]), SCHEMA)
    assert some.labels == (SCHEMA.labels[2], SCHEMA.labels[1])
    assert some.read(ROWS).tolist() == [[0, 0], [-1, 1], [0, 1], [0, 0]]
    numbers = targets_of(arguments(task="regression", target_columns=["potassium", "age"]), SCHEMA)
    np.testing.assert_array_equal(numbers.read(ROWS), np.float32([[4, 50], [5, np.nan], [np.nan, 70], [3, 60]]))


def test_older_tables_have_the_six_labels_as_a_list():
    rows = Dataset.from_dict({"labels": [[1, 0, -1, 0, 0, 1]]}).cast_column("labels", List(Value("int8"), length=6))
    assert MultiLabel([CODE_LABELS[5], CODE_LABELS[2]]).read(rows).tolist() == [[1, -1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": ["A", "Z"]}, "--labels Z: the exam table has A, B, C"),
        ({"labels": ["A", "A"]}, "--labels A: expected each once"),
        ({"task": "multi_class", "labels": ["A"]}, "needs at least two labels: found A"),
        (
            {"task": "regression", "target_columns": ["height"]},
            "--target_columns height: the exam table has age, potassium",
        ),
        ({"task": "regression"}, "belong together"),
        ({"target_columns": ["age"]}, "belong together"),
        ({"task": "regression", "target_columns": ["age"], "labels": ["A"]}, "--labels are for classification"),
        ({"task": "multi_class", "pos_weight": "auto"}, "--pos_weight auto is for --task multi_label"),
    ],
)
def test_what_cannot_be_learned_is_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message) as error:
        targets_of(arguments(**given), SCHEMA)
    assert "\n" not in str(error.value)


def test_a_label_named_like_the_mean_of_all_is_refused():
    with pytest.raises(ValueError, match="hold the mean of all under this name"):
        MultiLabel([Label("mean")])


def test_positives_and_negatives_weigh_the_same_together():
    labels = np.array([[1, 1, 0, -1], [0, 1, 0, 1], [0, 1, 0, -1], [0, 1, -1, 0]], dtype=np.int8)
    weight = balanced_pos_weight(labels)
    assert weight.tolist() == [3.0, 1.0, 1.0, 1.0]  # the second has no negative, the third no positive
    logits = torch.zeros(4, 4, requires_grad=True)
    multilabel_loss(logits, torch.from_numpy(labels), weight).backward()
    assert logits.grad[:, 0].sum().item() == pytest.approx(0, abs=1e-7)  # at even odds nothing pulls either way


def test_a_rare_label_does_not_drown_the_others():
    labels = np.zeros((5000, 1), dtype=np.int8)
    labels[0] = 1
    assert balanced_pos_weight(labels).item() == MAX_POS_WEIGHT


def test_labels_of_one_side_are_refused_unless_accepted():
    values = np.array([[1, 0, -1, 1], [1, 0, -1, 0]], dtype=np.int8)
    targets = MultiLabel([A, B, C, Label("D")])
    message = (
        "2 training exams have no positive of B, C and no negative of A, C, .*--labels .*--allow_one_sided_labels"
    )
    with pytest.raises(ValueError, match=message) as error:
        targets.learn_from(values, allow_one_sided=False)
    assert "\n" not in str(error.value)
    targets.learn_from(values, allow_one_sided=True)
    assert targets.pos_weight is None
    assert targets.counts(values) == {
        "positives": {"A": 2, "B": 0, "C": 0, "D": 1},
        "known": {"A": 2, "B": 2, "C": 0, "D": 2},
    }


def test_one_label_of_several_leaves_out_exams_with_none_or_two():
    targets = MultiClass(SCHEMA.labels)
    values = targets.read(ROWS)
    assert values.dtype == np.int8
    assert values.tolist() == [[1, 0, 0], [0, 1, 0], [-1, -1, -1], [-1, -1, -1]]
    assert targets.notes(values)["left out, not one label"] == "2 of 4 in training"
    outputs, labels = torch.randn(4, 3), torch.from_numpy(values)
    assert targets.n_known(labels) == 2
    expected = F.cross_entropy(outputs[:2], torch.tensor([0, 1]))
    torch.testing.assert_close(targets.loss(outputs, labels), expected)
    torch.testing.assert_close(targets.loss(outputs, labels, torch.tensor(8)), expected / 4)
    torch.testing.assert_close(
        labelled_loss(outputs, torch.tensor([0, 1, -1, -1]), targets.problem_type), targets.loss(outputs, labels)
    )


def test_probabilities_of_one_label_add_up_and_the_largest_decides():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 90)
    outputs = (3 * generator.normal(size=(90, 3)) + 4 * np.eye(3)[truth]).astype(np.float32)
    targets = MultiClass([A, B, C])
    test = targets.predictions("test", exams(np.eye(3, dtype=np.int8)[truth]), outputs)
    np.testing.assert_allclose(test.probabilities.sum(axis=1), 1)
    metrics = targets.evaluate({"test": test})
    assert metrics["test"]["accuracy"] == pytest.approx(accuracy_score(truth, outputs.argmax(axis=1)))
    assert set(targets.figures(test, metrics)) == {"precision_recall", "calibration", "confusion"}
    assert "most probable label" in targets.table(metrics, "test")


def numbers(n=50, seed=0):
    generator = np.random.default_rng(seed)
    values = generator.normal([60, 4], [15, 0.5], (n, 2)).astype(np.float32)
    values[::5, 1] = np.nan
    targets = Regression([Label("age"), Label("potassium")])
    targets.learn_from(values, allow_one_sided=False)
    return targets, values


def test_the_loss_of_numbers_knows_no_unit_and_is_1_at_the_mean():
    targets, values = numbers()
    at_mean = targets.loss(torch.zeros(50, 2), torch.from_numpy(values))
    assert at_mean.item() == pytest.approx(1, abs=1e-5)
    assert targets.n_known(torch.from_numpy(values)) == 90
    scaled = Regression(targets.labels)
    scaled.learn_from(values * np.float32([1000, 0.001]), allow_one_sided=False)
    outputs = torch.randn(50, 2)
    torch.testing.assert_close(
        scaled.loss(outputs, torch.from_numpy(values * np.float32([1000, 0.001]))),
        targets.loss(outputs, torch.from_numpy(values)),
    )


def test_a_finished_head_gives_the_numbers_that_were_predicted_while_training():
    targets, values = numbers()
    head = torch.nn.Linear(8, 2)
    features = torch.randn(50, 8)
    with torch.no_grad():
        told = targets.predictions("test", exams(values), head(features).numpy())
        targets.finish(head)
        np.testing.assert_allclose(head(features).numpy(), told.predictions, rtol=1e-5)
    metrics = targets.evaluate({"test": told})
    expected = mean_absolute_error(values[:, 0], told.predictions[:, 0])
    assert metrics["test"]["per_target"]["age"]["mae"] == pytest.approx(expected, rel=1e-5)
    assert set(targets.figures(told, metrics)) == {"scatter"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[50.0, 4.0], [50.0, 5.0]], "2 training exams have the same age, 50, .*leave it out of --target_columns"),
        ([[50.0, np.nan], [51.0, np.nan]], "2 training exams have no known potassium"),
        ([[50.0, 4.0], [np.inf, 5.0]], "--target_columns age: expected finite numbers, found inf"),
    ],
)
def test_numbers_without_spread_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Regression([Label("age"), Label("potassium")]).learn_from(np.float32(values), allow_one_sided=True)


def test_a_configuration_states_outputs_and_kind():
    config = EcgResNetConfig.from_preset("tiny", thresholds=[0.5] * 6)
    assert MultiLabel(CODE_LABELS).fits(config) and not MultiClass(CODE_LABELS).fits(config)
    targets, _ = numbers()
    targets.describe(config)
    assert targets.fits(config) and config.num_labels == 2
    assert (config.problem_type, config.thresholds) == ("regression", None)
    assert config.label_details == [{"name": name, "title": name} for name in ("age", "potassium")]


def test_without_validation_thresholds_are_stated_defaults():
    labels = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.int8)
    targets = MultiLabel([A, B])
    test = targets.predictions("test", exams(labels), np.zeros((3, 2), dtype=np.float32))
    metrics = targets.evaluate({"test": test})
    assert metrics["thresholds"] == {"A": 0.5, "B": 0.5} and metrics["thresholds_from"] == "default"
    reason = "no validation split to choose by: 0.5 is used"
    assert metrics["undefined"][0] == {"label": "A", "metric": "threshold", "reason": reason}
    assert f"- A: threshold: {reason}" in targets.table(metrics, "test")
    assert "validation" not in metrics and "test" not in targets.evaluate({})
