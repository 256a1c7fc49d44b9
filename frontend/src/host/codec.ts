/** Binary values as they are written down: base64 text, and the paths at which they belong inside a state. */

export type Path = readonly (string | number)[];
export type State = Record<string, unknown>;

export function decode(base64: string): DataView {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new DataView(bytes.buffer);
}

export function encode(value: ArrayBuffer | ArrayBufferView): string {
  const bytes = ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new Uint8Array(value);
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** Puts every buffer where its path says, as ipywidgets does. One whose place is gone is dropped. */
export function putBuffers(state: State, paths: readonly Path[], buffers: readonly DataView[]): State {
  paths.forEach((path, i) => {
    let place: unknown = state;
    for (const step of path.slice(0, -1)) place = (place as Record<string | number, unknown> | null | undefined)?.[step];
    if (place) (place as Record<string | number, unknown>)[path[path.length - 1]!] = buffers[i];
  });
  return state;
}

/** Takes the binary values out of a state: the state without them, their paths, and their bytes as base64. */
export function takeBuffers(state: State): { state: State; paths: Path[]; buffers: string[] } {
  const paths: Path[] = [];
  const buffers: string[] = [];
  const walk = (value: unknown, path: Path): unknown => {
    if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
      paths.push(path);
      buffers.push(encode(value));
      return null;
    }
    if (Array.isArray(value)) return value.map((item, i) => walk(item, [...path, i]));
    if (value === null || typeof value !== "object") return value;
    const kept: State = {};
    for (const [key, item] of Object.entries(value)) {
      const found = walk(item, [...path, key]);
      if (found !== null || item === null) kept[key] = found;
    }
    return kept;
  };
  return { state: walk(state, []) as State, paths, buffers };
}
