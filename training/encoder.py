"""Where the ECG encoder of a run comes from."""

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from modeling_ecgclip import LABEL_NAMES, EcgFeatureExtractor, EcgForSignalClassification
from modeling_ecgclip.towers_ecgclip import classifier_class, load_tower
from modeling_ecgclip.towers_ecgclip import encoder_config as preset_config
from training.arguments import EncoderArguments


def encoder_config(args: EncoderArguments) -> PreTrainedConfig:
    """
    Returns the configuration of `--model_name_or_path` or `--encoder_preset`, with the dropout asked for.

    Raises:
        `ValueError`: for a model that is no ECG encoder, or one without the dropout that is to change.
    """
    changes = {} if args.dropout is None else {"dropout": args.dropout}
    if args.model_name_or_path is None:
        return preset_config(args.encoder_preset, **changes)
    config = AutoConfig.from_pretrained(args.model_name_or_path, revision=args.model_revision or "main")
    config = getattr(config, "ecg_config", config)
    for name in ("lead_names", "hidden_size", *changes):
        if not hasattr(config, name):
            raise ValueError(
                f"{args.model_name_or_path} holds a model of type {config.model_type}: expected an ECG encoder, whose "
                f"configuration states {name}"
            )
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def load_encoder(args: EncoderArguments) -> PreTrainedModel:
    """Returns the encoder of `--model_name_or_path`."""
    return load_tower(args.model_name_or_path, encoder_config(args), revision=args.model_revision or "main")


def load_classifier(args: EncoderArguments) -> EcgForSignalClassification:
    """Returns a classifier from `--model_name_or_path` (what is new in it is reported), or with random weights."""
    config = encoder_config(args)
    config.thresholds = None  # an earlier training's; this one chooses its own
    other_head = tuple(config.id2label.values()) != LABEL_NAMES
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


def load_feature_extractor(args: EncoderArguments) -> EcgFeatureExtractor:
    """Returns the preprocessing that belongs to `--model_name_or_path`, or the default one."""
    if args.model_name_or_path is None:
        return EcgFeatureExtractor()
    return EcgFeatureExtractor.from_pretrained(args.model_name_or_path, revision=args.model_revision or "main")
