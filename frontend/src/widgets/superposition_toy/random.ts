/** Random numbers by place, the same as in methods/superposition.py: Philox4x32-10 of Salmon et al. 2011. */

const words = new Uint32Array(4);

/** The upper half of the 64-bit product of two 32-bit words. */
function high(a: number, b: number): number {
  const [al, ah, bl, bh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = ah * bl + ((al * bl) / 65536 >>> 0);
  return (ah * bh + (middle / 65536 >>> 0) + ((al * bh + (middle & 0xffff)) / 65536 >>> 0)) >>> 0;
}

/** Four random words for a key and a counter; the array is the same one each time. */
export function philox(k0: number, k1: number, c0: number, c1: number, c2: number, c3: number): Uint32Array {
  for (let turn = 0; turn < 10; turn++) {
    const [h0, l0, h2, l2] = [high(0xd2511f53, c0), Math.imul(0xd2511f53, c0), high(0xcd9e8d57, c2), Math.imul(0xcd9e8d57, c2)];
    c0 = (h2 ^ c1 ^ k0) >>> 0;
    c1 = l2 >>> 0;
    c2 = (h0 ^ c3 ^ k1) >>> 0;
    c3 = l0 >>> 0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
  return words;
}

/** A word as a number in [0, 1). */
export const UNIT = 2 ** -32;
