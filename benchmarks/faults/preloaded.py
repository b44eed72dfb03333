"""What the server of `commands.py` imports before it forks."""

import torch

import data_scripts.code15
import data_scripts.embed_reports
import data_scripts.make_text_model
import data_scripts.publish
import data_scripts.simulate.__main__
import publishing.export
import reproduce
import train_clip
import train_cls
import training.export
import training.publish
from data_scripts.conversion import shards


torch.set_num_threads(1)
# 200 exams fill a tenth of a shard. With shards of this size some are finished when a conversion is killed.
shards.ROWS_PER_SHARD = 32

__all__ = ["data_scripts", "publishing", "reproduce", "train_clip", "train_cls", "training"]
