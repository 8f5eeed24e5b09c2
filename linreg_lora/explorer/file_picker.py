"""A file input that looks at a file's size before it sends anything: what is too large never leaves the browser."""

import base64
import binascii

import param
from panel.custom import JSComponent

from linreg_lora.errors import InvalidInput
from linreg_lora.explorer.own_data import LARGEST_UPLOAD, Upload, too_large


class FilePicker(JSComponent):
    """One file of this machine. `upload`: its name, size, and content in base64 unless it is too large; or nothing."""

    label = param.String(default="file")
    accept = param.String(default="")
    most = param.Integer(default=LARGEST_UPLOAD)
    upload = param.Dict(default={})

    _esm = """
export function render({ model }) {
  const label = document.createElement("label"), input = document.createElement("input")
  label.textContent = model.label
  input.type = "file"
  input.accept = model.accept
  label.append(input)
  input.addEventListener("change", () => {
    const file = input.files[0]
    if (!file) { model.upload = {}; return }
    const about = {name: file.name, size: file.size}
    if (file.size > model.most) { model.upload = about; return }
    const reader = new FileReader()
    reader.onload = () => { model.upload = {...about, content: reader.result.split(",")[1] ?? ""} }
    reader.onerror = () => { model.upload = {...about, unreadable: true} }
    reader.readAsDataURL(file)
  })
  return label
}
"""

    def sent(self) -> Upload | None:
        """The file, or None where none was chosen. Raises `InvalidInput` for one that is too large."""
        found = self.upload
        if not found:
            return None
        name, content = str(found.get("name", "")) or "file", found.get("content")
        if found.get("unreadable"):
            raise InvalidInput(name, "a file that the browser can read", "none", "choose it again")
        if content is None:
            raise too_large(name, int(found.get("size", 0)))
        try:
            return Upload(name, base64.b64decode(content, validate=True))
        except (binascii.Error, ValueError, TypeError):
            raise InvalidInput(name, "its content in base64", "something else") from None
