"""`go2cloud openapi`: the REST API's OpenAPI document, as it is committed."""

import json

import typer

from app.roles import Role


def openapi() -> None:
    """Print the OpenAPI document of the REST API."""
    from app import main
    from app.kit.settings import load_settings

    document = main.create_app(load_settings(), frozenset({Role.API})).openapi()
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
