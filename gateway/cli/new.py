"""The verb that begins something new: a vendor's plugin."""

from pathlib import Path
from typing import Annotated

import typer

from gateway import registry, scaffold

from .app import app, out

new = typer.Typer(no_args_is_help=True, help="Begin something new: a vendor's plugin.")
app.add_typer(new, name="new")


@new.command()
def vendor(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the vendor is called, e.g. demo_desk.")],
    into: Annotated[Path, typer.Option(help="Where the folder is made.")] = Path(),
) -> None:
    """Write a folder NAME with a plugin, a sandbox and tests that already pass. Nothing is ever overwritten."""
    scaffold.check_name(name, registry.load().vendors)
    folder = scaffold.write_vendor(name, into)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        out.print(f"  {path}", highlight=False, soft_wrap=True, markup=False)
    out.print(
        f"Next: cd {folder} && pip install -e '.[test]' && pytest",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
