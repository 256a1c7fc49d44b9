/** The part of anywidget's interface that our widgets use, the same in Jupyter, marimo, Colab and our own pages. */
export interface Model {
  get<T = unknown>(name: string): T;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  on(names: string, handler: (...args: never[]) => void): void;
  off(names?: string | null, handler?: ((...args: never[]) => void) | null): void;
  readonly widget_manager: { get_model(id: string): Promise<Model> };
}

export interface RenderContext {
  model: Model;
  el: HTMLElement;
  signal?: AbortSignal;
}

/** A widget draws itself into `el` and answers with what undoes it. */
export type Render = (context: RenderContext) => void | (() => void);
