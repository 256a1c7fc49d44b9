/** The page end of the browser tests: a Python process plays the kernel through one function on the page. */
import { decode, encode, putBuffers, takeBuffers, type Path, type State } from "./codec";
import { Host } from "./host";

type Send = (id: string, data: object, buffers: string[]) => void;

export interface Bridge {
  open(id: string, state: State, paths: Path[], buffers: string[]): void;
  update(id: string, state: State, paths: Path[], buffers: string[]): void;
  message(id: string, content: unknown, buffers: string[]): void;
  close(id: string): void;
  /** Draws one more view of a model. */
  view(id: string, el: HTMLElement): Promise<void>;
  /** Removes a view, its element and what it listened to. */
  remove(el: HTMLElement): void;
  /** How many listeners a model has. */
  listening(id: string): number;
}

export function bridge(send: Send): Bridge {
  const host = new Host({
    update: (id, changed) => {
      const { state, paths, buffers } = takeBuffers(changed);
      send(id, { method: "update", state, buffer_paths: paths }, buffers);
    },
    message: (id, content, buffers) => send(id, { method: "custom", content }, buffers.map(encode)),
  });
  const views = new Map<HTMLElement, AbortController>();
  return {
    open: (id, state, paths, buffers) => host.join(host.open(id, putBuffers(state, paths, buffers.map(decode)))),
    update: (id, state, paths, buffers) => host.model(id).assign(putBuffers(state, paths, buffers.map(decode))),
    message: (id, content, buffers) => host.model(id).receive(content, buffers.map(decode)),
    close: (id) => host.close(id),
    view: (id, el) => {
      const controller = new AbortController();
      views.set(el, controller);
      return host.view(id, el, controller.signal);
    },
    remove: (el) => {
      views.get(el)?.abort();
      views.delete(el);
      el.remove();
    },
    listening: (id) => host.model(id).listening,
  };
}
