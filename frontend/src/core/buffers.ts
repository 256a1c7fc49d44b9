/** Binary arrays as `_base.py` sends them: `{data, dtype, shape}`, little-endian, row-major. */
export type Bytes = DataView | Uint8Array | ArrayBuffer;
export interface Packed {
  data: Bytes;
  dtype: "u1" | "u2" | "f2" | "f4";
  shape: number[];
}

/** The bytes of a buffer in whatever form the host delivered it (Jupyter: DataView, Colab: Uint8Array). */
export function bytes(data: Bytes): Uint8Array {
  return data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The numbers of an array. All but bytes are copied, since a buffer of the wire need not be aligned. */
export function numbers(array: Packed): Uint8Array | Uint16Array | Float32Array {
  const raw = bytes(array.data);
  if (array.dtype === "u1") return raw;
  if (array.dtype === "u2") return new Uint16Array(raw.slice().buffer);
  if (array.dtype === "f4") return new Float32Array(raw.slice().buffer);
  const halves = new Uint16Array(raw.slice().buffer);
  const table = halfTable();
  return Float32Array.from(halves, (code) => table[code]!);
}

let halves: Float32Array | null = null;

/** The value of each of the 65,536 half-precision codes. */
function halfTable(): Float32Array {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let code = 0; code < 65536; code++) {
    const sign = code & 0x8000 ? -1 : 1;
    const exponent = (code >> 10) & 31;
    const fraction = code & 1023;
    halves[code] =
      exponent === 31 ? (fraction ? NaN : sign * Infinity) : exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -14 * (fraction / 1024);
  }
  return halves;
}
