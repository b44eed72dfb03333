"""A Space on the Hub that runs a published model in a browser."""


def publish_space(model_id: str, space_id: str, public: bool = False) -> str:
    """Publishes the Space."""
