"""A widget of a few lines with a bundle of its own: what a host does to it, it does to every widget.

    import mini                     # from here on every new Bundle carries mini.BUNDLE
    w = mini.Mini(values=np.zeros((2, 3), "f4"), token="</script>")

The page shows `count`, the token, the sum of the array's numbers and of a nested one; its button counts up.
"""

from typing import Any

import numpy as np
import traitlets as t

from interpwidgets.widgets import _base

BUNDLE = (
    """
globalThis.miniEvaluated = (globalThis.miniEvaluated ?? 0) + 1;
const numbers = (array) => {
  const { buffer, byteOffset, byteLength } = array.data;
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
};
const sum = (array) => numbers(array).reduce((a, b) => a + b, 0);
export default {
  render({ model, el }) {
    if (model.get("_kind") !== "mini") throw new Error("not a kind of this bundle");
    const root = document.createElement("div"), said = document.createElement("span");
    const button = document.createElement("button");
    root.className = "iw mini";
    button.textContent = "more";
    root.append(button, said);
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
    const click = () => {
      model.set("count", model.get("count") + 1);
      model.save_changes();
    };
    button.addEventListener("click", click);
    model.on("change:count change:token change:values change:tile", draw);
    model.on("msg:custom", hear);
    model.send({ type: "ping" });
    draw();
    return () => {
      globalThis.miniCleaned = (globalThis.miniCleaned ?? 0) + 1;
      model.off("change:count change:token change:values change:tile", draw);
      model.off("msg:custom", hear);
      root.remove();
    };
  },
};
"""
    + "// "
    + "x" * 50_000
)  # as heavy as a real one, so that its copies show


def _static(name: str, former: Any = _base.static) -> str:
    return BUNDLE if name == "bundle.js" else str(former(name))


_base.static = _static


class Mini(_base.InterpWidget):
    _kind = t.Unicode("mini").tag(sync=True)
    count = t.Int(0).tag(sync=True)
    token = t.Unicode("").tag(sync=True)
    values = _base.Array()
    tile = t.Dict(None, allow_none=True).tag(sync=True)

    def __repr__(self) -> str:
        return f"Mini(count={self.count}, token={self.token!r})"

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send({"type": "echo", "text": content["text"]}, buffers=[b"123"])

    def _fallback_png(self) -> bytes:
        return bytes.fromhex(
            "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
            "0000000a49444154789c63600000000200015e21bc330000000049454e44ae426082"
        )


def example(token: str = "a") -> Mini:
    values = np.arange(6, dtype="f4").reshape(2, 3)
    return Mini(values=values, tile={"values": _base.to_wire(values + 1)}, token=token)
