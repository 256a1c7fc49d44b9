/** The two ramps of the look, as tables of 256 colours. Equal steps in OKLab, so equal steps of value look equal. */
export type Theme = "light" | "dark";

const STOPS = {
  sequential: {
    light: "#edf4f6 #b2e0ec #81c6e0 #52aad5 #3b8bc1 #2c6bac #264d8f #20326c #171a4c",
    dark: "#161920 #222e4b #2d4577 #30639d #3184bd #40a6d2 #63c7e2 #9ce4ed #d2fefd",
  },
  diverging: {
    light: "#623606 #a66c2b #d6b080 #f4f2f0 #7dc2dd #2981bb #1c3e81",
    dark: "#fad99d #c18742 #6f4720 #1c1916 #2c5186 #38a0d2 #a6ecf4",
  },
} as const;

export type RampName = keyof typeof STOPS;

type Triple = [number, number, number];

const toLinear = (c: number) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const toGamma = (c: number) => (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055);

/** Björn Ottosson, "A perceptual color space for image processing" (2020). */
function oklab(hex: string): Triple {
  const [r, g, b] = [1, 3, 5].map((at) => toLinear(parseInt(hex.slice(at, at + 2), 16) / 255)) as Triple;
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const q = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * q,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * q,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * q,
  ];
}

function rgb([lightness, a, b]: Triple): Triple {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const q = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * q,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * q,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * q,
  ].map((c) => Math.round(255 * toGamma(Math.min(1, Math.max(0, c))))) as Triple;
}

export class Ramp {
  /** Opaque pixels as `ImageData` wants them. */
  readonly pixels = new Uint32Array(256);
  private readonly colours: Triple[] = [];

  constructor(stops: string) {
    const points = stops.split(" ").map(oklab);
    const bytes = new Uint8ClampedArray(this.pixels.buffer);
    for (let code = 0; code < 256; code++) {
      const at = (code / 255) * (points.length - 1);
      const low = Math.min(points.length - 2, Math.floor(at));
      const from = points[low]!;
      const to = points[low + 1]!;
      const colour = rgb([0, 1, 2].map((i) => from[i]! + (at - low) * (to[i]! - from[i]!)) as Triple);
      this.colours.push(colour);
      bytes.set([...colour, 255], 4 * code);
    }
  }

  css(code: number): string {
    return `rgb(${this.colours[code]!.join(" ")})`;
  }

  /** Black or white, whichever reads better on this colour. */
  ink(code: number): "#000" | "#fff" {
    const [r, g, b] = this.colours[code]!.map((c) => toLinear(c / 255)) as Triple;
    const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? "#000" : "#fff";
  }
}

const ramps = new Map<string, Ramp>();

export function ramp(name: RampName, theme: Theme): Ramp {
  const stops = STOPS[name][theme];
  if (!ramps.has(stops)) ramps.set(stops, new Ramp(stops));
  return ramps.get(stops)!;
}
