"""``swarm completion``: scripts that complete commands and options in a shell."""

import click
from click.shell_completion import get_completion_class

EXAMPLES = """\b
Examples:
  echo 'eval "$(swarm completion bash)"' >> ~/.bashrc
  echo 'eval "$(swarm completion zsh)"' >> ~/.zshrc
  swarm completion fish > ~/.config/fish/completions/swarm.fish"""


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands and options in your shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    command = ctx.find_root().command
    click.echo(kind(command, {}, "swarm", "_SWARM_COMPLETE").source())
