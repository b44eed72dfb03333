"""Where the ECG encoder of a run comes from."""

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from modeling_ecgclip import LABEL_NAMES, EcgFeatureExtractor, EcgForSignalClassification
from modeling_ecgclip.hub_ecgclip import check_preprocessing
from modeling_ecgclip.signal_ecgclip import SignalSpec, check_same_signal
from modeling_ecgclip.towers_ecgclip import classifier_class, load_tower
from modeling_ecgclip.towers_ecgclip import encoder_config as preset_config
from training.arguments import EncoderArguments


def encoder_config(args: EncoderArguments, signal: SignalSpec) -> PreTrainedConfig:
    """
    Returns the configuration of `--model_name_or_path`, or of `--encoder_preset` for the exam table's signal; with the
    dropout asked for.

    Args:
        args (`EncoderArguments`): The command line's.
        signal (`SignalSpec`): Of the exam table.

    Raises:
        `ValueError`: for a model that is no ECG encoder, one that reads another signal than the table holds, or one
            without the dropout that is to change.
    """
    changes = {} if args.dropout is None else {"dropout": args.dropout}
    if args.model_name_or_path is None:
        return preset_config(args.encoder_preset, **vars(signal), **changes)
    config = AutoConfig.from_pretrained(args.model_name_or_path, revision=args.model_revision or "main")
    config = getattr(config, "ecg_config", config)
    for name in ("lead_names", "hidden_size", *changes):
        if not hasattr(config, name):
            raise ValueError(
                f"{args.model_name_or_path} holds a model of type {config.model_type}: expected an ECG encoder, whose "
                f"configuration states {name}"
            )
    parts = (("the exam table", signal), (args.model_name_or_path, SignalSpec.of(config)))
    check_same_signal(parts, "--model_name_or_path")
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def load_encoder(args: EncoderArguments, config: PreTrainedConfig) -> PreTrainedModel:
    """Returns the encoder of `--model_name_or_path`, with its configuration from [`encoder_config`]."""
    return load_tower(args.model_name_or_path, config, revision=args.model_revision or "main")


def load_classifier(args: EncoderArguments, config: PreTrainedConfig) -> EcgForSignalClassification:
    """Returns a classifier from `--model_name_or_path` (what is new in it is reported), or with random weights."""
    config.thresholds = None  # an earlier training's; this one chooses its own
    other_head = tuple((config.id2label or {}).values()) != LABEL_NAMES
    config.id2label, config.problem_type = dict(enumerate(LABEL_NAMES)), "multi_label_classification"
    config.label2id = {label: i for i, label in config.id2label.items()}
    model_class = classifier_class(config)
    if args.model_name_or_path is None:
        return model_class(config)
    model = model_class.from_pretrained(
        args.model_name_or_path,
        config=config,
        revision=args.model_revision or "main",
        ignore_mismatched_sizes=other_head,
    )
    if other_head:
        # A head for something else, such as the age of lima2021 or six other labels: its weights mean nothing here.
        model.classifier = model_class(config).classifier
    return model


def load_feature_extractor(args: EncoderArguments, config: PreTrainedConfig) -> EcgFeatureExtractor:
    """
    Returns the preprocessing that belongs to `--model_name_or_path`, or to a model that starts from random weights.

    Args:
        args (`EncoderArguments`): The command line's.
        config (`PreTrainedConfig`): From [`encoder_config`].

    Raises:
        `ValueError`: where it gives another signal than the encoder reads.
    """
    if args.model_name_or_path is None:
        return EcgFeatureExtractor.for_model(config)
    extractor = EcgFeatureExtractor.from_pretrained(args.model_name_or_path, revision=args.model_revision or "main")
    check_preprocessing(config, extractor, args.model_name_or_path)
    return extractor
