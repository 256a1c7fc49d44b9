import { describe, expect, it, vi } from "vitest";
import { decode, encode, putBuffers, takeBuffers } from "../src/host/codec";
import { isLink, link } from "../src/host/controls";
import { HostModel, modelId } from "../src/host/model";

const silent = { update: () => {}, message: () => {} };
const manager = { get_model: () => Promise.reject(new Error("none here")) };
const model = (state: Record<string, unknown>, kernel = silent): HostModel => new HostModel("a", state, kernel, manager);

describe("binary values", () => {
  it("come back from base64 as they were", () => {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);
    expect(new Uint8Array(decode(encode(bytes)).buffer)).toEqual(bytes);
    expect(encode(new DataView(bytes.buffer, 1, 2))).toBe(encode(bytes.slice(1, 3)));
  });

  it("are taken out of a state and put back at the same places", () => {
    const one = new DataView(new Uint8Array([1]).buffer);
    const two = new DataView(new Uint8Array([2]).buffer);
    const taken = takeBuffers({ n: 1, none: null, tile: { values: { data: one, shape: [1] } }, list: [null, two] });
    expect(taken.paths).toEqual([["tile", "values", "data"], ["list", 1]]);
    expect(taken.state).toEqual({ n: 1, none: null, tile: { values: { shape: [1] } }, list: [null, null] });
    const back = putBuffers(structuredClone(taken.state), taken.paths, taken.buffers.map(decode));
    expect(takeBuffers(back)).toEqual(taken);
  });

  it("without a place are dropped", () => {
    const state = { tile: null };
    expect(putBuffers(state, [["tile", "data"], ["gone", 0, "data"]], [decode("AQ=="), decode("AQ==")])).toEqual({ tile: null });
  });
});

describe("the model", () => {
  it("puts all values in place before the first listener hears of one", () => {
    const held = model({ layer: 0, head: 0 });
    const seen: unknown[] = [];
    held.on("change:layer change:head", () => seen.push([held.get("layer"), held.get("head")]));
    held.assign({ layer: 1, head: 2 });
    expect(seen).toEqual([[1, 2], [1, 2]]);
  });

  it("tells the kernel what the page changed, once", () => {
    const update = vi.fn();
    const held = model({ layer: 0 }, { ...silent, update });
    held.set("layer", 1);
    held.save_changes();
    held.save_changes();
    held.assign({ layer: 2 });
    held.save_changes();
    expect(update.mock.calls).toEqual([["a", { layer: 1 }]]);
  });

  it("is silent where nothing changed", () => {
    const heard = vi.fn();
    const held = model({ layer: 0 });
    held.on("change", heard);
    held.set("layer", 0);
    expect(heard).not.toHaveBeenCalled();
  });

  it("forgets a view when it ends, and only that view", () => {
    const held = model({ layer: 0 });
    const [first, second] = [new AbortController(), new AbortController()];
    const heard: string[] = [];
    held.during(first.signal).on("change:layer", () => heard.push("first"));
    held.during(second.signal).on("change:layer", () => heard.push("second"));
    first.abort();
    held.set("layer", 1);
    expect(heard).toEqual(["second"]);
    held.during(first.signal).on("change:layer", () => heard.push("too late"));
    expect(held.listening).toBe(1);
  });

  it("lets a view stop listening to all of its own and to nothing else", () => {
    const held = model({ layer: 0 });
    const heard = vi.fn();
    held.on("change:layer", heard);
    const view = held.during(new AbortController().signal);
    view.on("change:layer", () => {});
    view.off();
    expect(held.listening).toBe(1);
  });
});

describe("references and links", () => {
  it("knows both spellings of a reference", () => {
    expect(["IPY_MODEL_1a", "anywidget:1a", "1a", 3, null].map(modelId)).toEqual(["1a", "1a", undefined, undefined, undefined]);
  });

  it.each([true, false])("keeps two traits equal (both ways: %s)", (both) => {
    const [a, b] = [model({ x: 1 }), model({ y: 2 })];
    link(a, "x", b, "y", both);
    expect(b.get("y")).toBe(1);
    a.set("x", 3);
    expect(b.get("y")).toBe(3);
    b.set("y", 4);
    expect(a.get("x")).toBe(both ? 4 : 3);
  });

  it("lets go of both when it is undone", () => {
    const [a, b] = [model({ x: 1 }), model({ y: 1 })];
    link(a, "x", b, "y", true)();
    a.set("x", 2);
    b.set("y", 3);
    expect([a.get("x"), b.get("y"), a.listening, b.listening]).toEqual([2, 3, 0, 0]);
  });

  it("tells links from other models", () => {
    expect(["LinkModel", "DirectionalLinkModel", "HBoxModel"].map(isLink)).toEqual([true, true, false]);
  });
});
