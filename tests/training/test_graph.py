import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

import train_clip
import train_cls
from data_scripts import embed_reports
from data_scripts.make_text_model import make_text_model
from tests.recorded_graph import RecordedGraph
from tests.same_end import assert_same_end
from tests.small_tables import REPORTS, write_small_table
from training import graph
from training.arguments import TrainingArguments
from training.classification import ClassificationTask
from training.contrastive import ContrastiveTask
from training.graph import why_not_captured, why_not_compiled


STEPS = 10  # of 16, 16, 16 and 12 exams in each epoch
COMMON = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "16", "--max_train_steps", str(STEPS)]
COMMON += ["--logging_steps", "1", "--eval_steps", "5", "--checkpointing_steps", "5", "--warmup_steps", "3"]
AUGMENT = ["--augment", "amplitude=0.3", "noise_mv=0.02", "wander_mv=0.1", "shift_s=0.3", "lead_masking=0.1"]
CASES = {
    "labels": ("cls", ["--ema_decay", "0.9", "--weight_decay", "0.1", "--head_learning_rate", "3e-3", *AUGMENT]),
    "labels_accumulated": ("cls", ["--gradient_accumulation_steps", "2", "--per_device_train_batch_size", "8"]),
    "labels_bf16": ("cls", ["--mixed_precision", "bf16", "--pos_weight", "auto", "--lr_scheduler_type", "cosine"]),
    "numbers": ("cls", ["--task", "regression", "--target_columns", "age", "--max_grad_norm", "0"]),
    "one_label": ("cls", ["--task", "multi_class", *AUGMENT]),
    "head": ("cls", ["--freeze_encoder"]),
    "another_tower": ("cls", ["--encoder_preset", "xresnet1d50", "--max_train_steps", "3"]),
    "pairs": ("clip", ["--ema_decay", "0.9", "--center_text", *AUGMENT]),
    "same_report": ("clip", ["--positives", "same_report", "--mixed_precision", "bf16"]),
    "siglip": ("clip", ["--loss", "siglip", "--text_projection", "linear", "--projection_dim", "8"]),
    "two_views": ("clip", ["--pair_with", "second_view", *AUGMENT]),
}

PAIRS = [(None, RecordedGraph), (RecordedGraph, None), (RecordedGraph, RecordedGraph)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Arguments that name a small table, by stage."""
    folder = tmp_path_factory.mktemp("graph")
    table, text = write_small_table(folder / "table"), folder / "text"
    make_text_model(REPORTS, text, hidden_size=16)
    of_table = ["--dataset_name_or_path", str(table)]
    of_text = ["--text_model_name_or_path", str(text)]
    embed_reports.main([*of_table, *of_text])
    return {"cls": of_table, "clip": [*of_table, *of_text]}


@pytest.fixture(scope="module")
def eager_runs():
    """Folders of eager runs that several tests compare with, by their arguments."""
    return {}


@pytest.fixture
def train(inputs, eager_runs, tmp_path_factory, monkeypatch, caplog):
    """Trains a case by replayed steps, or without a backend eagerly; returns the folder and what the graph logged."""

    def train(name, backend, *more):
        if backend is None and (name, *more) in eager_runs:
            return eager_runs[name, *more], []
        stage, flags = CASES[name]
        folder = tmp_path_factory.mktemp(name)
        if backend is None:
            eager_runs[name, *more] = folder
            more = (*more, "--graph", "off")
            monkeypatch.delitem(graph.BACKENDS, "cpu", raising=False)
        else:
            monkeypatch.setitem(graph.BACKENDS, "cpu", backend)
        caplog.clear()
        AcceleratorState._reset_state(reset_partial_state=True)  # of one precision
        argv = [*inputs[stage], "--output_dir", str(folder), *COMMON, *flags, *more]
        {"cls": train_cls, "clip": train_clip}[stage].main(argv)
        return folder, [
            one.getMessage().removeprefix("[RANK 0] ") for one in caplog.records if one.name == "training.graph"
        ]

    caplog.set_level("INFO")
    yield train
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("name", CASES)
def test_a_replayed_step_gives_the_bits_of_an_eager_one(name, train):
    (eager, _), (graphed, said) = train(name, None), train(name, RecordedGraph)
    assert_same_end(eager, graphed)
    sizes = [line for line in said if "are one graph" in line]
    assert len(sizes) == len(set(sizes)) == (1 if name == "another_tower" else 2), said
    assert not any("run eagerly" in line for line in said)


@pytest.mark.parametrize(
    ("name", "first", "second"), [*(("labels", *pair) for pair in PAIRS), ("pairs", None, RecordedGraph)]
)
def test_a_resumed_run_ends_like_one_that_was_not_whichever_way_its_steps_ran(name, first, second, train):
    whole, _ = train(name, first)
    middle = whole / "checkpoints" / "step-00000005"
    resumed, _ = train(name, second, "--resume_from_checkpoint", str(middle))
    assert_same_end(whole, resumed)


def test_a_run_that_is_resumed_at_a_smaller_batch_captures_both(train):
    whole, _ = train("labels", None, "--checkpointing_steps", "3", "--checkpoints_total_limit", "9")
    resume = ["--resume_from_checkpoint", str(whole / "checkpoints" / "step-00000003"), "--checkpointing_steps", "3"]
    resumed, said = train("labels", RecordedGraph, *resume)
    assert [line.split(" exams")[0] for line in said if "are one graph" in line] == ["steps of 12", "steps of 16"]
    assert_same_end(whole, resumed)


def test_a_loss_that_is_no_number_stops_a_replayed_run_too(train):
    flags = ["--learning_rate", "1e6", "--weight_decay", "1", "--lr_scheduler_type", "constant_with_warmup"]
    flags += ["--max_train_steps", "60", "--eval_steps", "60", "--logging_steps", "20"]
    with pytest.raises(FloatingPointError, match="the loss is nan between steps"):
        train("one_label", RecordedGraph, *flags)


def test_passes_that_set_the_random_state_back_run_eagerly_and_say_so(train):
    more = ["--gradient_accumulation_steps", "2", "--per_device_train_batch_size", "8"]
    (eager, _), (graphed, said) = train("pairs", None, *more), train("pairs", RecordedGraph, *more)
    assert_same_end(eager, graphed)
    assert [line for line in said if "run eagerly" in line and "sets the random state back" in line] == said != []


@pytest.mark.parametrize("captures", [0, 1])
def test_where_capturing_fails_the_run_goes_on_eagerly_with_the_reason(captures, train):
    class Failing(RecordedGraph):
        """Captures so many shapes; with the next it changes weights, and then fails."""

        left = captures

        def capture(self, run):
            run()
            if self.left == 0:
                raise RuntimeError("operation not permitted when stream is capturing\nand more lines")
            self.left -= 1
            return super().capture(run)

    (eager, _), (graphed, said) = train("labels", None), train("labels", Failing)
    assert_same_end(eager, graphed)
    failures = [line for line in said if "capturing failed" in line]
    assert len(failures) == 1 and "operation not permitted" in failures[0] and "and more lines" not in failures[0]
    assert f"steps of {(16, 12)[captures]} exams run eagerly" in failures[0]


@pytest.fixture
def long_run(monkeypatch):
    """Any run is long enough to be compiled, and the tools are there."""
    monkeypatch.setattr(graph, "COMPILED_FROM", 1)
    monkeypatch.setattr(graph, "find_spec", lambda name: object())
    monkeypatch.setenv("CXX", "python3")


def test_only_full_batches_of_training_are_compiled(train, long_run, monkeypatch):
    compiled, calls = [], []

    def compile_module(module, dynamic):
        def call(values, **kwargs):
            calls.append((module.training, len(values)))
            return module._call_impl(values, **kwargs)

        compiled.append(module)
        module._compiled_call_impl = call

    monkeypatch.setattr(torch.nn.Module, "compile", compile_module)
    (eager, _), (graphed, said) = train("labels", None), train("labels", RecordedGraph)
    assert_same_end(eager, graphed)
    assert set(calls) == {(True, 16)}
    assert len(compiled) == 1 and compiled[0]._compiled_call_impl is None
    assert "steps of 16 exams are one graph, with torch.compile" in said
    assert "steps of 12 exams are one graph, without torch.compile" in said


def test_the_tower_can_be_traced_whole(train, long_run, monkeypatch):
    def compile_module(module, dynamic):
        # Without kernels of its own the bits are those of eager steps.
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager", fullgraph=True, dynamic=dynamic)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_module)
    more = ["--dropout", "0"]  # the CPU's own dropout is what no other device runs, and cannot be traced
    (eager, _), (graphed, said) = train("same_report", None, *more), train("same_report", RecordedGraph, *more)
    assert_same_end(eager, graphed)
    assert "steps of 16 exams are one graph, with torch.compile" in said


def test_a_compiler_that_fails_is_done_without(train, long_run, monkeypatch):
    def compile_module(module, dynamic):
        raise OSError("no space left on device")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_module)
    (eager, _), (graphed, said) = train("labels", None), train("labels", RecordedGraph)
    assert_same_end(eager, graphed)
    assert "--graph auto: without torch.compile, which failed: OSError: no space left on device" in said
    assert "steps of 16 exams are one graph, without torch.compile" in said


def test_the_recording_runs_no_python_and_waits_for_nothing():
    weights, calls = torch.zeros(3), []

    def run():
        calls.append(None)
        weights.add_(torch.rand(3))
        return weights.sum(), weights.norm()

    replay, (total, _) = RecordedGraph().capture(run)
    before, n_calls = weights.clone(), len(calls)
    torch.manual_seed(4)
    replay()
    torch.manual_seed(4)
    assert torch.equal(weights, before + torch.rand(3)) and total == weights.sum()
    assert len(calls) == n_calls
    with pytest.raises(RuntimeError, match="may not wait"):
        RecordedGraph().capture(lambda: (torch.zeros(()), torch.tensor(weights.sum().item())))


def args(**more):
    return TrainingArguments("x", **more)


def test_what_cannot_be_captured_has_a_reason(monkeypatch):
    accelerator = Accelerator(cpu=True)
    stage_1, stage_2 = object.__new__(ContrastiveTask), object.__new__(ClassificationTask)
    stage_1.tokens = object()
    assert "texts of another length" in why_not_captured(accelerator, stage_1, args())
    stage_1.tokens = None
    assert why_not_captured(accelerator, stage_1, args()) is None
    assert why_not_captured(accelerator, stage_2, args(gradient_accumulation_steps=2)) is None
    assert "second forward pass" in why_not_captured(accelerator, stage_1, args(gradient_accumulation_steps=2))
    monkeypatch.setattr(Accelerator, "mixed_precision", "fp16")
    assert "bf16 needs none" in why_not_captured(accelerator, stage_2, args())
    monkeypatch.setattr(Accelerator, "mixed_precision", "bf16")
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    assert "2 processes" in why_not_captured(accelerator, stage_2, args())


def test_what_is_not_compiled_has_a_reason(monkeypatch):
    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    module = torch.nn.Linear(1, 1)
    assert why_not_compiled(None, 10**9) == "the encoder is frozen"
    assert "1,000 exams" in why_not_compiled(module, 1000)
    assert why_not_compiled(module, 10**9) == "no Triton"
    monkeypatch.setattr(graph, "find_spec", lambda name: object())
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert why_not_compiled(module, 10**9) == "no C++ compiler (no-such-compiler)"
    monkeypatch.setenv("CXX", "python3")
    assert why_not_compiled(module, 10**9) is None


@pytest.mark.gpu
class TestOnAGpu:
    """Real graphs; skipped, saying so, where there is no GPU."""

    @pytest.fixture(autouse=True)
    def deterministic(self, monkeypatch):
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA GPU: none found")
        # Kernels that add up in any order differ from run to run, eager or not.
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)

    @pytest.mark.parametrize("precision", ["no", "bf16"])
    @pytest.mark.parametrize("name", ["labels", "labels_accumulated", "numbers", "pairs", "same_report", "two_views"])
    def test_200_steps_give_the_bits_of_eager_ones(self, name, precision, train):
        more = ["--max_train_steps", "200", "--eval_steps", "50", "--mixed_precision", precision]
        eager, _ = train(name, None, *more)
        graphed, said = train(name, RecordedGraph, *more)
        assert len([line for line in said if "are one graph" in line]) == 2, said
        assert_same_end(eager, graphed)

    @pytest.mark.parametrize(("first", "second"), PAIRS)
    @pytest.mark.parametrize("name", ["labels", "pairs"])
    def test_a_resumed_run_ends_like_one_that_was_not(self, name, first, second, train):
        more = ["--max_train_steps", "200", "--eval_steps", "50", "--checkpointing_steps", "90"]
        more += ["--checkpoints_total_limit", "9"]
        whole, _ = train(name, first, *more)
        middle = whole / "checkpoints" / "step-00000090"
        resumed, _ = train(name, second, *more, "--resume_from_checkpoint", str(middle))
        assert_same_end(whole, resumed)

    def test_compiled_steps_end_alike_when_resumed(self, train, monkeypatch):
        monkeypatch.setattr(graph, "COMPILED_FROM", 1)
        more = ["--max_train_steps", "200", "--eval_steps", "50", "--checkpointing_steps", "90"]
        whole, said = train("labels", RecordedGraph, *more)
        if "steps of 16 exams are one graph, with torch.compile" not in said:
            pytest.skip(f"needs torch.compile: {said}")
        middle = whole / "checkpoints" / "step-00000090"
        resumed, _ = train("labels", RecordedGraph, *more, "--resume_from_checkpoint", str(middle))
        assert_same_end(whole, resumed)
