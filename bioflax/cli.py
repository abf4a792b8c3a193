"""The `bioflax` command: `bioflax COMMAND [hydra overrides]`."""

from __future__ import annotations

import os
import sys

from bioflax.configuration import COMMANDS, run

USAGE = """bioflax: deep learning for microscopy, beside its physical bounds and classical baselines

usage: bioflax COMMAND [overrides]

commands:
{commands}

An override is name=value, such as:
  bioflax train experiment=denoise_n2v data.folder=./images run_dir=runs/first
  bioflax predict model=runs/first input=./images output=./restored
  bioflax evaluate model=runs/first input=./noisy target=./clean run_dir=runs/first/evaluation

`bioflax COMMAND --help` shows what a command takes, `bioflax COMMAND --cfg job` the whole configuration.
Several values sweep: `bioflax train -m seed=1,2,3`. A traceback is shown with debug=true.
Tab completion in bash: eval "$(bioflax --completion)"
"""

# Hydra completes the overrides of a command; it takes the first word of COMP_LINE for the program.
COMPLETION = """_bioflax() {{
  COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "${{COMP_WORDS[1]}}"))
  else
    local rest="${{COMP_LINE#* }}"
    COMPREPLY=($(COMP_LINE="$rest" COMP_POINT="${{#rest}}" "${{COMP_WORDS[0]}}" "${{COMP_WORDS[1]}}" -sc query=bash 2>/dev/null))
  fi
}}
complete -o nospace -o default -F _bioflax bioflax"""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    try:
        code = dispatch(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def dispatch(arguments: list[str]) -> int:
    """Runs the command that the first argument names."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())))
        return 0
    if arguments[0] == "--completion":
        print(COMPLETION.format(commands=" ".join(COMMANDS)))
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("bioflax"))
        return 0
    command, overrides = arguments[0], arguments[1:]
    if command not in COMMANDS:
        print(f"bioflax: unknown command {command!r}. There are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    if command == "models" and len(overrides) == 2 and overrides[0] == "show":
        overrides = [f"show={overrides[1]}"]
    return run(command, overrides)


if __name__ == "__main__":
    raise SystemExit(main())
