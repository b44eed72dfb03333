"""What `serve.py` imports from a model's folder: here the package's own handler."""

from modeling_ecgclip.handler_ecgclip import EndpointHandler


__all__ = ["EndpointHandler"]
