"""A Space on the Hub that runs a published model in a browser."""

import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.repocard_data import CardData

from common.files import write_text
from common.hub_access import publish_folder
from common.project import PROJECT, project_file, project_modules
from publishing.requirements import REQUIREMENTS, imported_modules, known_version, requirements_of


APP = "app.py"
# The Space starts here: it names the model, and everything else is the app's.
LAUNCHER = "start.py"
LAUNCHER_TEXT = '''"""Starts the app with the models that this Space was made for; its variables replace them."""

import os
import runpy
from pathlib import Path


for name, value in {environment!r}.items():
    os.environ.setdefault(name, value)
runpy.run_path(str(Path(__file__).with_name("app.py")), run_name="__main__")
'''
DATA_FOLDERS = ("space/examples",)  # which no import names
SCRIPTS = ("space/tracing.js",)  # of the page; neither
SDK = "gradio"
README = """---
{metadata}
---

# {title}

Draws an ECG, and reads it with [`{model_id}`](https://huggingface.co/{model_id}); its card says what it was
trained on, how good it is and what it is not for.

**Research software, not a medical device.** Nothing here may decide on anybody's treatment.

A private model needs a token that may read it, as the secret `HF_TOKEN` in this Space's settings. Another model of
ecgclip: the variable `ECGCLIP_MODEL`, and `ECGCLIP_CLIP_MODEL` for words of one's own.
"""


@dataclass(frozen=True)
class SpaceModels:
    """
    What a Space runs.

    Args:
        model (`str`): Classifier on the Hub, `"user/name"`.
        clip_model (`str`, *optional*):
            Dual encoder on the Hub, for words of one's own, and for nearest reports where its repository has an index
            of them.
    """

    model: str
    clip_model: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the app knows its models."""
        named = {"ECGCLIP_MODEL": self.model, "ECGCLIP_CLIP_MODEL": self.clip_model}
        return {name: value for name, value in named.items() if value}


def publish_space(models: SpaceModels, space_id: str, public: bool = False) -> str:
    """
    Publishes the Space of a model in one commit, and returns its address.

    Args:
        models (`SpaceModels`): What it runs.
        space_id (`str`): The Space, `"user/name"`.
        public (`bool`, defaults to `False`): Show it to everybody.

    Raises:
        `FileNotFoundError`: where the app's files or gradio are not installed.
        [`HubAccessError`]: as [`publish_folder`].
    """
    with tempfile.TemporaryDirectory(prefix="ecgclip-space-") as aside:
        write_space(Path(aside), models, space_id)
        return publish_folder(
            aside,
            space_id,
            repo_type="space",
            public=public,
            delete_patterns=("*.py", "*.js", *(f"{name}/*" for name in DATA_FOLDERS)),
            commit_message=f"Space for {models.model}",
            space_sdk=SDK,
        )


def write_space(folder: Path, models: SpaceModels, space_id: str) -> None:
    """Writes the files of a Space into an empty folder; arguments and errors as [`publish_space`]."""
    sdk_version = known_version(SDK)
    app = project_file(APP)
    modules = sorted(project_modules(app))
    shutil.copyfile(app, folder / APP)
    data = [path for name in DATA_FOLDERS for path in sorted((PROJECT / name).iterdir()) if path.is_file()]
    for path in [*modules, *data, *(PROJECT / name for name in SCRIPTS)]:
        target = folder / path.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    write_text(folder / LAUNCHER, LAUNCHER_TEXT.format(environment=models.environment))
    brought = {SDK, *(path.relative_to(PROJECT).parts[0] for path in modules)}
    needed = (imported_modules([app, *modules]) | {"safetensors"}) - brought
    write_text(folder / REQUIREMENTS, "\n".join(requirements_of(needed)))
    title = space_id.rpartition("/")[2]
    facts = CardData(
        title=title,
        colorFrom="red",
        colorTo="blue",
        sdk=SDK,
        sdk_version=sdk_version,
        python_version=".".join(platform.python_version_tuple()[:2]),
        app_file=LAUNCHER,
        models=list(models.environment.values()),
        tags=["ecg", "electrocardiogram", "medical"],
        license="apache-2.0",
        pinned=False,
    )
    write_text(folder / "README.md", README.format(metadata=facts.to_yaml(), title=title, model_id=models.model))
