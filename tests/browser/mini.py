"""A widget of a few lines with a bundle of its own: what a host does to it, it does to every widget.

    import mini
    mini.install()                  # from here on every new Bundle of this process carries mini.BUNDLE
    w = mini.example("</script>")

The page shows `count`, the token, the sum of the array's numbers and of a nested one; its buttons count, double the
array, and send a message with bytes.
"""

import io
from typing import Any

import numpy as np
import traitlets as t

from interpwidgets.widgets import _base

CODE = """
globalThis.miniEvaluated = (globalThis.miniEvaluated ?? 0) + 1;
const numbers = (array) => {
  const { buffer, byteOffset, byteLength } = array.data;
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
};
const sum = (array) => numbers(array).reduce((a, b) => a + b, 0);
const SHOWN = ["count", "token", "values", "tile"];
export default {
  render({ model, el }) {
    if (model.get("_kind") !== "mini") throw new Error("not a kind of this bundle");
    const root = document.createElement("div"), said = document.createElement("span");
    root.className = "iw mini";
    const button = (name, act) => {
      const made = document.createElement("button");
      made.textContent = name;
      made.addEventListener("click", act);
      root.append(made);
    };
    button("more", () => {
      model.set("count", model.get("count") + 1);
      model.save_changes();
    });
    button("double", () => {
      const { shape, dtype } = model.get("values"), doubled = numbers(model.get("values")).map((x) => 2 * x);
      model.set("values", { data: new DataView(doubled.buffer), shape, dtype });
      model.save_changes();
    });
    button("ask", () => model.send({ type: "echo", text: "hello" }, undefined, [new Uint8Array([1, 2]).buffer]));
    root.append(said);
    el.append(root);
    const draw = () => {
      const values = model.get("values"), tile = model.get("tile");
      said.textContent = [
        ` count=${model.get("count")}`, `token=${model.get("token")}`,
        `shape=${values ? values.shape : null}`, `sum=${values ? sum(values) : null}`,
        `tile=${tile ? sum(tile.values) : null}`,
      ].join(" ");
    };
    const hear = (content, buffers) => {
      if (content.type === "echo") root.dataset.echo = `${content.text} ${buffers[0]?.byteLength}`;
      if (content.type === "pong") root.dataset.kernel = content.kernel ?? true;
    };
    for (const name of SHOWN) model.on(`change:${name}`, draw); // one name a call: marimo knows no lists of names
    model.on("msg:custom", hear);
    model.send({ type: "ping" });
    draw();
    return () => {
      globalThis.miniCleaned = (globalThis.miniCleaned ?? 0) + 1;
      for (const name of SHOWN) model.off(`change:${name}`, draw);
      model.off("msg:custom", hear);
      root.remove();
    };
  },
};
"""
BUNDLE = f"{CODE}// {'x' * 50_000}"  # as heavy as a real one, so that its copies show


def static(name: str, former: Any = _base.static) -> str:
    return BUNDLE if name == "bundle.js" else str(former(name))


def install() -> None:
    _base.static = static


class Mini(_base.InterpWidget):
    _kind = t.Unicode("mini").tag(sync=True)
    count = t.Int(0).tag(sync=True)
    token = t.Unicode("").tag(sync=True)
    values = _base.Array()
    tile = t.Dict(None, allow_none=True).tag(sync=True)

    def __repr__(self) -> str:
        return f"Mini(count={self.count}, token={self.token!r})"

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send({"type": "echo", "text": content["text"]}, buffers=[bytes(b) for b in buffers])

    def _fallback_png(self) -> bytes:
        from PIL import Image

        file = io.BytesIO()
        Image.new("RGB", (40, 20), "#c2410c").save(file, "PNG")
        return file.getvalue()


def example(token: str = "a") -> Mini:
    values = np.arange(6, dtype="f4").reshape(2, 3)
    return Mini(values=values, tile={"values": _base.to_wire(values + 1)}, token=token)
