/** `toml-eslint-parser` names one type of ESLint's in its declarations; ESLint itself isn't needed. */
declare module "eslint" {
  export namespace SourceCode {
    type VisitorKeys = Readonly<Record<string, readonly string[]>>;
  }
}
