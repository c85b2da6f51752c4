"""What the Triton kernels of the augmentation take of a GPU, compiled ahead for one that need not be here.

    python scripts/bench/registers.py                     python scripts/bench/registers.py --capability 80

Triton's wheel brings NVIDIA's assembler, so that an H100's machine code is made on any machine. Nothing is executed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
import tyro
from bench_report import table
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import compiler as nvidia
from triton.compiler import ASTSource

from frl import console
from pipelines.augment.gpu import kernels

TOOLS = Path(nvidia.__file__).with_name("bin")
ARGUMENTS = {
    **{"crops": "*fp16", "views": "*bf16"},
    **dict.fromkeys(("packed", "sums", "mean", "std"), "*fp32"),
    **dict.fromkeys(("first", "count", "total", "crops_in_all", "size"), "i32"),
}
"""Of every kernel, as the training passes them; sizes are multiples of 16, as are addresses."""
REGISTERS = 65536  # of a multiprocessor


@dataclass(frozen=True)
class Registers:
    """For which GPU."""

    capability: int = 90
    """Compute capability: 90 for an H100, 80 for an A100."""


@dataclass(frozen=True)
class Resources:
    """What one kernel takes.

    Attributes:
        kernel: its name.
        registers: of a thread.
        spilled: bytes of a thread's registers that did not fit and went to memory.
        shared: bytes of shared memory of a program.
        threads: of a program.
    """

    kernel: str
    registers: int
    spilled: int
    shared: int
    threads: int


def resources(capability: int = 90) -> Iterator[Resources]:
    """Of each kernel, at the sizes of the paper's larger crops."""
    parts = triton.next_power_of_2(triton.cdiv(224, kernels.TILE) ** 2)
    yield compiled(kernels.sum_luma, {"SIDE": kernels.TILE}, capability)
    yield compiled(kernels.colour, {"SIDE": kernels.TILE, "PARTS": parts}, capability)
    yield compiled(kernels.blur_tile, {"AROUND": kernels.SPAN}, capability)


def compiled(kernel: Any, constants: dict[str, int], capability: int) -> Resources:
    """Compile one kernel to machine code and read what the assembler wrote into it."""
    names = kernel.arg_names
    signature = {name: ARGUMENTS.get(name, "constexpr") for name in names}
    divisible = [i for i, name in enumerate(names) if signature[name].startswith("*") or name == "size"]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i in divisible},
    )
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(made.asm["cubin"])
        command = [str(TOOLS / "cuobjdump"), "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    # What of the registers did not fit is on the thread's stack; these kernels have nothing else there.
    registers, stack = (int(number) for number in re.findall(r"(?:REG|STACK):(\d+)", said))
    return Resources(kernel.__name__, registers, stack, made.metadata.shared, 32 * made.metadata.num_warps)


def in_words(found: list[Resources]) -> str:
    """Markdown."""
    head = ("kernel", "registers of a thread", "spilled", "shared memory of a program", "programs at once by registers")
    return table(
        head,
        (
            (
                f"`{one.kernel}`",
                f"{one.registers}",
                f"{one.spilled} B",
                f"{one.shared:,} B",
                f"{REGISTERS // (one.threads * -(-one.registers // 8) * 8)} of {one.threads} threads",
            )
            for one in found
        ),
    )


def main() -> None:
    """Compile and print."""
    config = tyro.cli(Registers, description=__doc__)
    print(in_words(list(resources(config.capability))))


if __name__ == "__main__":
    sys.exit(console.run("bench registers", main))
