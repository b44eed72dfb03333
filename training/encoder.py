"""Where the ECG encoder of a run comes from."""

from transformers import AutoConfig

from modeling_ecgclip import (
    LABEL_NAMES,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    EcgResNetModel,
)
from training.arguments import EncoderArguments


def encoder_config(args: EncoderArguments) -> EcgResNetConfig:
    """Returns the configuration of `--model_name_or_path` or `--encoder_preset`, with the dropout asked for."""
    changes = {} if args.dropout is None else {"dropout": args.dropout}
    if args.model_name_or_path is None:
        return EcgResNetConfig.from_preset(args.encoder_preset, **changes)
    config = AutoConfig.from_pretrained(args.model_name_or_path, revision=args.model_revision or "main")
    config = getattr(config, "ecg_config", config)
    if config.model_type != EcgResNetConfig.model_type:
        raise ValueError(
            f"{args.model_name_or_path} holds a model of type {config.model_type}: expected ecg_resnet or ecgclip"
        )
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def load_encoder(args: EncoderArguments) -> EcgResNetModel:
    """Returns the encoder of `--model_name_or_path`."""
    return EcgResNetModel.from_pretrained(
        args.model_name_or_path, config=encoder_config(args), revision=args.model_revision or "main"
    )


def load_classifier(args: EncoderArguments) -> EcgResNetForSignalClassification:
    """Returns a classifier from `--model_name_or_path` (what is new in it is reported), or with random weights."""
    config = encoder_config(args)
    config.thresholds = None  # an earlier training's; this one chooses its own
    other_head = tuple(config.id2label.values()) != LABEL_NAMES
    config.id2label, config.problem_type = dict(enumerate(LABEL_NAMES)), "multi_label_classification"
    config.label2id = {label: i for i, label in config.id2label.items()}
    if args.model_name_or_path is None:
        return EcgResNetForSignalClassification(config)
    model = EcgResNetForSignalClassification.from_pretrained(
        args.model_name_or_path,
        config=config,
        revision=args.model_revision or "main",
        ignore_mismatched_sizes=other_head,
    )
    if other_head:
        # A head for something else, such as the age of lima2021 or six other labels: its weights mean nothing here.
        model.classifier = EcgResNetForSignalClassification(config).classifier
    return model


def load_feature_extractor(args: EncoderArguments) -> EcgFeatureExtractor:
    """Returns the preprocessing that belongs to `--model_name_or_path`, or the default one."""
    if args.model_name_or_path is None:
        return EcgFeatureExtractor()
    return EcgFeatureExtractor.from_pretrained(args.model_name_or_path, revision=args.model_revision or "main")
