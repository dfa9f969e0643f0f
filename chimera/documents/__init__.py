"""The interfaces described: OpenAPI per HTTP port and AsyncAPI for NATS, generated from ``subjects``."""

from .asyncapi import asyncapi
from .openapi import openapi
from .writing import DOCUMENTS, render_document, write_documents

__all__ = ["DOCUMENTS", "asyncapi", "openapi", "render_document", "write_documents"]
