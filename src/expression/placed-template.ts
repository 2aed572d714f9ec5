import { ExpressionError, type Scope, type Template } from '../domain/expression.ts';

/** An expression of a template, and where it stands, as file:line:column. */
export interface Place {
  readonly source: string;
  readonly place: string;
}

/** A template that says where it stands when it can't be evaluated: an event may fail months after the file was read. */
export class PlacedTemplate implements Template {
  readonly #template: Template;
  readonly #places: readonly Place[];

  constructor(template: Template, places: readonly Place[]) {
    this.#template = template;
    this.#places = places;
  }

  render(scope: Scope): unknown {
    try {
      return this.#template.render(scope);
    } catch (error) {
      throw this.#placed(error);
    }
  }
  renderText(scope: Scope): string {
    try {
      return this.#template.renderText(scope);
    } catch (error) {
      throw this.#placed(error);
    }
  }
  renderJson(scope: Scope): string {
    try {
      return this.#template.renderJson(scope);
    } catch (error) {
      throw this.#placed(error);
    }
  }

  #placed(error: unknown): unknown {
    if (!(error instanceof ExpressionError)) return error;
    const { place } = this.#places.find(({ source }) => source === error.expression) ?? this.#places[0] ?? {};
    if (place === undefined || error.place !== null) return error;
    return new ExpressionError(error.message, error.expression, { cause: error, place });
  }
}
