"""What Inference Endpoints and `serve.py` import from a model's folder; the work is done in `handler_ecgclip.py`.

They import this file by itself, so that it cannot import its siblings. transformers can: it loads the code of a folder
as a package, as it does for the model itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.dynamic_module_utils import get_class_from_dynamic_module


if TYPE_CHECKING:
    # Named here so that it travels with this file.
    from .handler_ecgclip import EndpointHandler as EcgEndpointHandler


class EndpointHandler:
    """
    The handler of the model in this folder.

    Args:
        path (`str`): The folder; that of this file where left out.
    """

    def __init__(self, path: str = ""):
        folder = str(path) or str(Path(__file__).resolve().parent)
        handler_class = get_class_from_dynamic_module("handler_ecgclip.EndpointHandler", folder)
        self.handler: EcgEndpointHandler = handler_class(folder)

    def __call__(self, data: dict[str, Any]) -> Any:
        """Returns the answer to a request: `data` holds `inputs` and optionally `parameters`."""
        return self.handler(data)

    @staticmethod
    def preparer_class(path: str) -> Any:
        """Returns what reads requests for the model in a folder, without its weights."""
        return get_class_from_dynamic_module("prepared_request_ecgclip.RequestPreparer", path)(path)
