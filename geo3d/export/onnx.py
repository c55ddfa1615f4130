"""Networks as ONNX: what any of them needs. Parts with their inputs and outputs, the folder and its manifest, ONNX Runtime.

`geo3d.export.networks` says what of each network is written.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import shutil
import tempfile
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geo3d.descriptions import shortened
from geo3d.zoo.weights import WeightsInfo

FORMAT = "geo3d onnx 1"
MANIFEST, REST, NETWORK = "manifest.json", "rest.safetensors", "network.onnx"
OPSET = 18  # the first that torch's exporter writes without conversion
PACKAGES = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class Part:
    """A file to write.

    Attributes:
        file: its name.
        module: what it computes, in evaluation mode.
        example: inputs.
        inputs: their names.
        dynamic: of each input, the names of the axes that vary.
        outputs: names.
    """

    file: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    dynamic: tuple[dict[int, str], ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """What is written of a network.

    Attributes:
        parts: the files.
        trial: arguments of the network on which PyTorch and ONNX Runtime are compared.
        compared: fields of its outputs that are compared; all when empty.
        rest: names of the tensors that stay in PyTorch, for a network that ONNX Runtime runs in part.
        facts: what the manifest says of the network itself, as JSON takes it.
    """

    parts: tuple[Part, ...]
    trial: tuple[Any, ...]
    compared: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def whole_network(
    module: nn.Module, inputs: Mapping[str, Tensor], dynamic: Mapping[str, Mapping[int, str]], outputs: Sequence[str]
) -> Export:
    """A network without parts that depend on the data, in one file.

    Args:
        module: what is exported; its arguments and results are tensors.
        inputs: an example of each, by name.
        dynamic: names of the axes that vary, by input.
        outputs: names.
    """
    example = tuple(inputs.values())
    axes = tuple(dict(dynamic.get(name, {})) for name in inputs)
    part = Part(NETWORK, module.eval(), example, tuple(inputs), axes, tuple(outputs))
    return Export((part,), example, facts={"network": NETWORK})


def check_packages() -> None:
    """Raise ImportError unless what the export needs is installed."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            raise ImportError(f"{name} is not installed; pip install {' '.join(PACKAGES)}") from None


def check_target(out: Path, overwrite: bool) -> None:
    """Raise FileExistsError unless the folder may be written."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f"{out} exists; choose another --out, or --overwrite")
    if not (out / MANIFEST).is_file() or json.loads((out / MANIFEST).read_text()).get("format") != FORMAT:
        raise FileExistsError(f"{out} is there and no export of geo3d, so it is not replaced; choose another --out")


def write_export(network: nn.Module, export: Export, info: WeightsInfo, out: Path, overwrite: bool = False) -> Path:
    """Write the parts, the rest of the weights, and a manifest into a folder, which is made; returns the manifest.

    Raises:
        FileExistsError: the folder is there, and is not to be replaced or no export.
    """
    check_target(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}") as made:
        folder = Path(made) / "export"
        folder.mkdir()
        for part in export.parts:
            write_part(part, folder / part.file)
        if export.rest:
            _write_rest(network, export.rest, folder / REST)
        manifest = {
            "format": FORMAT,
            "weights": {**asdict(info), "training": {}},
            **export.facts,
            **({"rest": REST} if export.rest else {}),
            "files": {part.file: _signature(folder / part.file) for part in export.parts},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return out / MANIFEST


def write_part(part: Part, path: Path) -> None:
    """Export one part."""
    dims = {name: torch.export.Dim(name) for axes in part.dynamic for name in axes.values()}
    shapes = tuple({axis: dims[name] for axis, name in axes.items()} for axes in part.dynamic)
    takes_any_number = any(
        each.kind is inspect.Parameter.VAR_POSITIONAL for each in inspect.signature(part.module.forward).parameters.values()
    )
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            part.module,
            part.example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamic_shapes=(shapes,) if takes_any_number else shapes,
            custom_translation_table=_translations(),
            verbose=False,
        )
        assert program is not None
        program.save(str(path), external_data=False)


def _translations() -> dict[Any, Callable[..., Any]]:
    """Operators that torch's exporter does not write."""
    from onnxscript import opset18

    op: Any = opset18  # its types do not know values that are traced

    def stable_sort(values: Any, stable: Any = None, dim: int = -1, descending: bool = False) -> Any:
        size = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
        return op.TopK(values, size, axis=dim, largest=int(descending), sorted=1)  # the lower index wins a tie

    return {torch.ops.aten.sort.stable: stable_sort}


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says of constants that it does not fold and of names that it merges."""
    names = ("onnxscript", "torch.onnx", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _write_rest(network: nn.Module, names: Sequence[str], path: Path) -> None:
    from safetensors.torch import save_file

    state = network.state_dict()
    save_file({name: state[name].contiguous() for name in names}, str(path))


def _signature(path: Path) -> dict[str, Any]:
    """Inputs and outputs by name, with type and shape, as the file has them."""
    import onnx

    graph = onnx.load(str(path)).graph
    return {
        "inputs": {value.name: _tensor_type(value, onnx) for value in graph.input},
        "outputs": {value.name: _tensor_type(value, onnx) for value in graph.output},
    }


def _tensor_type(value: Any, onnx: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    return {
        "type": onnx.TensorProto.DataType.Name(kind.elem_type).lower(),
        "shape": [axis.dim_param or axis.dim_value for axis in kind.shape.dim],
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an export, whose files are there.

    Raises:
        FileNotFoundError: no manifest, or a file that it names is missing.
        ValueError: another file.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; give a folder that geo3d export wrote")
    try:
        manifest = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a manifest of the format {FORMAT!r}")
    files = manifest.get("files")
    for name in (*(files if isinstance(files, dict) else [None]), manifest.get("rest", MANIFEST)):
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{path}: files and rest must be names of files beside it, got {shortened(name)}")
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no {folder / name}, which {path} names")
    return manifest


class OnnxNetwork(nn.Module):
    """A network that ONNX Runtime runs as a whole; called as the network itself.

    Args:
        folder: of the files.
        manifest: content of the manifest.
        providers: of ONNX Runtime, the first that there is; tensors go through the memory of the CPU.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], providers: Sequence[str]):
        super().__init__()
        self.session = open_session(folder / manifest["network"], providers)
        names = [each.name for each in self.session.get_outputs()]
        self.result: Any = namedtuple("Outputs", names) if len(names) > 1 else None  # noqa: PYI024

    def forward(self, *inputs: Tensor) -> Any:
        """A tensor, or a tuple with the names of the outputs."""
        found = run_session(self.session, inputs)
        return found[0] if self.result is None else self.result(*found)


def open_session(path: Path, providers: Sequence[str]) -> Any:
    """ONNX Runtime on a file, with as many threads as PyTorch has.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: no such provider here, or a file that ONNX Runtime does not take.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ImportError("onnxruntime is not installed; pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    available = [name for name in providers if name in onnxruntime.get_available_providers()]
    if not available:
        raise ValueError(f"ONNX Runtime has no provider {', '.join(providers)} here")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=available)
    except Exception as error:  # its exceptions have no common base but this
        raise ValueError(f"{path}: ONNX Runtime does not take it: {str(error).splitlines()[0][:200]}") from None


def run_session(session: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Outputs of a session, on the device of the first input."""
    names = [each.name for each in session.get_inputs()]
    fed = {name: tensor.cpu().contiguous().numpy() for name, tensor in zip(names, inputs, strict=True)}
    return [torch.from_numpy(array).to(inputs[0].device) for array in session.run(None, fed)]
