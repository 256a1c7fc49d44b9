/** Tokens are data: text nodes only, with whitespace and invisible characters made visible. */
import { h, s } from "./dom";

export interface Piece {
  text: string;
  /** "space" is drawn small and quiet, "mark" at full strength. */
  kind: "text" | "space" | "mark";
}

const NAMED: Record<string, string> = { "\n": "⏎", "\r": "␍", "\t": "⇥" };
// What has no shape of its own: controls, exotic spaces, zero-width and bidirectional characters, lone surrogates.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Z}\p{Default_Ignorable_Code_Point}]/u;
const SPLIT = new RegExp(`(${INVISIBLE.source})`, "u");
const LONGEST = 400;

const code = (character: string) => "\\u" + character.codePointAt(0)!.toString(16).padStart(4, "0");

/** A token as pieces of text and marks. Joiners inside emoji stay, so that a family stays one family. */
export function pieces(token: string): Piece[] {
  if (token === "") return [{ text: "∅", kind: "mark" }];
  const cut = token.length > LONGEST ? token.slice(0, LONGEST) + "…" : token;
  if (/\p{Extended_Pictographic}/u.test(cut) && !/[\s\u202a-\u202e]/.test(cut)) return [{ text: cut, kind: "text" }];
  const found: Piece[] = [];
  for (const part of cut.split(SPLIT)) {
    if (!part) continue;
    if (part === " ") found.push({ text: "␣", kind: "space" });
    else if (NAMED[part]) found.push({ text: NAMED[part], kind: "mark" });
    else found.push(INVISIBLE.test(part) ? { text: code(part), kind: "mark" } : { text: part, kind: "text" });
  }
  if (found.every((piece) => piece.kind === "space")) for (const piece of found) piece.kind = "mark";
  return found;
}

/** A token as one visible string. */
export const visible = (token: string): string => pieces(token).map((piece) => piece.text).join("");

/** A token as a screen reader should say it. */
export function spoken(token: string): string {
  const names: Record<string, string> = { "": "empty token", " ": "space", "\n": "line break", "\t": "tab" };
  return names[token] ?? visible(token).replaceAll("␣", " ").replaceAll("⏎", " line break ").replaceAll("⇥", " tab ").trim();
}

/** A token for HTML, isolated so that right-to-left text turns nothing around it. */
export const tokenNode = (token: string): HTMLElement =>
  h("bdi", { class: "iw-token" }, pieces(token).map((piece) => (piece.kind === "space" ? h("span", { class: "iw-space" }, piece.text) : piece.text)));

/** A token for SVG, as the spans of one `text` element, cut to `width` pixels. */
export function tokenSpans(token: string, width: number): (SVGTSpanElement | string)[] {
  let raised = 0;
  const spans: (SVGTSpanElement | string)[] = [];
  for (const piece of fit(pieces(token), width)) {
    const up = piece.kind === "space" ? -1.5 : 0;
    const dy = up - raised;
    raised = up;
    if (up || dy) spans.push(s("tspan", { class: up ? "iw-space" : null, dy: dy || null }, piece.text));
    else spans.push(piece.text);
  }
  return spans;
}

let ruler: CanvasRenderingContext2D | null = null;
const widths = new Map<string, number>();

/** The width of text in the type of labels, in pixels. */
export function measure(text: string): number {
  let width = widths.get(text);
  if (width === undefined) {
    ruler ??= document.createElement("canvas").getContext("2d")!;
    ruler.font = '600 11px "Helvetica Neue", Arial, "Liberation Sans", sans-serif';
    if (widths.size > 5000) widths.clear();
    widths.set(text, (width = ruler.measureText(text).width));
  }
  return width;
}

const SMALL = 9 / 11; // the size of a space mark beside that of text
const pieceWidth = ({ text, kind }: Piece) => measure(text) * (kind === "space" ? SMALL : 1);
const wide = (parts: Piece[]) => parts.reduce((sum, piece) => sum + pieceWidth(piece), 0);

export const tokenWidth = (token: string): number => wide(pieces(token));

function fit(parts: Piece[], width: number): Piece[] {
  if (wide(parts) <= width) return parts;
  const kept: Piece[] = [];
  let room = width - measure("…");
  for (const piece of parts) {
    const characters = Array.from(piece.text);
    let count = 0;
    while (count < characters.length && pieceWidth({ ...piece, text: characters.slice(0, count + 1).join("") }) <= room) count++;
    if (count) kept.push({ ...piece, text: characters.slice(0, count).join("") });
    if (count < characters.length) break;
    room -= pieceWidth(piece);
  }
  return [...kept, { text: "…", kind: "text" }];
}
