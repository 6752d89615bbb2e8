"""Read the network of a compiled folder: the very one that was opened."""

from __future__ import annotations

import io

import onnx_ir as ir

from nvmc.compiled.artifact import TARGET_KEY, Compiled
from nvmc.compiled.digests import HashedFile
from nvmc.compiled.generations import MANIFEST_FILE, MODEL_FILE, steadily
from nvmc.compiled.staging import is_data
from nvmc.errors import ArtifactError, ModelError
from nvmc.hardware.devices import Target
from nvmc.passes.io.load import load_model

__all__ = ["load_compiled"]


def load_compiled(compiled: Compiled) -> ir.Model:
    """The network of a compiled folder, as it was when the folder was opened.

    The digest of `model.onnx` is taken of the bytes that are parsed. External data are read for
    theirs, and mapped into memory then; they are read again where a file changed in between.

    Raises:
        ArtifactError: The folder was compiled again since, or a file was changed; or the manifest
            states another target than the model.
        ModelError: As for `load_model`.
    """
    return steadily(compiled.folder, lambda: _read(compiled))


def _read(compiled: Compiled) -> ir.Model:
    path = compiled.model_path
    try:
        with HashedFile(path.open("rb", buffering=0)) as raw, io.BufferedReader(raw) as file:
            for name in compiled.manifest.files:
                if is_data(name, MODEL_FILE):
                    compiled.check(name)
            model = load_model(path, opened=file, folder=compiled.folder)
            compiled.check(MODEL_FILE, raw.entry)
    except OSError as error:
        raise compiled.refusal(MODEL_FILE, None) from error
    except ModelError:
        for name in compiled.manifest.files:
            compiled.check(name)
        raise
    _check_target(compiled, model)
    return model


def _check_target(compiled: Compiled, model: ir.Model) -> None:
    """Hold the manifest's target against the model's, which the provider goes by.

    Raises:
        ArtifactError: They differ: the manifest was edited.
    """
    try:
        found = Target.model_validate_json(model.metadata_props.get(TARGET_KEY, ""))
    except ValueError:
        found = None
    if found != compiled.manifest.target:
        raise ArtifactError(
            f"the target in {str(compiled.folder / MANIFEST_FILE)!r} is not the one that "
            f"{MODEL_FILE} was compiled for; compile again, or give --device"
        )
