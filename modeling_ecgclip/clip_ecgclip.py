"""The dual encoder: an ECG tower and a text tower with a joint space, and its configuration."""

import inspect
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.configuration_utils import SubConfigSpec
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_ecgclip import EcgResNetConfig
from .encoder_ecgclip import EcgForSignalClassification, EcgPreTrainedModel
from .hub_ecgclip import load_verified, verify_settings
from .labels_ecgclip import CODE_LABELS
from .losses_ecgclip import clip_loss, siglip_loss
from .towers_ecgclip import build_tower, classifier_class, load_tower, tower_config


@strict
class EcgClipConfig(PreTrainedConfig):
    r"""
    Configuration of the dual encoder ([`EcgClipModel`]): an ECG tower, a text tower and what joins them.

    Args:
        ecg_config (`PreTrainedConfig` or `dict`, *optional*):
            Any ECG tower (see `encoder_ecgclip.py`); `model_type` decides (default `"ecg_resnet"`).
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            Any text encoder of transformers that `AutoModel` builds; `model_type` decides (default `"bert"`).
        projection_dim (`int`, *optional*):
            Width of the joint space. Left out: the width of the text tower, as in the paper. With
            `text_projection="identity"` it can be nothing else.
        text_projection (`str`, defaults to `"identity"`):
            `"identity"` (the paper) or `"linear"`.
        text_pooling (`str`, defaults to `"mean"`):
            How token states become one vector: `"mean"` over the attention mask or `"cls"`, the first token.
        center_text (`bool`, defaults to `False`):
            Subtract the buffer `text_center` (mean text embedding of the training set) before projecting. For text
            encoders whose embeddings all point one way.
        logit_scale_init_value (`float`, defaults to log(1 / 0.07)):
            Natural logarithm of the initial inverse temperature, as in CLIP.
        max_logit_scale (`float`, defaults to log(100)):
            Upper bound of the learned logarithm; CLIP, section 2.5 (https://arxiv.org/abs/2103.00020).
        logit_bias_init_value (`float`, *optional*):
            Given, the logits have a learned bias that starts here, and the loss is the sigmoid one (SigLIP).
        label_details (`list[dict]`, *optional*):
            `name`, `title` and `phrase` of the labels that this model was measured on without training on them; see
            [`Label`]. Left out, CODE's.
        measurement_names (`list[str]`, *optional*):
            Numbers that the ECG tower was also trained to tell, in the order of `measurements`. Left out: none.
    """

    model_type = "ecgclip"
    sub_configs_defaults = {
        "ecg_config": SubConfigSpec(config_class=EcgResNetConfig),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
    }

    ecg_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_dim: int | None = None
    text_projection: Literal["identity", "linear"] = "identity"
    text_pooling: Literal["mean", "cls"] = "mean"
    center_text: bool = False
    logit_scale_init_value: float | int = math.log(1 / 0.07)
    max_logit_scale: float | int = math.log(100)
    logit_bias_init_value: float | int | None = None
    label_details: tuple[dict[str, str], ...] | list[dict[str, str]] | None = None
    measurement_names: tuple[str, ...] | list[str] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self.ecg_config = tower_config(self.ecg_config)
        if self.label_details is None:
            self.label_details = [label.to_dict() for label in CODE_LABELS]
        if self.id2label is None and kwargs.get("num_labels") is None:
            self.id2label = {i: label["name"] for i, label in enumerate(self.label_details)}
            self.label2id = {label: i for i, label in self.id2label.items()}
        super().__post_init__(**kwargs)
        ecg_config: Any = self.ecg_config  # configurations by now, whatever was given
        text_config: Any = self.text_config
        text_width = text_config.hidden_size
        if self.projection_dim is None:
            self.projection_dim = text_width
        if self.text_projection == "identity" and self.projection_dim != text_width:
            raise ValueError(
                f"text_projection='identity' needs projection_dim {text_width}, the width of the text tower: "
                f"found {self.projection_dim}"
            )
        for sub_config in (ecg_config, text_config):
            # A tower's own dtype would build that tower alone in it; its path is a place on somebody's machine.
            sub_config.dtype = self.dtype
            sub_config._name_or_path = ""


@dataclass
class EcgClipOutput(ModelOutput):
    """
    Output of [`EcgClipModel`].

    Args:
        loss (`torch.Tensor`, *optional*, with `return_loss=True`): Contrastive loss, scalar.
        logits_per_ecg (`torch.Tensor` of shape `(ecg_batch, text_batch)`): Scaled cosine similarities.
        logits_per_text (`torch.Tensor` of shape `(text_batch, ecg_batch)`): Their transpose.
        ecg_embeds (`torch.Tensor` of shape `(ecg_batch, projection_dim)`): L2-normalised.
        text_embeds (`torch.Tensor` of shape `(text_batch, projection_dim)`): L2-normalised.
        measurements (`torch.Tensor` of shape `(ecg_batch, numbers)`, *optional*):
            What the ECG tower tells of `measurement_names`, in their units. An estimate that training needs;
            `measure_ecg` measures.
    """

    loss: torch.Tensor | None = None
    logits_per_ecg: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    ecg_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    measurements: torch.Tensor | None = None


def pool_tokens(last_hidden_state: torch.Tensor, attention_mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """
    Returns one vector for each text: H_t of the paper, not normalised.

    Args:
        last_hidden_state (`torch.Tensor` of shape `(batch, tokens, width)`): Of the text tower.
        attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*): 1 for tokens, 0 for padding.
        pooling (`str`): `"mean"` over the tokens that the mask shows, or `"cls"`, the first token.

    Returns:
        `torch.Tensor` of shape `(batch, width)`.
    """
    if pooling == "cls":
        return last_hidden_state[:, 0]
    if pooling != "mean":
        raise ValueError(f"text pooling must be 'mean' or 'cls': found {pooling!r}")
    if attention_mask is None:
        return last_hidden_state.mean(dim=1)
    mask = attention_mask[:, :, None].to(last_hidden_state.dtype)  # (batch, tokens, 1)
    return (last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


_AUTO_CLASSES = {
    "AutoConfig": "clip_ecgclip.EcgClipConfig",
    "AutoModel": "clip_ecgclip.EcgClipModel",
    "AutoModelForAudioClassification": "clip_ecgclip.EcgClipForSignalClassification",
}


class EcgClipModel(EcgPreTrainedModel):
    """
    ECG tower and text tower with a joint space, trained by the contrastive loss.

    The text tower may be any encoder of transformers; its pooled output (see [`pool_tokens`]) can be computed once and
    passed as `text_embeds`, so that training never runs it.
    """

    config_class = EcgClipConfig
    base_model_prefix = ""
    auto_classes = _AUTO_CLASSES
    tasks = ("zero-shot-ecg-classification", "ecg-feature-extraction")

    text_center: torch.Tensor
    measurement_mean: torch.Tensor
    measurement_spread: torch.Tensor

    def __init__(self, config: EcgClipConfig):
        super().__init__(config)
        # The configuration completes itself: neither dictionaries nor None are left.
        ecg_config: Any = config.ecg_config
        text_config: Any = config.text_config
        width: Any = config.projection_dim
        self.ecg_model = build_tower(ecg_config)
        self.text_model = AutoModel.from_config(text_config, **_without_pooler(text_config))
        self.ecg_projection = nn.Linear(ecg_config.hidden_size, width)
        self.text_projection = (
            nn.Identity() if config.text_projection == "identity" else nn.Linear(text_config.hidden_size, width)
        )
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        bias = config.logit_bias_init_value
        self.logit_bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))
        self.register_buffer("text_center", torch.zeros(text_config.hidden_size))
        self.measurement_head = None
        if config.measurement_names:
            n_numbers = len(config.measurement_names)
            self.measurement_head = nn.Linear(ecg_config.hidden_size, n_numbers)
            self.register_buffer("measurement_mean", torch.zeros(n_numbers))
            self.register_buffer("measurement_spread", torch.ones(n_numbers))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, EcgClipModel):
            init.constant_(module.logit_scale, module.config.logit_scale_init_value)
            if module.logit_bias is not None:
                init.constant_(module.logit_bias, module.config.logit_bias_init_value)
            init.zeros_(module.text_center)
            if module.measurement_head is not None:
                init.zeros_(module.measurement_mean)
                init.ones_(module.measurement_spread)
        else:
            super()._init_weights(module)

    @classmethod
    def from_ecg_text_pretrained(
        cls,
        ecg: str | PreTrainedModel | PreTrainedConfig,
        text_model_name_or_path: str,
        text_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> "EcgClipModel":
        """
        Returns a dual encoder from an ECG tower and a text encoder; projections and temperature are new.

        Args:
            ecg (`str`, `PreTrainedModel` or `PreTrainedConfig`):
                Folder or Hub id of a tower or classifier, a tower, or a configuration (random weights).
            text_model_name_or_path (`str`): Folder or Hub id of a text encoder, such as `"pucpr/biobertpt-all"`.
            text_kwargs (`dict`, *optional*): For `AutoModel.from_pretrained` of the text encoder (`revision`, ...).
            kwargs: Fields of [`EcgClipConfig`].
        """
        text_kwargs = text_kwargs or {}
        if isinstance(ecg, str):
            ecg = load_tower(ecg)
        verify_settings(text_model_name_or_path, **text_kwargs)
        text_config = AutoConfig.from_pretrained(text_model_name_or_path, **text_kwargs)
        ecg_config = ecg if isinstance(ecg, PreTrainedConfig) else ecg.config
        config = cls.config_class(
            ecg_config=type(ecg_config).from_dict(ecg_config.to_dict()), text_config=text_config.to_dict(), **kwargs
        )
        model = cls(config)
        # In place, so that both towers read the joined configuration's parts.
        load_text_model = partial(
            AutoModel.from_pretrained, text_model_name_or_path, dtype=model.dtype, **_without_pooler(text_config)
        )
        text_model = load_verified(partial(load_text_model, **text_kwargs), text_model_name_or_path, **text_kwargs)
        model.text_model.load_state_dict(text_model.state_dict())
        if not isinstance(ecg, PreTrainedConfig):
            model.ecg_model.load_state_dict(ecg.state_dict())
        return model

    def get_input_embeddings(self) -> nn.Module:
        """Returns the text tower's token embeddings; an ECG has none."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the text tower's token embeddings."""
        self.text_model.set_input_embeddings(value)

    def get_ecg_features(
        self,
        input_values: torch.Tensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        ecg_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Returns the ECGs' places in the joint space, (batch, projection_dim), L2-normalised.

        Args:
            input_values (`torch.Tensor` of shape `(batch, leads, samples)`): Millivolts.
            ecg_attention_mask (`torch.Tensor` of shape `(batch, leads, samples)`, *optional*): 1 where recorded.
            ecg_embeds (`torch.Tensor` of shape `(batch, ecg hidden_size)`, *optional*):
                Pooled output of the ECG tower, computed before; then the tower does not run.
        """
        return self._joined(self._pooled_ecg(input_values, ecg_attention_mask, ecg_embeds))

    def _pooled_ecg(
        self,
        input_values: torch.Tensor | None,
        ecg_attention_mask: torch.Tensor | None,
        ecg_embeds: torch.Tensor | None,
    ) -> torch.Tensor:
        """The ECG tower's output, (batch, ecg hidden_size); arguments as in `get_ecg_features`."""
        if ecg_embeds is not None:
            return ecg_embeds
        if input_values is None:
            raise ValueError("get_ecg_features needs input_values or ecg_embeds: found neither")
        mask = {} if ecg_attention_mask is None else {"ecg_attention_mask": ecg_attention_mask}
        return self.ecg_model(input_values, **mask).pooler_output

    def _joined(self, pooled: torch.Tensor) -> torch.Tensor:
        """Places in the joint space, (batch, projection_dim), of the ECG tower's output."""
        return F.normalize(self.ecg_projection(pooled), dim=-1)

    def set_measurement_units_(self, mean: np.ndarray, spread: np.ndarray) -> None:
        """Sets mean and spread of the training exams' measurements, (numbers,) each: the units of the head."""
        self.measurement_mean.copy_(torch.from_numpy(mean))
        self.measurement_spread.copy_(torch.from_numpy(spread))

    def _measurements(self, pooled: torch.Tensor) -> torch.Tensor | None:
        """What the ECG tower's output tells of `measurement_names`, (batch, numbers)."""
        if self.measurement_head is None:
            return None
        return self.measurement_head(pooled) * self.measurement_spread + self.measurement_mean

    def get_text_features(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """
        Returns the texts' places in the joint space, (batch, projection_dim), L2-normalised.

        A tensor, where transformers 5 has an output class: pipelines that were published with release 0.1.0 multiply
        it. For hidden states and attentions call `text_model`.

        Args:
            input_ids, attention_mask (`torch.Tensor` of shape `(batch, tokens)`): From the tokenizer.
            text_embeds (`torch.Tensor` of shape `(batch, text width)`, *optional*):
                Pooled output of the text tower, computed before; then the tower does not run.
            kwargs: Further inputs of the text tower (`token_type_ids`, ...).
        """
        if text_embeds is None:
            if input_ids is None:
                raise ValueError("get_text_features needs input_ids or text_embeds: found neither")
            tokens = self.text_model(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
            text_embeds = pool_tokens(tokens, attention_mask, self.config.text_pooling)  # (batch, text width)
        text_embeds = text_embeds.to(self.text_center.dtype)
        if self.config.center_text:
            text_embeds = text_embeds - self.text_center
        return F.normalize(self.text_projection(text_embeds), dim=-1)

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        report_ids: torch.Tensor | None = None,
        return_loss: bool | None = None,
        ecg_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> EcgClipOutput:
        """
        Returns both embeddings and their similarities, and the loss where it is asked for.

        Args:
            input_values (`torch.Tensor` of shape `(ecg_batch, leads, samples)`): Millivolts.
            input_ids, attention_mask (`torch.Tensor` of shape `(text_batch, tokens)`): From the tokenizer.
            text_embeds (`torch.Tensor` of shape `(text_batch, text width)`, *optional*):
                Pooled output of the text tower in place of `input_ids`.
            ecg_attention_mask (`torch.Tensor` of shape `(ecg_batch, leads, samples)`, *optional*): 1 where recorded.
            report_ids (`torch.Tensor` of shape `(batch,)`, *optional*):
                Exams with equal ids become positives of each other.
            return_loss (`bool`, *optional*):
                Compute the loss, [`siglip_loss`] for a model with a bias or else [`clip_loss`]; then both batches are
                pairs.
            ecg_embeds (`torch.Tensor` of shape `(ecg_batch, ecg hidden_size)`, *optional*):
                Pooled output of the ECG tower in place of `input_values`.
        """
        pooled = self._pooled_ecg(input_values, ecg_attention_mask, ecg_embeds)  # (ecg_batch, ecg hidden_size)
        ecg_embeds = self._joined(pooled)
        text_embeds = self.get_text_features(input_ids, attention_mask, text_embeds, **kwargs)
        logits_per_ecg = self.logit_scale.exp() * ecg_embeds @ text_embeds.T  # (ecg_batch, text_batch)
        if self.logit_bias is not None:
            logits_per_ecg = logits_per_ecg + self.logit_bias
        loss = self.contrastive_loss(ecg_embeds, text_embeds, report_ids) if return_loss else None
        return EcgClipOutput(
            loss=loss,
            logits_per_ecg=logits_per_ecg,
            logits_per_text=logits_per_ecg.T,
            ecg_embeds=ecg_embeds,
            text_embeds=text_embeds,
            measurements=self._measurements(pooled),
        )

    def contrastive_loss(
        self,
        ecg_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        report_ids: torch.Tensor | None = None,
        gather: bool | list[int] = False,
    ) -> torch.Tensor:
        """Returns the loss of embeddings of this model; arguments as in [`clip_loss`]."""
        if self.logit_bias is None:
            return clip_loss(ecg_embeds, text_embeds, self.logit_scale, report_ids, gather)
        return siglip_loss(ecg_embeds, text_embeds, self.logit_scale, self.logit_bias, report_ids, gather)

    @torch.no_grad()
    def clamp_logit_scale_(self) -> None:
        """Keeps the temperature in bounds; called after each optimizer step."""
        self.logit_scale.clamp_(max=self.config.max_logit_scale)


class EcgClipForSignalClassification(EcgPreTrainedModel):
    """
    What `AutoModelForAudioClassification` finds for the folder of a dual encoder: the classifier of its ECG tower.

    Nothing is an instance of this class: `from_pretrained` returns the tower's own classifier, whose head is new.
    """

    config_class = EcgClipConfig

    @classmethod
    def from_pretrained(  # type: ignore[override]  # it returns another class, that of the tower
        cls, pretrained_model_name_or_path: str, *model_args: Any, config: Any = None, **kwargs: Any
    ) -> EcgForSignalClassification:
        """
        Returns a classifier with the tower of a dual encoder and a new head.

        Args:
            pretrained_model_name_or_path (`str`): Folder or repository id of an [`EcgClipModel`].
            config (`EcgClipConfig`, *optional*): Its labels become the classifier's.
            kwargs: As for any model of transformers (`revision`, `dtype`, ...).
        """
        if config is None:
            config, kwargs = EcgClipConfig.from_pretrained(
                pretrained_model_name_or_path, return_unused_kwargs=True, **kwargs
            )
        of_tower = config.ecg_config
        of_tower.id2label, of_tower.label_details = config.id2label, config.label_details
        if config.problem_type is not None:
            of_tower.problem_type = config.problem_type
        return classifier_class(of_tower).from_pretrained(pretrained_model_name_or_path, config=of_tower, **kwargs)


def _without_pooler(text_config: Any) -> dict[str, bool]:
    """A pooler that no loss reaches gives wrong gradients under DistributedDataParallel: build without."""
    text_class: Any = MODEL_MAPPING.get(type(text_config), None)
    takes_it = text_class is not None and "add_pooling_layer" in inspect.signature(text_class.__init__).parameters
    return {"add_pooling_layer": False} if takes_it else {}


__all__ = ["EcgClipConfig", "EcgClipForSignalClassification", "EcgClipModel", "EcgClipOutput", "pool_tokens"]
