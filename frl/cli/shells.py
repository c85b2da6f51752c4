"""What bash, zsh and fish run to complete a command line: scripts made of commands and the words that these take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHELLS = ("bash", "zsh", "fish")

Words = Mapping[str, Sequence[str]]
"""By command: its options, and the fixed words that it takes."""


def script(shell: str, summaries: Mapping[str, str], words: Words) -> str:
    """The script for one of ``SHELLS``.

    Args:
        shell: which one.
        summaries: a line about each command.
        words: of each of these.
    """
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](summaries, words)


def _bash(summaries: Mapping[str, str], words: Words) -> str:
    cases = "\n".join(f'        {name}) words="{" ".join(found)}" ;;' for name, found in words.items())
    return BASH.replace("@COMMANDS@", " ".join(summaries)).replace("@CASES@", cases)


BASH = """_frl() {
    local words=""
    case "${COMP_WORDS[1]}" in
@CASES@
    esac
    [ "$COMP_CWORD" -eq 1 ] && words="@COMMANDS@"
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _frl frl"""
"""Where no word fits, files do."""


def _zsh(summaries: Mapping[str, str], words: Words) -> str:
    commands = "\n".join(f"            {_quoted(f'{name}:{summary}')}" for name, summary in summaries.items())
    cases = "\n".join(f"        {name}) offered=({' '.join(found)}) ;;" for name, found in words.items())
    return ZSH.replace("@COMMANDS@", commands).replace("@CASES@", cases)


ZSH = """(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
_frl() {
    local -a offered
    if (( CURRENT == 2 )); then
        offered=(
@COMMANDS@
        )
        _describe command offered
        return
    fi
    case "$words[2]" in
@CASES@
    esac
    if [[ "$PREFIX" == -* ]]; then
        compadd -- ${(M)offered:#-*}
    else
        compadd -- ${offered:#-*}
        _files
    fi
}
compdef _frl frl"""
"""The names of options are offered behind a dash alone: else the files that most arguments are would drown in them."""


def _fish(summaries: Mapping[str, str], words: Words) -> str:
    lines = [FISH]
    for name, summary in summaries.items():
        lines.append(f"complete -c frl -n '__frl_command' -f -a {name} -d {_escaped(summary)}")
    for name, found in words.items():
        seen = f"-n '__frl_command {name}'"
        lines += [f"complete -c frl {seen} -l {word[2:]}" for word in found if word.startswith("--")]
        lines += [f"complete -c frl {seen} -a {word}" for word in found if not word.startswith("--")]
    return "\n".join(lines)


FISH = """function __frl_command
    set -l typed (commandline -opc)
    if set -q argv[1]
        test (count $typed) -gt 1; and test "$typed[2]" = "$argv[1]"
    else
        test (count $typed) -eq 1
    end
end"""
"""Whether the command before the cursor is the one that is named; without a name, whether there is none yet. fish's own
function finds a command in any argument: a file called report would be one."""


def _quoted(text: str) -> str:
    """As bash and zsh read it between quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def _escaped(text: str) -> str:
    """As fish reads it between quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
